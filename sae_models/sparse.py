"""Codes as values and indices, and the two products that never build a (tokens, concepts) tensor."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# True of torch for years now; it would be printed in the middle of a user's progress bar.
warnings.filterwarnings("ignore", message="Sparse CS[RC] tensor support is in beta state")


class Codes(NamedTuple):
    """Sparse codes of n tokens. The order inside a row means nothing; a slot with value 0 is empty."""

    values: Tensor  # (n, width) float32, >= 0
    indices: Tensor  # (n, width) int64, 0 <= index < n_concepts

    def dense(self, n_concepts: int) -> Tensor:
        """The codes as one (n, n_concepts) matrix; for tests and small batches."""
        empty = self.values.new_zeros(self.values.shape[0], n_concepts)
        return empty.scatter_add(1, self.indices, self.values)


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor, values: Tensor, indices: Tensor) -> Tensor:
    """`(x @ weight.T + bias)` at `indices` only, whose result `values` is known already; differentiable.

    x (n, d), weight (c, d), bias (c,), values and indices (n, width). The gradient of `weight` is the sparse
    product G.T @ x, with G the (n, c) matrix that holds the gradient at `indices`.
    """
    return _SparseLinear.apply(x, weight, bias, values, indices)


def sparse_decode(codes: Codes, atoms: Tensor) -> Tensor:
    """`codes.dense(c) @ atoms`, (n, d), for atoms (c, d); differentiable in values and atoms."""
    return _SparseDecode.apply(codes.values, codes.indices, atoms)


class _SparseLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, values: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, indices)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight, indices = ctx.saved_tensors
        n_concepts = weight.shape[0]
        to_x = _weighted_rows(gradient, indices, weight) if ctx.needs_input_grad[0] else None
        to_weight = _transposed_product(gradient, indices, n_concepts, x) if ctx.needs_input_grad[1] else None
        to_bias = None
        if ctx.needs_input_grad[2]:
            to_bias = gradient.new_zeros(n_concepts).index_add_(0, indices.flatten(), gradient.flatten())
        return to_x, to_weight, to_bias, None, None


class _SparseDecode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, atoms: Tensor) -> Tensor:
        ctx.save_for_backward(values, indices, atoms)
        return _weighted_rows(values, indices, atoms)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        values, indices, atoms = ctx.saved_tensors
        to_values = _row_products(gradient, indices, atoms) if ctx.needs_input_grad[0] else None
        to_atoms = None
        if ctx.needs_input_grad[2]:
            to_atoms = _transposed_product(values, indices, atoms.shape[0], gradient)
        return to_values, None, to_atoms


def _weighted_rows(values: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """sum_j values[i, j] * rows[indices[i, j]], (n, d)."""
    if not values.numel():  # embedding_bag refuses bags of width 0
        return rows.new_zeros(values.shape[0], rows.shape[1])
    return embedding_bag(indices, rows, mode="sum", per_sample_weights=values)


def _transposed_product(values: Tensor, indices: Tensor, n_columns: int, dense: Tensor) -> Tensor:
    """S.T @ dense, (n_columns, d), for the sparse (n, n_columns) matrix S of values at indices.

    One sort turns the entries from token order to column order; what is left is a weighted sum of rows again,
    which beats the CSR product of torch twofold on a CPU.
    """
    if not values.numel():
        return dense.new_zeros(n_columns, dense.shape[1])
    columns = indices.flatten()
    order = columns.argsort(stable=True)  # stable, so that sums add up in the same order every time
    counts = torch.bincount(columns, minlength=n_columns)
    tokens = order // values.shape[1]
    starts = counts.cumsum(0) - counts
    return embedding_bag(tokens, dense, starts, mode="sum", per_sample_weights=values.flatten()[order])


def _row_products(left: Tensor, indices: Tensor, rows: Tensor) -> Tensor:
    """left[i] . rows[indices[i, j]], (n, width)."""
    if not indices.numel():
        return left.new_zeros(indices.shape)
    n, width = indices.shape
    starts = torch.arange(0, n * width + 1, width, device=indices.device)
    empty = left.new_zeros(n * width)
    pattern = torch.sparse_csr_tensor(
        starts, indices.flatten(), empty, (n, rows.shape[0]), check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, left, rows.t(), beta=0.0).values().view(n, width)
