"""State dicts of overcomplete: free or relaxed archetypal dictionary, linear encoder, LayerNorm or BatchNorm.

A state dict holds no k, no BatchTopK threshold, no delta and no kind of normalisation: they come from a
config.json beside it (`top_k`, `running_threshold`, `delta`, `normalization`) or from the options.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_models.config import Activation
from sae_models.dictionaries import Provenance
from sae_models.importers.foreign import Foreign, Options, at_least, require
from sae_models.importers.torch_file import StoredTensor, read_torch_file

_LINEAR, _NORM = "encoder.final_block.0.", "encoder.final_block.1."
_EPS = 1e-5  # of both norms, torch's default
_N_ORIGINS = 16  # candidate points kept per atom
_NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": lambda rows: rows / (rows.norm(dim=1, keepdim=True) + 1e-8),
    "max_l2": lambda rows: rows / rows.norm(dim=1).amax(),
    "l1": lambda rows: rows / (rows.abs().sum(1, keepdim=True) + 1e-8),
    "max_l1": lambda rows: rows / rows.abs().sum(1).amax(),
    "identity": lambda rows: rows,
}


@dataclass(frozen=True)
class Facts:
    """What the tensors do not say."""

    activation: Activation | None = None
    k: int | None = None
    threshold: float | None = None  # of BatchTopK
    delta: float | None = None  # of the relaxation; None = it is short enough already
    normalisation: str = "l2"  # of a free dictionary
    layer_norm_eps: float = _EPS


def matches(path: Path) -> bool:
    """Whether a file is a torch zip; `overcomplete_pickle` is asked first."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a state dict. Raises ValueError when it is none, and when k and threshold are missing."""
    state = read_torch_file(path)
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no state dict; nothing in it is known")
    if isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = {str(name).removeprefix("module."): value for name, value in state.items()}
    config = read_config(path)
    facts = Facts(
        k=options.k or config.get("top_k"),
        threshold=options.threshold if options.threshold is not None else config.get("running_threshold"),
        delta=config.get("delta"),
        normalisation=config.get("normalization", "l2"),
    )
    return assemble(tensors, facts, path)


def read_config(path: Path) -> dict[str, Any]:
    """The config.json beside a file, {} where there is none. Raises ValueError when it is no JSON object."""
    config = path.with_name("config.json")
    if not config.is_file():
        return {}
    try:
        fields = json.loads(config.read_text())
        if not isinstance(fields, dict):
            raise ValueError("no object")
    except (ValueError, OSError) as error:
        raise ValueError(f"{config} is no JSON object ({error}); fetch it again") from error
    return fields


@torch.no_grad()
def assemble(tensors: Mapping[str, Any], facts: Facts, path: Path) -> Foreign:
    """An SAE from overcomplete's tensors by name; `facts` holds what they do not say."""
    tensors = {name: value for name, value in tensors.items() if isinstance(value, StoredTensor)}
    if any(name.startswith("encoder.mlp_blocks.") for name in tensors):
        raise ValueError(f"the encoder in {path} has hidden layers; only a linear one can be imported")
    archetypal = "dictionary.W" in tensors
    atoms, origin = _archetypal(tensors, facts, path) if archetypal else (_free(tensors, facts, path), None)
    weight, bias, norm = _encoder(tensors, facts, atoms, path)
    activation, threshold = _activation(tensors, facts, path)
    return Foreign(
        activation=activation,
        weight=weight,
        bias=bias,
        atoms=atoms,
        atom_bias=torch.zeros(atoms.shape[1]),
        k=facts.k if activation == "topk" else None,  # BatchTopK's is a count per batch
        threshold=threshold,
        norm=norm,
        provenance=origin,
        delta=facts.delta or 0.0,
    )


