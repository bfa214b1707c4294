"""Foreign SAEs compute here what they compute at home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import layer_norm

from sae_models import SAE, load
from sae_models.importers import Options, hub, import_sae, locate
from sae_models.importers.torch_file import StoredTensor, read_torch_file
from tests.sae_models.reference import assert_close

FIXTURES = Path(__file__).parent / "fixtures"  # made by the real classes, see make_overcomplete.py
D, C, K = 6, 16, 3
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


def assert_same(sae: SAE, x: Tensor, codes: Tensor, rebuilt: Tensor, relative: float = 1e-5) -> None:
    assert not sae.training
    assert (codes > 0).any()
    found, sparse = sae(x)
    assert_close(sparse.dense(codes.shape[1]), codes, relative)
    assert_close(found, rebuilt, relative)


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


# -- the other libraries, straight from their equations ------------------------------------------------


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


W_ENC, B_ENC, W_DEC, B_DEC = some(D, C), 0.1 * some(C, seed=1), some(C, D, seed=2), some(D, seed=3)
THRESHOLD = 0.5 + some(C, seed=4).abs()
X = some(40, D, seed=5) + 1


def top(pre_codes: Tensor) -> Tensor:
    best = pre_codes.topk(K, dim=1)
    return torch.zeros_like(pre_codes).scatter(1, best.indices, best.values.relu())


def sae_lens(folder: Path, tensors: dict[str, Tensor] | None = None, **config: object) -> Path:
    weights = {"W_enc": W_ENC, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC} | (tensors or {})
    save_file(weights, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D, "d_sae": C} | config))
    return folder


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "old topk"])
@pytest.mark.parametrize("centred", [True, False])
def test_saelens(architecture: str, centred: bool, tmp_path: Path) -> None:
    config: dict[str, object] = {"architecture": architecture, "apply_b_dec_to_input": centred, "k": K}
    if architecture == "old topk":
        config |= {"architecture": "standard", "activation_fn": "topk", "activation_fn_kwargs": {"k": K}}
    tensors = {"threshold": THRESHOLD} if architecture == "jumprelu" else {}
    sae = import_sae(sae_lens(tmp_path, tensors, metadata={"model_name": "dinov2"}, **config))
    pre_codes = (X - B_DEC * centred) @ W_ENC + B_ENC
    codes = {
        "standard": pre_codes.relu(),
        "jumprelu": pre_codes.relu() * (pre_codes > THRESHOLD),
    }.get(architecture, top(pre_codes))
    assert_same(sae, X, codes, codes @ W_DEC + B_DEC)
    assert sae.config.backbone == "dinov2"


def test_saelens_topk_that_is_rescaled_by_the_length_of_its_atoms(tmp_path: Path) -> None:
    sae = import_sae(sae_lens(tmp_path, architecture="topk", k=K, rescale_acts_by_decoder_norm=True))
    length = W_DEC.norm(dim=1)
    codes = top(((X - B_DEC) @ W_ENC + B_ENC) * length)
    assert_same(sae, X, codes, (codes / length) @ W_DEC + B_DEC)


def test_sparsify(tmp_path: Path) -> None:
    weights = {
        "encoder.weight": W_ENC.t().contiguous(),
        "encoder.bias": B_ENC,
        "W_dec": W_DEC,
        "b_dec": B_DEC,
    }
    save_file(weights, tmp_path / "sae.safetensors")
    (tmp_path / "cfg.json").write_text(json.dumps({"k": K, "d_in": D, "activation": "topk"}))
    codes = top((X - B_DEC) @ W_ENC + B_ENC)
    assert_same(import_sae(tmp_path), X, codes, codes @ W_DEC + B_DEC)
    (tmp_path / "cfg.json").write_text(json.dumps({"k": K, "d_in": D, "skip_connection": True}))
    with pytest.raises(ValueError, match="skip_connection True"):
        import_sae(tmp_path)


LINEAR = {"encoder.weight": W_ENC.t(), "encoder.bias": B_ENC, "decoder.weight": W_DEC.t()}
MATRICES = {"W_enc": W_ENC, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}


@pytest.mark.parametrize(
    "kind", ["AutoEncoder", "AutoEncoderNew", "AutoEncoderTopK", "BatchTopKSAE", "JumpReluAutoEncoder"]
)
def test_dictionary_learning(kind: str, tmp_path: Path) -> None:
    centred = kind not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    pre_codes = (X - B_DEC * centred) @ W_ENC + B_ENC
    length = W_DEC.norm(dim=1)
    state, codes = {
        "AutoEncoder": (LINEAR | {"bias": B_DEC}, pre_codes.relu() * length),  # it makes atoms unit at load
        "AutoEncoderNew": (LINEAR | {"decoder.bias": B_DEC}, pre_codes.relu()),
        "AutoEncoderTopK": (LINEAR | {"b_dec": B_DEC, "k": torch.tensor(K)}, top(pre_codes)),
        "BatchTopKSAE": (
            LINEAR | {"b_dec": B_DEC, "threshold": torch.tensor(1.2)},
            pre_codes * (pre_codes > 1.2),
        ),
        "JumpReluAutoEncoder": (MATRICES | {"threshold": THRESHOLD}, pre_codes * (pre_codes > THRESHOLD)),
    }[kind]
    torch.save(state, tmp_path / "ae.pt")
    trainer = {"dict_class": kind, "k": K, "lm_name": "dinov2"}
    (tmp_path / "config.json").write_text(json.dumps({"trainer": trainer}))
    atoms = W_DEC / length[:, None] if kind == "AutoEncoder" else W_DEC
    sae = import_sae(tmp_path)
    assert_same(sae, X, codes, codes @ atoms + B_DEC)
    assert sae.config.backbone == "dinov2"


@pytest.mark.parametrize(
    "header",
    [
        {"d_vit": D, "exp_factor": 4},
        {"schema": 1, "cls": "TopK", "cfg": {"top_k": K}},
        {"schema": 2, "cfg": {"activation": {"cls": "BatchTopK", "params": {"top_k": K}}}},
    ],
)
def test_saev(header: dict, tmp_path: Path) -> None:
    path = tmp_path / "sae.pt"
    with open(path, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        torch.save(MATRICES, file)
    pre_codes = (X - B_DEC) @ W_ENC + B_ENC
    codes = top(pre_codes) if "schema" in header else pre_codes.relu()
    assert_same(import_sae(path), X, codes, codes @ W_DEC + B_DEC)


# -- what cannot be imported is one sentence ------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"architecture": "gated"}, "'gated' SAE; standard, topk and jumprelu can be imported"),
        ({"architecture": "topk"}, "does not say how many concepts a token has; give k"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations 'layer_norm', which cannot"),
        ({"activation_fn": "tanh-relu"}, "activation 'tanh-relu'"),
        ({"architecture": "jumprelu"}, "has no threshold"),
        ({"architecture": "topk", "k": C + 1}, "k = 17 is above n_concepts = 16"),
        ({"metadata": {"schema_version": 1}}, "an SAE of this program already"),
    ],
)
def test_saelens_without_an_equivalent(config: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        import_sae(sae_lens(tmp_path, **config))


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"b_enc": torch.zeros(C - 1)}, "encoder bias .* have shape"),
        ({"W_dec": torch.zeros(C, D + 1)}, "atoms .* have shape"),
        ({"W_dec": torch.full((C, D), float("nan"))}, "holds NaN or infinity"),
    ],
)
def test_matrices_that_do_not_fit(tensors: dict, sentence: str, tmp_path: Path) -> None:
    config = {"architecture": "topk", "k": K, "apply_b_dec_to_input": False}
    with pytest.raises(ValueError, match=sentence):
        import_sae(sae_lens(tmp_path, tensors, **config))


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


def test_saev_headers_that_are_not_known(tmp_path: Path) -> None:
    path = tmp_path / "sae.pt"
    for header, sentence in (
        (b"{broken\n", "first line of .* is no JSON"),
        (b'{"schema": 9}\n', "saev's schema 9"),
        (b'{"schema": 2, "cfg": {"activation": {"cls": "Tanh"}}}\n', "activation 'Tanh'"),
        (b'{"d_vit": 6}\n', "truncated"),
    ):
        path.write_bytes(header)
        with pytest.raises(ValueError, match=sentence):
            import_sae(path)


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
