"""Whole SAEs of overcomplete in one pickle, as the published RA-SAE-DINOv2-32k is.

Its classes become records that do nothing; the tensors in them get the names that they would have in a state
dict. The published file does not hold its threshold: it is `running_threshold` in the config.json beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sae_models.config import Activation
from sae_models.importers.foreign import Foreign, Options
from sae_models.importers.overcomplete import Facts, assemble, read_config
from sae_models.importers.overcomplete import matches as is_torch_file
from sae_models.importers.pickled import Record
from sae_models.importers.torch_file import StoredTensor, read_torch_file

_ACTIVATIONS: dict[str, Activation] = {
    "overcomplete.sae.topk_sae.TopKSAE": "topk",
    "overcomplete.sae.rasae.RATopKSAE": "topk",
    "overcomplete.sae.batchtopk_sae.BatchTopKSAE": "batchtopk",
    "overcomplete.sae.jump_sae.JumpSAE": "threshold",
    "overcomplete.sae.rasae.RAJumpSAE": "threshold",
}
_RELU = "torch.nn.modules.activation.ReLU"
_NORMALISE = "overcomplete.sae.dictionary.normalize_"
_KERNELS = (
    "rectangle", "gaussian", "triangular", "cosine", "epanechnikov", "quartic", "silverman", "cauchy",
)  # fmt: skip
_NAMES = {
    *_ACTIVATIONS,
    "overcomplete.sae.archetypal_dictionary.RelaxedArchetypalDictionary",
    "overcomplete.sae.dictionary.DictionaryLayer",
    "overcomplete.sae.modules.MLPEncoder",
    "overcomplete.sae.modules.TieableEncoder",
    "torch.nn.parallel.data_parallel.DataParallel",
    _RELU,
    "torch.nn.modules.batchnorm.BatchNorm1d",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.normalization.LayerNorm",
    *(f"{_NORMALISE}{kind}" for kind in ("l2", "max_l2", "l1", "max_l1", "identity")),
    *(f"overcomplete.sae.kernels.{kernel}_kernel" for kernel in _KERNELS),
}


def matches(path: Path) -> bool:
    """Whether a file is a torch zip that holds an object and not a state dict."""
    return is_torch_file(path) and isinstance(read_torch_file(path, _NAMES), Record)


def read(path: Path, options: Options) -> Foreign:
    """The SAE of a pickled module. Raises ValueError for a class that is not known, before it is used."""
    sae = read_torch_file(path, _NAMES)
    if sae.kind == "torch.nn.parallel.data_parallel.DataParallel":
        sae = _child(sae, "module", path)
    if sae.kind not in _ACTIVATIONS:
        raise ValueError(f"{path} holds a {sae.kind}; known are {', '.join(sorted(_ACTIVATIONS))}")
    encoder, dictionary = _child(sae, "encoder", path), _child(sae, "dictionary", path)
    rectifier = _members(encoder, "_modules").get("final_activation", Record(_RELU))
    if not isinstance(rectifier, Record) or rectifier.kind != _RELU:
        raise ValueError(f"the encoder in {path} ends in {rectifier}; only a ReLU can be imported")
    facts = Facts(
        activation=_ACTIVATIONS[sae.kind],
        k=options.k or sae.attributes.get("top_k"),
        threshold=_threshold(sae, options, path),
        delta=dictionary.attributes.get("delta"),
        normalisation=str(dictionary.attributes.get("normalization", "")).removeprefix(_NORMALISE),
        layer_norm_eps=_eps(encoder),
    )
    return assemble(dict(_tensors(sae)), facts, path)


def _threshold(sae: Record, options: Options, path: Path) -> float | None:
    """The option, or the config's, or what the module has from training."""
    if options.threshold is not None:
        return options.threshold
    stored = sae.attributes.get("running_threshold")
    stored = float(stored.read()) if isinstance(stored, StoredTensor) else stored
    return read_config(path).get("running_threshold", stored)


def _eps(encoder: Record) -> float:
    block = _members(encoder, "_modules").get("final_block")
    norm = _members(block, "_modules").get("1") if isinstance(block, Record) else None
    return (
        norm.attributes.get("eps", Facts.layer_norm_eps) if isinstance(norm, Record) else Facts.layer_norm_eps
    )


def _members(module: Record, kind: str) -> dict[str, Any]:
    members = module.attributes.get(kind)
    return members if isinstance(members, dict) else {}


def _child(module: Record, name: str, path: Path) -> Record:
    child = _members(module, "_modules").get(name)
    if not isinstance(child, Record):
        raise ValueError(f"the {module.kind} in {path} has no {name}; it is not whole or not of this format")
    return child


def _tensors(module: Record, prefix: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Parameters and buffers by the name that a state dict gives them."""
    if depth > 8:
        raise ValueError("modules are nested too deeply for an SAE; the file was not used")
    own = _members(module, "_parameters") | _members(module, "_buffers")
    found = [(f"{prefix}{name}", value) for name, value in own.items()]
    for name, child in _members(module, "_modules").items():
        if isinstance(child, Record):
            found += _tensors(child, f"{prefix}{name}.", depth + 1)
    return found
