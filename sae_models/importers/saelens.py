"""SAELens: a folder with cfg.json and sae_weights.safetensors; W_enc (d, c), b_enc, W_dec (c, d), b_dec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sae_models.importers.foreign import Foreign, Options, centred_bias, read_tensors, require, unit_atoms

_WEIGHTS = "sae_weights.safetensors"


def matches(path: Path) -> bool:
    """Whether a folder has SAELens' files."""
    return (path / "cfg.json").is_file() and (path / _WEIGHTS).is_file()


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a folder. Raises ValueError for an architecture or a normalisation not known here."""
    config = read_cfg(path)
    metadata = config.get("metadata") or {}
    if "schema_version" in metadata:
        raise ValueError(f"{path} is an SAE of this program already; use it as it is")
    architecture, k = _architecture(config, path)
    for name, plain in (("normalize_activations", ("none", None)), ("reshape_activations", ("none", None))):
        if config.get(name) not in plain:
            raise ValueError(f"{path} was trained with {name} {config[name]!r}, which cannot be imported")
    tensors = read_tensors(path / _WEIGHTS, ("W_enc", "b_enc", "W_dec", "b_dec"))
    weight, bias, atoms = tensors["W_enc"].t().float(), tensors["b_enc"].float(), tensors["W_dec"].float()
    if config.get("apply_b_dec_to_input", True):
        bias = centred_bias(weight, bias, tensors["b_dec"])
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm"):
        weight, bias, atoms = unit_atoms(weight, bias, atoms)
    threshold = None
    if architecture == "jumprelu":
        require(tensors, ("threshold",), path / _WEIGHTS)
        threshold = tensors["threshold"].float().clamp_min(0)
    elif architecture == "standard":
        threshold = torch.zeros(len(bias))
    backbone = metadata.get("backbone") or metadata.get("model_name") or config.get("model_name") or ""
    return Foreign(
        activation="topk" if architecture == "topk" else "threshold",
        weight=weight,
        bias=bias,
        atoms=atoms,
        atom_bias=tensors["b_dec"],
        k=k,
        threshold=threshold,
        backbone=str(backbone),
    )


def read_cfg(path: Path) -> dict[str, Any]:
    """cfg.json of a folder. Raises ValueError when it is no JSON object."""
    try:
        config = json.loads((path / "cfg.json").read_text())
        if not isinstance(config, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path / 'cfg.json'} is no JSON object ({error}); fetch it again") from error
    return config


def _architecture(config: dict[str, Any], path: Path) -> tuple[str, int | None]:
    """Standard, topk or jumprelu, and k; before version 6 TopK was a `standard` with another activation."""
    architecture = config.get("architecture", "standard")
    k = config.get("k")
    old = config.get("activation_fn", config.get("activation_fn_str", "relu"))
    if architecture == "standard" and old == "topk":
        architecture, k = "topk", (config.get("activation_fn_kwargs") or {}).get("k")
    elif architecture == "standard" and old != "relu":
        raise ValueError(f"{path} has the activation {old!r}; relu and topk can be imported")
    if architecture not in ("standard", "topk", "jumprelu"):
        raise ValueError(f"{path} is a {architecture!r} SAE; standard, topk and jumprelu can be imported")
    return architecture, k
