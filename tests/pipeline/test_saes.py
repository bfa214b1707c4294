"""The commands import-sae and sae-report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipeline import saes
from pipeline.__main__ import app
from pipeline.sources.backbones import BACKBONES
from sae_models import SAE, SAEConfig, TokenWriter, load

FIXTURE = Path(__file__).parents[1] / "sae_models" / "fixtures" / "overcomplete_published.pth"
TINY = BACKBONES["tiny-dinov2"]
D = 8


def command(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def an_sae(folder: Path, seed: int, **fields: object) -> Path:
    config = SAEConfig(D, 24, k=3, n_points=20, backbone="tiny-dinov2", preprocessing=TINY.preprocessing)
    SAE(replace(config, seed=seed, **fields)).save(folder)
    return folder


def shards(folder: Path, backbone: str = "tiny-dinov2") -> Path:
    tokens = torch.randn(300, D, generator=torch.Generator().manual_seed(0))
    TokenWriter(folder, D, backbone=backbone, preprocessing=TINY.preprocessing).write(0, tokens)
    return folder


def test_the_published_sae_is_imported_with_its_backbone(tmp_path):
    shutil.copy(FIXTURE, tmp_path / "RA-SAE-DINOv2-32k.pth")
    (tmp_path / "config.json").write_text('{"running_threshold": 0.829}')
    said = command("import-sae", tmp_path, "--to", tmp_path / "ours")
    assert "24 concepts of 8-wide tokens of dinov2-base-reg, batchtopk after a LayerNorm" in said
    spec = BACKBONES["dinov2-base-reg"]
    load(tmp_path / "ours", backbone="dinov2-base-reg", preprocessing=spec.preprocessing)
    with pytest.raises(ValueError, match=r"an SAE in .* already"):
        saes.import_sae(str(FIXTURE), tmp_path / "ours", threshold=1.0)


def test_a_backbone_is_asked_for_where_none_is_recorded(tmp_path):
    with pytest.raises(ValueError, match=r"names no backbone: write --backbone with one of dinov2-base-reg"):
        saes.import_sae(str(FIXTURE), tmp_path / "ours", threshold=1.0)
    with pytest.raises(ValueError, match="unknown backbone 'dinov2-bse'"):
        saes.import_sae(str(FIXTURE), tmp_path / "ours", threshold=1.0, backbone="dinov2-bse")
    assert not (tmp_path / "ours").exists()
    saes.import_sae(str(FIXTURE), tmp_path / "ours", threshold=1.0, backbone="facebook/dinov2-large")
    assert load(tmp_path / "ours").config.backbone == "facebook/dinov2-large"


def test_the_report_compares_saes_on_the_same_tokens(tmp_path):
    folders = [an_sae(tmp_path / "a", 0), an_sae(tmp_path / "b", 1), an_sae(tmp_path / "c", 2, n_concepts=9)]
    out = tmp_path / "report.json"
    said = command("sae-report", *folders, "--tokens", shards(tmp_path / "tokens"), "--json", out)
    lines = said.splitlines()
    assert lines[0].split()[:4] == ["sae", "n_concepts", "r2", "l0_mean"]
    assert [line.split()[:2] for line in lines[1:4]] == [
        [str(folder), n] for folder, n in zip(folders, ("24", "24", "9"), strict=True)
    ]
    assert lines[3].split()[-2:] == ["-", "-"]  # no other of its shape
    assert "300 tokens that none was trained on" in said
    a, b, c = json.loads(out.read_text())
    assert a["l0_mean"] <= 3
    assert (
        a["stability"] == pytest.approx(b["stability"]) == pytest.approx(a["stability_with"][str(folders[1])])
    )
    assert 0 < a["stability_null"] < 1
    assert c["stability"] is None


def test_two_of_the_same_atoms_are_as_stable_as_can_be(tmp_path):
    folders = [an_sae(tmp_path / "a", 0), an_sae(tmp_path / "b", 0)]
    row = saes.report(folders, shards(tmp_path / "tokens"))[0]
    assert row["stability"] == pytest.approx(1)
    assert row["stability_null"] < 0.9


def test_the_tokens_that_training_held_out_are_found(tmp_path):
    folder = an_sae(tmp_path / "saes" / "ra", 0)
    with pytest.raises(ValueError, match=r"no held-out tokens of .*--tokens.*--images"):
        saes.report([folder])
    shards(tmp_path / "held-out" / "ra")
    assert saes.report([folder])[0]["n_tokens"] == 300


def test_pictures_become_the_tokens_of_the_recorded_backbone(tmp_path):
    width = json.loads((Path(str(TINY.source)) / "config.json").read_text())["hidden_size"]
    folder = an_sae(tmp_path / "a", 0, d_model=width, n_points=2 * width)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="no pictures in"):
        saes.report([folder], images=tmp_path / "pictures")
    for i in range(2):
        Image.effect_noise((64, 64), 50 + 50 * i).convert("RGB").save(tmp_path / "pictures" / f"{i}.png")
    row = saes.report([folder], images=tmp_path / "pictures")[0]
    assert row["n_tokens"] % 2 == 0 and row["n_tokens"] > 2 * 64
    (tmp_path / "pictures" / "2.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read"):
        saes.report([folder], images=tmp_path / "pictures")


def test_tokens_of_another_backbone_are_refused(tmp_path):
    folder = an_sae(tmp_path / "a", 0)
    with pytest.raises(ValueError, match="trained on backbone 'tiny-dinov2', not 'dinov2-base'"):
        saes.report([folder], shards(tmp_path / "tokens", "dinov2-base"))
    with pytest.raises(ValueError, match="leave one out"):
        saes.report([folder], tmp_path, tmp_path)
    with pytest.raises(ValueError, match="no SAE in"):
        saes.report([tmp_path / "nothing"], shards(tmp_path / "others"))
