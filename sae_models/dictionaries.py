"""Dictionaries: free atoms, and the relaxed archetypal D = W C + Lambda of arXiv 2502.12892 (METHOD.md,
section 4).

Atoms are in standardised tokens. `forward` builds the (n_concepts, d_model) matrix and caches nothing: a
cache that outlives a loaded state is a dictionary nobody trained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sae_models.config import AtomScale


class Provenance(NamedTuple):
    """Which points atoms are made of. Weights spread early in training: a hint, not an explanation."""

    points: Tensor  # (n_points, d_model) K-means points in token units
    point_index: Tensor  # (n_concepts, m) int64, the points of largest weight, largest first
    point_weight: Tensor  # (n_concepts, m), 0 to 1; the rows sum to 1 only if m = n_points
    relaxation: Tensor  # (n_concepts,) length of Lambda_i in token units


class FreeDictionary(nn.Module):
    """Every atom a free vector; `scale` "unit" gives each length 1."""

    def __init__(self, d_model: int, n_concepts: int, scale: AtomScale) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(n_concepts, d_model))
        self.log_scale = _log_scale(n_concepts, scale)
        self.unit = scale == "unit"

    def forward(self) -> Tensor:
        return _scaled(self.rows, self.unit, self.log_scale)

    @torch.no_grad()
    def start(self, rows: Tensor) -> None:
        """Sets the atoms."""
        self.rows.copy_(normalize(rows, dim=1) if self.unit else rows)

    def constrain(self) -> None:
        """Nothing to keep."""

    @torch.no_grad()
    def replace(self, concept_ids: Tensor, rows: Tensor) -> None:
        """Gives some concepts new atoms."""
        self.rows[concept_ids] = normalize(rows, dim=1) if self.unit else rows


class ArchetypalDictionary(nn.Module):
    """D = W C + Lambda, then scaled: W >= 0 with rows that sum to 1, C fixed, ||Lambda_i|| <= delta.

    The gradient of W is that of the plain product; `constrain` projects W and Lambda back after each step, so
    a weight at 0 can return.
    """

    points: Tensor

    def __init__(self, d_model: int, n_concepts: int, n_points: int, delta: float, scale: AtomScale) -> None:
        super().__init__()
        self.register_buffer("points", torch.zeros(n_points, d_model))
        self.weights = nn.Parameter(torch.full((n_concepts, n_points), 1 / n_points))
        self.relaxation = nn.Parameter(torch.zeros(n_concepts, d_model))
        self.log_scale = _log_scale(n_concepts, scale)
        self.unit = scale == "unit"
        self.delta = delta
        self._spare: list[Tensor] = []

    def forward(self) -> Tensor:
        if self.weights.device.type == "cpu":
            mixed = _Mixture.apply(self.weights, self.points, self.relaxation, self._spare)
        else:
            mixed = torch.addmm(self.relaxation, self.weights, self.points)
        return _scaled(mixed, self.unit, self.log_scale)

    def recycle(self) -> None:
        """Takes the gradient of W away, as `zero_grad` does, and keeps its memory for the next one.

        On a CPU, getting that much memory anew in every step costs a fifth of the product that fills it.
        """
        if self.weights.grad is not None:
            self._spare[:] = [self.weights.grad]
            self.weights.grad = None

    @torch.no_grad()
    def start(self, points: Tensor, generator: torch.Generator) -> None:
        """Atoms start at points, those beyond n_points at random mixtures of two: no two are equal."""
        n_concepts, n_points = self.weights.shape
        self.points.copy_(points)
        order = torch.randperm(n_points, generator=generator)
        first = order[torch.arange(n_concepts) % n_points]
        share = torch.where(
            torch.arange(n_concepts) < n_points, 1.0, torch.rand(n_concepts, generator=generator)
        )
        second = (first + torch.randint(1, n_points, (n_concepts,), generator=generator)) % n_points
        rows = torch.arange(n_concepts)
        self.weights.zero_()
        self.weights[rows, first] = share.to(self.weights)
        self.weights[rows, second] += (1 - share).to(self.weights)
        self.relaxation.zero_()

    @torch.no_grad()
    def replace(self, concept_ids: Tensor, rows: Tensor) -> None:
        """Gives some concepts the nearest atoms to `rows` that one point and the relaxation can make."""
        nearest = torch.cdist(rows, self.points).argmin(1)
        self.weights[concept_ids] = 0
        self.weights[concept_ids, nearest] = 1
        self.relaxation[concept_ids] = _shortened(rows - self.points[nearest], self.delta)

    @torch.no_grad()
    def constrain(self) -> None:
        """In place: W back on the simplex (clip at 0, divide by the row sum), Lambda back in its ball."""
        self.weights.clamp_min_(0)
        total = self.weights.sum(1, keepdim=True)
        empty = (
            total.flatten() <= 1e-12
        )  # clipped away whole: back to the mean of all points, never to a zero atom
        if empty.any():
            self.weights[empty] = 1.0
            total[empty] = self.weights.shape[1]
        self.weights.div_(total)
        self.relaxation.copy_(_shortened(self.relaxation, self.delta))

    @torch.no_grad()
    def provenance(self, mean: Tensor, scale: Tensor, m: int = 16) -> Provenance:
        """The m points of largest weight of every atom."""
        top = self.weights.topk(min(m, self.weights.shape[1]), dim=1)
        relaxation = scale * self.relaxation.norm(dim=1)
        return Provenance(mean + scale * self.points, top.indices, top.values, relaxation)


class _Mixture(torch.autograd.Function):
    """W C + Lambda; the gradient of W goes into spare memory of its shape, if there is some."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, points: Tensor, relaxation: Tensor, spare: list[Tensor]) -> Tensor:
        ctx.save_for_backward(points)
        ctx.spare = spare
        return torch.addmm(relaxation, weights, points)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (points,) = ctx.saved_tensors
        out = ctx.spare.pop() if ctx.spare else None
        return torch.mm(gradient, points.t(), out=out), None, gradient, None


def _shortened(rows: Tensor, length: float) -> Tensor:
    """Rows at most `length` long, in their own direction."""
    return rows * (length / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)


def _log_scale(n_concepts: int, scale: AtomScale) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(n_concepts)) if scale == "learned" else None


def _scaled(rows: Tensor, unit: bool, log_scale: Tensor | None) -> Tensor:
    if unit:
        return normalize(rows, dim=1)
    return rows if log_scale is None else rows * log_scale.exp()[:, None]
