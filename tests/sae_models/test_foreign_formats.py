"""SAEs of SAELens, sparsify, dictionary_learning and saev compute here what their equations say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sae_models.importers import import_sae
from tests.sae_models.reference import assert_same

D, C, K = 6, 16, 3


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