def _archetypal(tensors: Mapping[str, StoredTensor], facts: Facts, path: Path) -> tuple[Tensor, Provenance]:
    """exp(m) * (rows of relu(W) summing to 1 @ C + Relax), by blocks: W alone is 4 GB where c is 32,000."""
    require(tensors, ("dictionary.W", "dictionary.C", "dictionary.Relax", "dictionary.multiplier"), path)
    points, relaxation = tensors["dictionary.C"].read().float(), tensors["dictionary.Relax"].read().float()
    if facts.delta is not None:
        relaxation *= (facts.delta / relaxation.norm(dim=1, keepdim=True)).clamp(max=1)
    weights, factor = tensors["dictionary.W"], tensors["dictionary.multiplier"].read().float().exp()
    if weights.shape != (len(relaxation), len(points)):
        raise ValueError(
            f"{path}: W is {weights.shape}, but C has {len(points)} and Relax {len(relaxation)} rows"
        )
    atoms, index, share = [], [], []
    for block in weights.row_blocks():
        row = block.float().relu()
        row /= row.sum(1, keepdim=True) + 1e-8
        atoms.append(row @ points)
        top = row.topk(min(_N_ORIGINS, len(points)), dim=1)
        index.append(top.indices)
        share.append(top.values)
    origin = Provenance(points, torch.cat(index), torch.cat(share), relaxation.norm(dim=1))
    return torch.cat(atoms).add_(relaxation).mul_(factor), origin


def _free(tensors: Mapping[str, StoredTensor], facts: Facts, path: Path) -> Tensor:
    require(tensors, ("dictionary._weights", "dictionary.multiplier"), path)
    if facts.normalisation not in _NORMALISATIONS:
        raise ValueError(
            f"{path}: normalisation {facts.normalisation!r} of the dictionary is not one of "
            f"{', '.join(_NORMALISATIONS)}"
        )
    rows = _NORMALISATIONS[facts.normalisation](tensors["dictionary._weights"].read().float())
    return rows * tensors["dictionary.multiplier"].read().float().exp()


def _encoder(
    tensors: Mapping[str, StoredTensor], facts: Facts, atoms: Tensor, path: Path
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Weight, bias, and gamma and beta of a LayerNorm; a BatchNorm folds into weight and bias."""
    if f"{_LINEAR}weight" not in tensors:  # tied to the dictionary, or linear and nothing else
        tied = any(name.startswith("encoder.tied_to.") for name in tensors)
        require(tensors, () if tied else ("encoder.weight",), path)
        bias = (
            tensors["encoder.bias"].read().float() if "encoder.bias" in tensors else torch.zeros(len(atoms))
        )
        return (atoms.clone() if tied else tensors["encoder.weight"].read().float()), bias, None
    require(tensors, (f"{_LINEAR}bias",), path)
    weight, bias = tensors[f"{_LINEAR}weight"].read().float(), tensors[f"{_LINEAR}bias"].read().float()
    if f"{_NORM}weight" not in tensors:
        return weight, bias, None
    gamma, beta = tensors[f"{_NORM}weight"].read().float(), tensors[f"{_NORM}bias"].read().float()
    if f"{_NORM}running_var" not in tensors:
        if abs(facts.layer_norm_eps - _EPS) > 1e-9:
            raise ValueError(
                f"{path}: its LayerNorm has eps {facts.layer_norm_eps}; only {_EPS} can be imported"
            )
        return weight, bias, (gamma, beta)
    gain = gamma / (tensors[f"{_NORM}running_var"].read().float() + _EPS).sqrt()
    return weight * gain[:, None], (bias - tensors[f"{_NORM}running_mean"].read().float()) * gain + beta, None


def _activation(
    tensors: Mapping[str, StoredTensor], facts: Facts, path: Path
) -> tuple[Activation, Tensor | None]:
    if "thresholds" in tensors:
        return "threshold", at_least(tensors["thresholds"].read().float().exp())
    activation = facts.activation or ("topk" if facts.threshold is None else "batchtopk")
    if activation == "topk":
        return "topk", None
    if facts.threshold is None:
        raise ValueError(
            f"{path} has no BatchTopK threshold, nor has a config.json beside it (running_threshold); "
            "fetch that file too, or give the threshold"
        )
    return "batchtopk", at_least(torch.tensor(facts.threshold))
