"""saev: one file, a line of JSON and then a torch state dict; W_enc (d, c), centred on b_dec.

The first line is the configuration alone, or (schemas 1 and 2) an object with `schema` and `cfg`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from sae_models.importers.foreign import Foreign, Options, centred_bias, require
from sae_models.importers.torch_file import StoredTensor, read_json_line, read_torch_file


def matches(path: Path) -> bool:
    """Whether a file begins with a JSON object."""
    return read_json_line(path).startswith(b"{")


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a file. Raises ValueError for a broken first line, and a schema or activation not known."""
    name, k = _activation(_header(path), path)
    state = read_torch_file(path)
    require(state if isinstance(state, dict) else {}, ("W_enc", "b_enc", "W_dec", "b_dec"), path)
    tensors = {key: value.read().float() for key, value in state.items() if isinstance(value, StoredTensor)}
    weight = tensors["W_enc"].t()
    return Foreign(
        activation="topk" if k is not None else "threshold",
        weight=weight,
        bias=centred_bias(weight, tensors["b_enc"], tensors["b_dec"]),
        atoms=tensors["W_dec"],
        atom_bias=tensors["b_dec"],
        k=k,
        threshold=torch.zeros(len(weight)) if name == "Relu" else None,
    )


def _header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(read_json_line(path))
    except ValueError as error:
        raise ValueError(f"the first line of {path} is no JSON ({error}); fetch the file again") from error
    if header.get("schema", 0) not in (0, 1, 2):
        raise ValueError(f"{path} has saev's schema {header['schema']}; schemas up to 2 can be imported")
    return header


def _activation(header: dict[str, Any], path: Path) -> tuple[str, int | None]:
    """Relu, TopK or BatchTopK, whose k in saev is per token too."""
    if "schema" not in header:
        return "Relu", None
    config = header.get("cfg") or {}
    found = config.get("activation") or {"cls": header.get("cls", "Relu"), "params": config}
    if found.get("cls") not in ("Relu", "TopK", "BatchTopK"):
        raise ValueError(
            f"{path} has the activation {found.get('cls')!r}; Relu, TopK and BatchTopK can be imported"
        )
    k = None if found["cls"] == "Relu" else int((found.get("params") or {}).get("top_k", 32))
    return found["cls"], k
