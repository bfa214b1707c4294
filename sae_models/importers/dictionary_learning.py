"""dictionary_learning: a folder with ae.pt, a state dict, and config.json, which names its class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_models.importers.foreign import Foreign, Options, centred_bias, require, unit_atoms
from sae_models.importers.overcomplete import read_config
from sae_models.importers.torch_file import StoredTensor, read_torch_file

# Class: the centre that it subtracts from the tokens ("" for none), its decoder's bias.
_BIASES = {
    "AutoEncoder": ("bias", "bias"),
    "AutoEncoderNew": ("", "decoder.bias"),
    "AutoEncoderTopK": ("b_dec", "b_dec"),
    "BatchTopKSAE": ("b_dec", "b_dec"),
    "MatryoshkaBatchTopKSAE": ("b_dec", "b_dec"),
    "JumpReluAutoEncoder": ("", "b_dec"),
}


def matches(path: Path) -> bool:
    """Whether a folder has dictionary_learning's files."""
    return (path / "ae.pt").is_file() and (path / "config.json").is_file()


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a folder. Raises ValueError for a class that has no equivalent here (gated)."""
    weights = path / "ae.pt"
    trainer = read_config(weights).get("trainer") or {}
    kind = trainer.get("dict_class")
    if kind not in _BIASES:
        raise ValueError(f"{path} is a {kind!r}; {', '.join(_BIASES)} can be imported")
    state = read_torch_file(weights)
    if not isinstance(state, dict):
        raise ValueError(f"{weights} holds no state dict; nothing in it is known")
    tensors = {name: value.read() for name, value in state.items() if isinstance(value, StoredTensor)}
    centre, atom_bias = _BIASES[kind]
    weight, bias, atoms = _matrices(tensors, weights)
    require(tensors, (atom_bias,), weights)
    if centre:
        bias = centred_bias(weight, bias, tensors[centre])
    if kind == "AutoEncoder":  # which the library scales to unit atoms when it loads one
        weight, bias, atoms = unit_atoms(weight, bias, atoms)
    return Foreign(
        activation=_activation(kind),
        weight=weight,
        bias=bias,
        atoms=atoms,
        atom_bias=tensors[atom_bias].float(),
        k=trainer.get("k"),
        threshold=_threshold(kind, tensors, options, weights),
        backbone=str(trainer.get("lm_name") or ""),
    )


def _matrices(tensors: dict[str, Tensor], path: Path) -> tuple[Tensor, Tensor, Tensor]:
    if "W_enc" in tensors:
        require(tensors, ("b_enc", "W_dec"), path)
        return tensors["W_enc"].t().float(), tensors["b_enc"].float(), tensors["W_dec"].float()
    require(tensors, ("encoder.weight", "encoder.bias", "decoder.weight"), path)
    return (
        tensors["encoder.weight"].float(),
        tensors["encoder.bias"].float(),
        tensors["decoder.weight"].t().float(),
    )


def _activation(kind: str) -> Any:
    if kind == "AutoEncoderTopK":
        return "topk"
    return "batchtopk" if "BatchTopK" in kind else "threshold"


def _threshold(kind: str, tensors: dict[str, Tensor], options: Options, path: Path) -> Tensor | None:
    if kind == "AutoEncoderTopK":
        return None
    if kind.startswith("AutoEncoder"):
        return torch.zeros(len(tensors["encoder.bias"]))
    if options.threshold is not None:
        return torch.tensor(options.threshold)
    require(tensors, ("threshold",), path)
    return tensors["threshold"].float().clamp_min(0)  # below 0 where it was never learned: every code counts
