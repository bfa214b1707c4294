"""The sparse autoencoder: tokens -> codes -> tokens. Its parts: encoder, activations, dictionaries."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sae_models.activations import ACTIVATIONS, BatchTopK, Threshold, TopK
from sae_models.config import SAEConfig
from sae_models.dictionaries import ArchetypalDictionary, FreeDictionary, Provenance
from sae_models.encoder import Encoder, Folded, FusedEncoder
from sae_models.memory import check_memory, model_bytes
from sae_models.sparse import Codes, sparse_decode


class FusedParts(NamedTuple):
    """An SAE as plain matrices on raw tokens: what a checkpoint holds and an importer provides.

    `codes = activation(pre_codes(x - centre))`, `reconstruction = codes @ atoms + bias`.
    """

    encoder: Folded
    atoms: Tensor  # (n_concepts, d_model) in token units
    bias: Tensor  # (d_model,) in token units
    centre: Tensor  # (d_model,) in token units; 0 without LayerNorm, where it folds into the encoder's bias
    threshold: Tensor | None = None  # (n_concepts,) or (), in units of pre_codes; None for TopK
    provenance: Provenance | None = None  # archetypal only


class SAE(nn.Module):
    """One sparse autoencoder (METHOD.md, section 4).

    With u = (x - mean) / scale the standardised token: `codes = activation(pre_codes(u))`, `reconstruction =
    mean + scale * (codes @ atoms + bias)`. Codes are >= 0; where atoms have length 1, a code is the length
    its atom adds, as a share of a typical token's.

    `SAE(config)` can be trained; `fuse` (and so `save` and `load`) gives the same function with everything
    that only training needs folded away. Raises ValueError when the parameters need more memory than there
    is.
    """

    mean: Tensor  # (d_model,) in token units
    scale: Tensor  # () in token units

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        check_memory(model_bytes(config), torch.device("cpu"), f"an SAE of {config.n_concepts:,} concepts")
        generator = torch.Generator().manual_seed(config.seed)
        atoms = _random_dictionary(config, generator)
        encoder = Encoder(config.d_model, config.n_concepts, config.layer_norm)
        encoder.tie(atoms())
        self._assemble(config, encoder, atoms, torch.zeros(config.d_model), torch.zeros(config.d_model))

    @classmethod
    def of_parts(cls, config: SAEConfig, parts: FusedParts) -> SAE:
        """The SAE of fused parts, in eval mode and without gradients, on the device of the parts."""
        sae = cls.__new__(cls)
        nn.Module.__init__(sae)
        atoms = FreeDictionary(0, 0, "none")
        atoms.rows = nn.Parameter(parts.atoms)
        # `decode` adds the centre, which the bias of the parts includes.
        sae._assemble(config, FusedEncoder(parts.encoder), atoms, parts.bias - parts.centre, parts.centre)
        sae.provenance = parts.provenance
        if isinstance(sae.activation, BatchTopK | Threshold):
            assert parts.threshold is not None
            with torch.no_grad():
                sae.activation.threshold.copy_(parts.threshold)
        return sae.to(parts.atoms.device).eval().requires_grad_(False)

    def _assemble(
        self,
        config: SAEConfig,
        encoder: Encoder | FusedEncoder,
        atoms: FreeDictionary | ArchetypalDictionary,
        bias: Tensor,
        mean: Tensor,
    ) -> None:
        self.config = config
        self.encoder = encoder
        self.activation: TopK | BatchTopK | Threshold = ACTIVATIONS[config.activation](config)
        self.atoms = atoms
        self.bias = nn.Parameter(bias)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.ones(()))
        self.provenance: Provenance | None = None

    def encode(self, x: Tensor) -> Codes:
        """Codes of tokens x (n, d_model), any float type; values (n, width) float32 >= 0, indices (n, width)
        int64.

        The width is k for TopK and the largest count in the batch for the others. Raises ValueError on a
        wrong shape, NaN and infinity.
        """
        u = self.standardise(x)
        if not bool(torch.isfinite(u.detach().sum())):  # both survive a sum
            raise ValueError("tokens hold NaN or infinity; look at the backbone's output before encoding it")
        return self.encode_standardised(u)

    def decode(self, codes: Codes) -> Tensor:
        """Tokens (n, d_model), in token units, rebuilt from codes."""
        return self.mean + self.scale * (sparse_decode(codes, self.atoms()) + self.bias)

    def dictionary(self) -> Tensor:
        """(n_concepts, d_model), one atom a row, in token units: `decode` adds code * atom."""
        return self.scale * self.atoms()

    def forward(self, x: Tensor) -> tuple[Tensor, Codes]:
        """The reconstruction (n, d_model) and the codes of tokens x (n, d_model)."""
        codes = self.encode(x)
        return self.decode(codes), codes

    def standardise(self, x: Tensor) -> Tensor:
        """Tokens minus the mean, over the scale, (n, d_model) float32. Raises ValueError on a wrong shape."""
        if x.ndim != 2 or x.shape[1] != self.config.d_model:
            raise ValueError(f"tokens have shape {tuple(x.shape)}; this SAE takes (n, {self.config.d_model})")
        return (x.to(self.mean.dtype) - self.mean) / self.scale

    def encode_standardised(self, u: Tensor) -> Codes:
        """Codes of tokens that `standardise` has seen."""
        return self.activation(u, self.encoder.folded())

    @torch.no_grad()
    def parts(self) -> FusedParts:
        """The same function as plain matrices on raw tokens."""
        folded, centre = _fold_standardisation(self.encoder.folded(), self.mean, self.scale)
        threshold = None if isinstance(self.activation, TopK) else self.activation.threshold.detach().clone()
        provenance = self.provenance
        if isinstance(self.atoms, ArchetypalDictionary):
            provenance = self.atoms.provenance(self.mean, self.scale)
        bias = self.mean + self.scale * self.bias
        return FusedParts(folded, self.dictionary(), bias, centre, threshold, provenance)

    def fuse(self) -> SAE:
        """A copy for inference, in eval mode, with the same codes and reconstruction."""
        return SAE.of_parts(self.config, self.parts())

    def save(self, folder: str | Path) -> None:
        """Writes the fused SAE to a folder in the layout of `sae_models.checkpoint`."""
        from sae_models.checkpoint import save  # checkpoint builds SAEs, so it imports this module

        save(self, folder)

    @torch.no_grad()
    def constrain(self) -> None:
        """Puts every constrained parameter back in its set; training calls it after each step."""
        self.atoms.constrain()
        if isinstance(self.activation, Threshold):
            self.activation.constrain()


def _random_dictionary(
    config: SAEConfig, generator: torch.Generator
) -> FreeDictionary | ArchetypalDictionary:
    d_model, n_concepts = config.d_model, config.n_concepts
    if config.dictionary == "free":
        free = FreeDictionary(d_model, n_concepts, config.atom_scale)
        free.start(torch.randn(n_concepts, d_model, generator=generator) / d_model**0.5)
        return free
    atoms = ArchetypalDictionary(d_model, n_concepts, config.n_points, config.delta, config.atom_scale)
    atoms.start(torch.randn(config.n_points, d_model, generator=generator) / d_model**0.5, generator)
    return atoms


def _fold_standardisation(folded: Folded, mean: Tensor, scale: Tensor) -> tuple[Folded, Tensor]:
    """The encoder on raw tokens, and the centre they still have to be given.

    Without LayerNorm the mean folds into the bias, in float64 because the two parts nearly cancel. With it
    the mean stays a subtraction: folded into the Gram matrix it would cost the variance its precision.
    """
    weight = folded.weight / scale
    if folded.gram is None:
        bias = folded.bias.double() - weight.double() @ mean.double()
        return folded._replace(weight=weight, bias=bias.to(weight.dtype)), torch.zeros_like(mean)
    shrink = torch.cat([scale.expand(len(mean)), torch.ones_like(scale)[None]])
    return folded._replace(weight=weight, gram=folded.gram / shrink / shrink[:, None]), mean.clone()
