"""From standardised tokens to pre_codes: one linear map, with or without a LayerNorm over concepts.

With the LayerNorm the pre_codes of token u are `gamma * (h - mean(h)) / sqrt(var(h) + eps) + beta`, h = W u +
b. Its mean and variance are over concepts, so both are known without h: centring the rows of W and b makes
mean(h) zero, and then `var(h) = [u, 1] Q [u, 1]^T` with Q = [W b]^T [W b] / n_concepts, a (d + 1, d + 1)
matrix. So every encoder is `linear / deviation + shift`, exactly, in training (autograd goes through Q) as at
inference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sae_models.sparse import sparse_linear

LAYER_NORM_EPS = 1e-5  # torch's own default


class Folded(NamedTuple):
    """An encoder as `pre_codes = (u @ weight.T + bias) / deviation(u) + shift`."""

    weight: Tensor  # (c, d)
    bias: Tensor  # (c,)
    shift: Tensor | None = None  # (c,), None without LayerNorm
    gram: Tensor | None = None  # (d + 1, d + 1), Q above, None without LayerNorm

    def linear(self, u: Tensor, out: Tensor | None = None) -> Tensor:
        """`u @ weight.T + bias`, dense (n, c), in `out` if given; for a block of tokens at a time."""
        return torch.addmm(self.bias, u, self.weight.t(), out=out)

    def deviation(self, u: Tensor) -> Tensor | None:
        """Standard deviation over concepts of each token, (n, 1), or None without LayerNorm."""
        if self.gram is None:
            return None
        extended = torch.cat([u, u.new_ones(u.shape[0], 1)], dim=1)
        variance = ((extended @ self.gram) * extended).sum(1, keepdim=True)
        return (variance.clamp_min(0) + LAYER_NORM_EPS).sqrt()

    def pre_codes(self, u: Tensor, deviation: Tensor | None, linear: Tensor, indices: Tensor) -> Tensor:
        """Differentiable pre_codes at `indices`, (n, width); the linear part there is `linear`."""
        values = sparse_linear(u, self.weight, self.bias, linear, indices)
        if deviation is not None:
            values = values / deviation
        return values if self.shift is None else values + self.shift[indices]

    def rows(self, concept_ids: Tensor) -> Folded:
        """The encoder of some concepts only; the LayerNorm stays that over all concepts."""
        shift = None if self.shift is None else self.shift[concept_ids]
        return Folded(self.weight[concept_ids], self.bias[concept_ids], shift, self.gram)


class Encoder(nn.Module):
    """Trainable encoder: weight (c, d), bias (c,), and gamma, beta (c,) if there is a LayerNorm."""

    def __init__(self, d_model: int, n_concepts: int, layer_norm: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_concepts, d_model))
        self.bias = nn.Parameter(torch.zeros(n_concepts))
        self.gamma = nn.Parameter(torch.ones(n_concepts)) if layer_norm else None
        self.beta = nn.Parameter(torch.zeros(n_concepts)) if layer_norm else None

    def folded(self) -> Folded:
        """The map as one linear part, a shift and a Gram matrix; the module's docstring derives it."""
        if self.gamma is None:
            return Folded(self.weight, self.bias)
        weight = self.weight - self.weight.mean(0)
        bias = self.bias - self.bias.mean()
        extended = torch.cat([weight, bias[:, None]], dim=1)
        gram = extended.t() @ extended / weight.shape[0]
        return Folded(self.gamma[:, None] * weight, self.gamma * bias, self.beta, gram)

    @torch.no_grad()
    def tie(self, atoms: Tensor) -> None:
        """Starts at the transposed dictionary: weight = atoms at length 1, bias = 0."""
        self.weight.copy_(nn.functional.normalize(atoms, dim=1))
        self.bias.zero_()

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiplies every pre_code by `factor`."""
        for part in (self.weight, self.bias) if self.gamma is None else (self.gamma, self.beta):
            part.mul_(factor)  # type: ignore[union-attr]


class FusedEncoder(nn.Module):
    """Encoder for inference: the folded parts as buffers, so state dicts and `.to()` carry them."""

    def __init__(self, folded: Folded) -> None:
        super().__init__()
        for name, part in folded._asdict().items():
            self.register_buffer(name, None if part is None else part.detach().contiguous())

    def folded(self) -> Folded:
        return Folded(self.weight, self.bias, self.shift, self.gram)  # type: ignore[arg-type]
