"""An SAE of another library as plain matrices, and how it becomes one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sae_models.config import Activation, SAEConfig
from sae_models.dictionaries import Provenance
from sae_models.encoder import Encoder
from sae_models.sae import SAE, FusedParts


@dataclass(frozen=True)
class Options:
    """What an import is told beside the file; None and "" leave it to the file."""

    k: int | None = None  # active concepts per token, of a TopK that does not say
    threshold: float | None = None  # of a BatchTopK that does not say, in units of pre_codes
    backbone: str = ""  # id of the network whose tokens the SAE takes
    preprocessing: Mapping[str, Any] = field(default_factory=dict)  # how images became those tokens
    fold: bool = True  # fold the LayerNorm into the encoder; False keeps its parameters, to train on


@dataclass(frozen=True)
class Foreign:
    """Codes of raw tokens x are `activation(norm(x @ weight.T + bias))`; they rebuild
    `codes @ atoms + atom_bias`.
    """

    activation: Activation
    weight: Tensor  # (c, d)
    bias: Tensor  # (c,), with any centring of the tokens folded in
    atoms: Tensor  # (c, d)
    atom_bias: Tensor  # (d,)
    k: int | None = None  # active concepts per token, where the file says
    threshold: Tensor | None = None  # (c,) or (); None for TopK
    norm: tuple[Tensor, Tensor] | None = None  # gamma and beta, (c,) each, of a LayerNorm over concepts
    provenance: Provenance | None = None  # of an archetypal dictionary
    delta: float = 0.0  # largest length of its relaxation, in token units
    backbone: str = ""  # as the file names it

    def sae(self, options: Options, where: Path) -> SAE:
        """Ours, in eval mode. Raises ValueError on shapes that disagree, NaN, infinity and a missing k."""
        self._check(where)
        encoder = self._encoder()
        parts = FusedParts(
            encoder.folded(),
            self.atoms.float().contiguous(),
            self.atom_bias.float(),
            torch.zeros(self.weight.shape[1]),
            None if self.threshold is None else self.threshold.float(),
            self.provenance,
        )
        sae = SAE.of_parts(self._config(options, where), parts)
        if not options.fold:
            sae.encoder = encoder
        return sae

    def _check(self, where: Path) -> None:
        c, d = self.weight.shape
        parts = {
            "encoder bias": (self.bias, (c,)),
            "atoms": (self.atoms, (c, d)),
            "bias": (self.atom_bias, (d,)),
        }
        if self.norm is not None:
            parts |= {"LayerNorm weight": (self.norm[0], (c,)), "LayerNorm bias": (self.norm[1], (c,))}
        if self.threshold is not None and self.threshold.ndim:
            parts["thresholds"] = (self.threshold, (c,))
        for name, (tensor, shape) in parts.items():
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"the {name} in {where} have shape {tuple(tensor.shape)}, and its encoder asks for "
                    f"{shape}; the file is not whole or not of this format"
                )
        for tensor in (self.weight, *(tensor for tensor, _ in parts.values())):
            if not bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
                raise ValueError(f"{where} holds NaN or infinity; it cannot be used")

    @torch.no_grad()
    def _encoder(self) -> Encoder:
        encoder = Encoder(0, 0, self.norm is not None)  # its empty parameters are replaced, not filled
        encoder.weight, encoder.bias = nn.Parameter(self.weight.float()), nn.Parameter(self.bias.float())
        if self.norm is not None:
            encoder.gamma, encoder.beta = (nn.Parameter(part.float()) for part in self.norm)
        return encoder

    def _config(self, options: Options, where: Path) -> SAEConfig:
        c, d = self.weight.shape
        k = options.k or self.k
        if k is None and self.activation == "topk":
            raise ValueError(f"{where} does not say how many concepts a token has; give k")
        n_points = 0 if self.provenance is None else len(self.provenance.points)
        archetypal = n_points > d  # fewer points than ours may have: the atoms are taken as they are
        return SAEConfig(
            d_model=d,
            n_concepts=c,
            k=k or min(c, SAEConfig.k),
            activation=self.activation,
            layer_norm=self.norm is not None,
            dictionary="archetypal" if archetypal else "free",
            atom_scale="none",
            centring=False,
            init="random",
            backbone=options.backbone or self.backbone,
            preprocessing=dict(options.preprocessing),
            n_points=n_points if archetypal else SAEConfig.n_points,
            delta=self.delta if archetypal else SAEConfig.delta,
        )


def centred_bias(weight: Tensor, bias: Tensor, centre: Tensor) -> Tensor:
    """The bias (c,) with which raw tokens give what `(x - centre) @ weight.T + bias` did, through float64."""
    return (bias.double() - weight.double() @ centre.double()).float()


def at_least(threshold: Tensor) -> Tensor:
    """The threshold, strictly above which a code is, of a library that keeps codes equal to `threshold`."""
    return torch.nextafter(threshold.float(), torch.full_like(threshold.float(), -1.0))


def unit_atoms(weight: Tensor, bias: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same SAE with atoms (c, d) of length 1: their length goes to the encoder's weight and bias."""
    length = atoms.norm(dim=1)
    return weight * length[:, None], bias * length, atoms / length[:, None]


def read_tensors(path: Path, needed: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises ValueError when it is broken or lacks one of `needed`."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is missing, truncated or no safetensors file ({error})") from error
    require(tensors, needed, path)
    return tensors


def require(tensors: Mapping[str, Any], needed: tuple[str, ...], path: Path) -> None:
    """Raises ValueError when one of the needed tensors is not there."""
    missing = [name for name in needed if name not in tensors]
    if missing:
        raise ValueError(
            f"{path} has no {' and no '.join(missing)} (it has {', '.join(sorted(tensors)[:8]) or 'nothing'}"
            "); it is not whole or not of this format"
        )
