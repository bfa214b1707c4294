"""Checkpoints in SAELens' layout: `cfg.json` and `sae_weights.safetensors`, and beside them where atoms come from.

SAELens opens the TopK, BatchTopK (as JumpReLU, with its threshold) and threshold SAEs and gives the same codes.
An SAE with a LayerNorm over concepts has no SAELens equivalent: its `architecture` is a name SAELens refuses.

| file | tensors |
|---|---|
| sae_weights.safetensors | W_enc (d, c), b_enc (c), W_dec (c, d), b_dec (d); threshold (c) unless TopK; with LayerNorm also centre (d), ln_gram (d + 1, d + 1), ln_shift (c) |
| sae_provenance.safetensors | archetypal only: points (p, d), point_index (c, m), point_weight (c, m), relaxation (c) |
"""  # noqa: E501 (a table row cannot be broken)

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_models.config import SAEConfig
from sae_models.dictionaries import Provenance
from sae_models.encoder import Folded
from sae_models.sae import SAE, FusedParts
from sae_models.tokens import write_atomically

CONFIG_FILE, WEIGHTS_FILE, PROVENANCE_FILE = (
    "cfg.json",
    "sae_weights.safetensors",
    "sae_provenance.safetensors",
)
SCHEMA_VERSION = 1
# SAELens keeps unknown metadata only of checkpoints that name the version they were written for.
SAE_LENS_VERSION = "6.54.0"


def save(sae: SAE, folder: str | Path) -> None:
    """Writes an SAE, fused, to `folder`; cfg.json comes last: a folder without it is an interrupted save."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = sae.parts()
    save_id = uuid.uuid4().hex  # ties the files of one save together
    write_atomically(folder / WEIGHTS_FILE, _weights(parts, sae.config), {"format": "pt", "save_id": save_id})
    if parts.provenance is None:
        (folder / PROVENANCE_FILE).unlink(missing_ok=True)
    else:
        origin = {name: value.cpu().contiguous() for name, value in parts.provenance._asdict().items()}
        write_atomically(folder / PROVENANCE_FILE, origin, {"format": "pt", "save_id": save_id})
    partial = folder / f".{CONFIG_FILE}.partial"
    partial.write_text(json.dumps(_sae_lens_config(sae.config, save_id), indent=2) + "\n")
    os.replace(partial, folder / CONFIG_FILE)


def load(
    folder: str | Path,
    *,
    backbone: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
) -> SAE:
    """The SAE of a folder that `save` wrote, fused and in eval mode.

    backbone, preprocessing: what the tokens to come are made by; None asks for no check. Raises ValueError
    when they are not those of the checkpoint, and when a file is missing, truncated, foreign or of another
    save.
    """
    folder = Path(folder)
    metadata = _read_config(folder / CONFIG_FILE)["metadata"]
    config = SAEConfig.from_dict(metadata["config"])
    for name, wanted, found in (
        ("backbone", backbone, config.backbone),
        ("preprocessing", None if preprocessing is None else dict(preprocessing), dict(config.preprocessing)),
    ):
        if wanted is not None and wanted != found:
            raise ValueError(
                f"the SAE in {folder} was trained on {name} {found!r}, not {wanted!r}; use that {name}"
            )
    tensors = _read_tensors(folder / WEIGHTS_FILE, metadata["save_id"])
    _check_shapes(tensors, config, folder / WEIGHTS_FILE)
    provenance = None
    if (folder / PROVENANCE_FILE).exists():
        provenance = Provenance(**_read_tensors(folder / PROVENANCE_FILE, metadata["save_id"]))
    return SAE.of_parts(config, _parts(tensors, config, provenance)).to(device)


def _weights(parts: FusedParts, config: SAEConfig) -> dict[str, Tensor]:
    folded = parts.encoder
    tensors = {"W_enc": folded.weight.t(), "b_enc": folded.bias, "W_dec": parts.atoms, "b_dec": parts.bias}
    if parts.threshold is not None:
        tensors["threshold"] = parts.threshold.expand(config.n_concepts)
    if folded.gram is not None and folded.shift is not None:
        tensors |= {"centre": parts.centre, "ln_gram": folded.gram, "ln_shift": folded.shift}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _parts(tensors: dict[str, Tensor], config: SAEConfig, provenance: Provenance | None) -> FusedParts:
    weight = tensors["W_enc"].t().contiguous()
    threshold = tensors.get("threshold")
    return FusedParts(
        Folded(weight, tensors["b_enc"], tensors.get("ln_shift"), tensors.get("ln_gram")),
        tensors["W_dec"],
        tensors["b_dec"],
        tensors.get("centre", torch.zeros(config.d_model)),
        threshold[0] if threshold is not None and config.activation == "batchtopk" else threshold,
        provenance,
    )


def _sae_lens_config(config: SAEConfig, save_id: str) -> dict[str, Any]:
    architecture = "topk" if config.activation == "topk" else "jumprelu"
    fields: dict[str, Any] = {
        "architecture": f"layer_norm_{architecture}" if config.layer_norm else architecture,
        "d_in": config.d_model,
        "d_sae": config.n_concepts,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if config.activation == "topk":
        fields |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    return fields | {
        "metadata": {
            "sae_lens_version": SAE_LENS_VERSION,
            "schema_version": SCHEMA_VERSION,
            "save_id": save_id,
            "backbone": config.backbone,
            "preprocessing": dict(config.preprocessing),
            "config": config.to_dict(),
        }
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text())
        version = fields["metadata"]["schema_version"]
        if not {"save_id", "config"} <= fields["metadata"].keys():
            raise KeyError("save_id and config")
    except OSError as error:
        raise ValueError(f"there is no SAE in {path.parent} ({CONFIG_FILE} cannot be read)") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not of a checkpoint saved here ({error!r}); import foreign SAEs first"
        ) from error
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}; this program reads version {SCHEMA_VERSION}")
    return fields


def _read_tensors(path: Path, save_id: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("save_id")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is missing, truncated or no safetensors file ({error})") from error
    if found != save_id:
        raise ValueError(
            f"{path} and {CONFIG_FILE} beside it come from different saves; copy the whole folder again"
        )
    return tensors


def _check_shapes(tensors: dict[str, Tensor], config: SAEConfig, path: Path) -> None:
    d, c = config.d_model, config.n_concepts
    expected = {"W_enc": (d, c), "b_enc": (c,), "W_dec": (c, d), "b_dec": (d,)}
    if config.activation != "topk":
        expected["threshold"] = (c,)
    if config.layer_norm:
        expected |= {"centre": (d,), "ln_gram": (d + 1, d + 1), "ln_shift": (c,)}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != expected:
        raise ValueError(f"{path} holds {found}; its configuration needs {expected}")
