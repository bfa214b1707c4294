"""EleutherAI's sparsify: a folder with cfg.json and sae.safetensors; TopK, centred on the decoder's bias."""

from __future__ import annotations

from pathlib import Path

from sae_models.importers.foreign import Foreign, Options, centred_bias, read_tensors
from sae_models.importers.saelens import read_cfg

_WEIGHTS = "sae.safetensors"


def matches(path: Path) -> bool:
    """Whether a folder has sparsify's files."""
    return (path / "cfg.json").is_file() and (path / _WEIGHTS).is_file()


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a folder. Raises ValueError for transcoders, skip connections and anything but TopK."""
    config = read_cfg(path)
    for name, plain in (
        ("transcode", False),
        ("skip_connection", False),
        ("signed", False),
        ("activation", "topk"),
    ):
        if config.get(name, plain) != plain:
            raise ValueError(f"{path} was trained with {name} {config[name]!r}, which cannot be imported")
    tensors = read_tensors(path / _WEIGHTS, ("encoder.weight", "encoder.bias", "W_dec", "b_dec"))
    weight = tensors["encoder.weight"].float()
    return Foreign(
        activation="topk",
        weight=weight,
        bias=centred_bias(weight, tensors["encoder.bias"], tensors["b_dec"]),
        atoms=tensors["W_dec"],
        atom_bias=tensors["b_dec"],
        k=config.get("k"),
    )
