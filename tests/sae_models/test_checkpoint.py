"""Checkpoints: SAELens' layout, everything recorded, nothing foreign or broken accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sae_models import SAEConfig, load
from sae_models.checkpoint import CONFIG_FILE, PROVENANCE_FILE, WEIGHTS_FILE
from sae_models.dictionaries import ArchetypalDictionary
from tests.sae_models.reference import VARIANTS, assert_close, reference, some_sae, some_tokens

TOPK = next(
    c for c in VARIANTS if c.activation == "topk" and not c.layer_norm and c.dictionary == "archetypal"
)


def test_layout_is_that_of_saelens(tmp_path: Path) -> None:
    sae = some_sae(TOPK).eval()
    sae.save(tmp_path)
    fields = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert fields["architecture"] == "topk"
    assert (fields["d_in"], fields["d_sae"], fields["k"]) == (12, 40, 5)
    assert fields["apply_b_dec_to_input"] is False
    assert fields["metadata"]["sae_lens_version"]
    assert fields["metadata"]["backbone"] == "tiny"
    assert fields["metadata"]["preprocessing"] == {"crop": 64}
    weights = load_file(tmp_path / WEIGHTS_FILE)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    assert shapes == {"W_enc": (12, 40), "b_enc": (40,), "W_dec": (40, 12), "b_dec": (12,)}
    # what SAELens computes: topk of x W_enc + b_enc, times W_dec, plus b_dec
    x = some_tokens(sae)
    pre_codes = x @ weights["W_enc"] + weights["b_enc"]
    top = pre_codes.topk(5, dim=1)
    codes = torch.zeros_like(pre_codes).scatter(1, top.indices, top.values.relu())
    expected = reference(sae, x)
    assert_close(codes, expected.codes)
    assert_close(codes @ weights["W_dec"] + weights["b_dec"], expected.reconstruction)


@pytest.mark.parametrize("activation", ["batchtopk", "threshold"])
def test_thresholds_are_saelens_jumprelu(activation: str, tmp_path: Path) -> None:
    sae = some_sae(replace(TOPK, activation=activation)).eval()
    sae.save(tmp_path)
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["architecture"] == "jumprelu"
    weights = load_file(tmp_path / WEIGHTS_FILE)
    x = some_tokens(sae)
    pre_codes = x @ weights["W_enc"] + weights["b_enc"]
    codes = pre_codes.relu() * (pre_codes > weights["threshold"])
    assert_close(codes, reference(sae, x).codes)


def test_layer_norm_is_not_offered_to_saelens(tmp_path: Path) -> None:
    some_sae(replace(TOPK, layer_norm=True)).save(tmp_path)
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["architecture"] == "layer_norm_topk"


def test_provenance_names_the_heaviest_points(tmp_path: Path) -> None:
    sae = some_sae(TOPK)
    assert isinstance(sae.atoms, ArchetypalDictionary)
    sae.save(tmp_path)
    origin = load(tmp_path).provenance
    assert origin is not None
    assert_close(origin.points, sae.mean + sae.scale * sae.atoms.points)
    weights = sae.atoms.weights.detach()
    assert torch.equal(origin.point_index[:, 0], weights.argmax(1))
    assert torch.equal(origin.point_weight, weights.gather(1, origin.point_index))
    assert_close(origin.relaxation, 1.7 * sae.atoms.relaxation.detach().norm(dim=1))
    some_sae(replace(TOPK, dictionary="free")).save(tmp_path)
    assert not (tmp_path / PROVENANCE_FILE).exists()
    assert load(tmp_path).provenance is None


def test_another_backbone_or_preprocessing_is_refused(tmp_path: Path) -> None:
    some_sae(TOPK).save(tmp_path)
    load(tmp_path)
    load(tmp_path, backbone="tiny", preprocessing={"crop": 64})
    with pytest.raises(ValueError, match="trained on backbone 'tiny', not 'dinov2'"):
        load(tmp_path, backbone="dinov2")
    with pytest.raises(ValueError, match="trained on preprocessing"):
        load(tmp_path, preprocessing={"crop": 224})


def test_broken_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no SAE in"):
        load(tmp_path)
    some_sae(TOPK).save(tmp_path)
    config, weights = tmp_path / CONFIG_FILE, tmp_path / WEIGHTS_FILE
    good_config, good_weights = config.read_text(), weights.read_bytes()

    for bad in (good_weights[:-50], good_weights[:20], b"PK\x03\x04", b""):
        weights.write_bytes(bad)
        with pytest.raises(ValueError, match="truncated or no safetensors"):
            load(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match="missing"):
        load(tmp_path)
    weights.write_bytes(good_weights)

    for bad in ("{", "[]", "3", json.dumps({"architecture": "topk", "d_in": 12})):
        config.write_text(bad)
        with pytest.raises(ValueError, match="not of a checkpoint saved here"):
            load(tmp_path)
    fields = json.loads(good_config)
    fields["metadata"]["schema_version"] = 99
    config.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="schema version 99"):
        load(tmp_path)
    fields = json.loads(good_config)
    fields["metadata"]["config"]["n_concepts"] = 41
    config.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="its configuration needs"):
        load(tmp_path)
    fields["metadata"]["config"]["colour"] = "red"
    config.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="not the fields of SAEConfig"):
        load(tmp_path)


def test_files_of_two_saves_are_not_mixed(tmp_path: Path) -> None:
    some_sae(TOPK, seed=0).save(tmp_path / "a")
    some_sae(TOPK, seed=1).save(tmp_path / "b")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes((tmp_path / "b" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(ValueError, match="different saves"):
        load(tmp_path / "a")


def test_preprocessing_of_lists_survives_the_round_trip(tmp_path: Path) -> None:
    config = SAEConfig(
        12, 40, k=5, n_points=24, preprocessing={"mean": [0.5, 0.4], "steps": ["resize", "crop"]}
    )
    some_sae(config).save(tmp_path)
    assert load(tmp_path, preprocessing=config.preprocessing).config == config
