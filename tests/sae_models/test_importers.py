"""The importers of overcomplete and of the published SAE, the Hub, and files that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import layer_norm

from sae_models import load
from sae_models.importers import Options, hub, import_sae, locate
from sae_models.importers.torch_file import StoredTensor, read_torch_file
from tests.sae_models.reference import assert_close, assert_same

FIXTURES = Path(__file__).parent / "fixtures"  # made by the real classes, see make_overcomplete.py
# What a config.json says beside the state dict of each fixture.
BESIDE_STATE = {
    "published": {"running_threshold": 0.829, "delta": 0.4},
    "ra_topk": {"top_k": 4, "delta": 1.0},
    "topk_batchnorm": {"top_k": 4},
    "jump": {"normalization": "max_l2"},
}


def fixture(name: str, folder: Path, config: dict | None) -> Path:
    """A copy of a fixture, with a config.json beside it."""
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return Path(shutil.copy(FIXTURES / f"overcomplete_{name}.pth", folder))


@pytest.mark.parametrize("name", BESIDE_STATE)
@pytest.mark.parametrize("kind", ["module", "state"])
def test_agrees_with_the_real_classes_of_overcomplete(name: str, kind: str, tmp_path: Path) -> None:
    expected = load_file(FIXTURES / "overcomplete.safetensors")
    if kind == "module":
        path = fixture(name, tmp_path, {"running_threshold": 0.829} if name == "published" else None)
    else:
        path = fixture(f"{name}_state", tmp_path, BESIDE_STATE[name])
    sae = import_sae(path)
    assert_same(sae, expected["tokens"], expected[f"{name}.codes"], expected[f"{name}.reconstruction"], 1e-4)
    assert_close(sae.dictionary(), expected[f"{name}.atoms"])


def test_the_published_sae_is_saved_with_its_origin_and_its_backbone(tmp_path: Path) -> None:
    expected = load_file(FIXTURES / "overcomplete.safetensors")
    fixture("published", tmp_path, {"running_threshold": 0.829})
    preprocessing = {"crop": 224, "mean": [0.5, 0.5, 0.5]}
    sae = import_sae(tmp_path, Options(backbone="dinov2-base-reg", preprocessing=preprocessing))
    sae.save(tmp_path / "ours")
    again = load(tmp_path / "ours", backbone="dinov2-base-reg", preprocessing=preprocessing)
    assert_same(
        again, expected["tokens"], expected["published.codes"], expected["published.reconstruction"], 1e-4
    )
    assert (again.config.activation, again.config.layer_norm, again.config.dictionary) == (
        "batchtopk", True, "archetypal",
    )  # fmt: skip
    origin = again.provenance
    assert origin is not None
    assert origin.points.shape == (20, 8)
    assert bool((origin.point_weight.diff(dim=1) <= 0).all())
    with pytest.raises(ValueError, match="trained on backbone 'dinov2-base-reg', not 'tiny'"):
        load(tmp_path / "ours", backbone="tiny")


def test_the_threshold_comes_from_the_config_or_the_option_and_is_never_made_up(tmp_path: Path) -> None:
    path = fixture("published", tmp_path, None)
    with pytest.raises(ValueError, match=r"no BatchTopK threshold.*give the threshold"):
        import_sae(path)
    (tmp_path / "config.json").write_text('{"running_threshold": 1.5}')
    x = load_file(FIXTURES / "overcomplete.safetensors")["tokens"]
    assert import_sae(path).encode(x).values.max() > 1.5
    codes = import_sae(path, Options(threshold=0.25)).encode(x).values
    assert 0.25 <= codes[codes > 0].min() < 1.5
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is no JSON object"):
        import_sae(path)


def test_the_folded_layer_norm_is_the_plain_one(tmp_path: Path) -> None:
    path = fixture("published", tmp_path, {"running_threshold": 0.829})
    x = load_file(FIXTURES / "overcomplete.safetensors")["tokens"]
    kept = import_sae(path, Options(fold=False))
    encoder = kept.encoder
    plain = layer_norm(x @ encoder.weight.t() + encoder.bias, (24,), encoder.gamma, encoder.beta)
    expected = (plain * (plain >= 0.829)).detach()
    for sae in (kept, import_sae(path), kept.fuse()):
        assert_close(sae.encode(x).dense(24).detach(), expected)
    assert encoder.gamma.requires_grad


def test_a_large_dictionary_is_read_a_few_rows_at_a_time(tmp_path: Path, monkeypatch) -> None:
    whole = read_torch_file(FIXTURES / "overcomplete_published_state.pth")["module.dictionary.W"]
    assert isinstance(whole, StoredTensor)
    for n_rows in (1, 7, 24, 100):
        assert torch.equal(torch.cat(list(whole.row_blocks(n_rows))), whole.read())
    read = StoredTensor.read

    def small_ones_only(tensor: StoredTensor) -> Tensor:
        assert tensor.shape != whole.shape, "the weights were read whole"
        return read(tensor)

    monkeypatch.setattr(StoredTensor, "read", small_ones_only)
    import_sae(fixture("published", tmp_path, {"running_threshold": 0.829}))


@pytest.mark.parametrize("protocol", [2, 4])
def test_every_kind_of_tensor_is_read_as_torch_saved_it(protocol: int, tmp_path: Path) -> None:
    rows = torch.randn(5, 4)
    tensors = {
        "plain": rows,
        "half": rows.half(),
        "brain": rows.bfloat16(),
        "transposed": rows.t(),
        "part": rows[2:, 1:3],
        "shared": rows[1],
        "whole numbers": torch.arange(3),
        "scalar": torch.tensor(0.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(rows.clone()),
    }
    torch.save(tensors, tmp_path / "t.pt", pickle_protocol=protocol)
    found = read_torch_file(tmp_path / "t.pt")
    assert {name: value.read().tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }
    assert found["brain"].read().dtype == torch.bfloat16
    assert torch.equal(torch.cat(list(found["transposed"].row_blocks(3))), rows.t())


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = fixture("published", tmp_path, {"running_threshold": 0.829})
    whole = path.read_bytes()
    for size in (len(whole) - 20, len(whole) // 2, 40):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"truncated or was not saved by torch 1.6 or later"):
            import_sae(path)
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(ValueError):
        import_sae(path)
    path.write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="of no known format; known are saelens, sparsify"):
        import_sae(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"has no dictionary\._weights"):
        import_sae(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds no state dict"):
        import_sae(path)
    torch.save({"weight": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="of no known format"):
        import_sae(path)
    for empty in (tmp_path / "nothing", tmp_path):
        empty.mkdir(exist_ok=True)
        (empty / "a.pt").write_bytes(b"")
        (empty / "b.pt").write_bytes(b"")
        with pytest.raises(ValueError, match="name one file"):
            import_sae(empty)


def test_a_state_dict_says_no_k(tmp_path: Path) -> None:
    path = fixture("topk_batchnorm_state", tmp_path, None)
    with pytest.raises(ValueError, match="give k"):
        import_sae(path)
    assert import_sae(path, Options(k=4)).config.k == 4


# -- the Hub ----------------------------------------------------------------------------------------------


def test_a_hub_id_is_downloaded_and_a_path_is_not(tmp_path: Path, monkeypatch) -> None:
    asked: list[tuple] = []

    def snapshot(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns[0]))
        (tmp_path / "layers.3").mkdir(exist_ok=True)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert locate(str(tmp_path)) == tmp_path
    assert locate("owner/name") == tmp_path
    assert locate("owner/name/layers.3", "v2") == tmp_path / "layers.3"
    assert asked == [("owner/name", None, "*.json"), ("owner/name", "v2", "layers.3/*.json")]
    with pytest.raises(ValueError, match=r"no folder layers\.4"):
        locate("owner/name/layers.4")
    for wrong in ("nowhere", "/no/such/path", "owner/../name"):
        with pytest.raises(ValueError, match="write a path, or a Hub id"):
            locate(wrong)


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        ValueError, match=r"neither a path here nor to be had from the Hub \(no route to host\)"
    ):
        hub.locate("owner/name")
