"""How pre_codes become sparse: TopK, BatchTopK, Threshold (JumpReLU).

Selection looks at the dense pre_codes of one block of tokens at a time and keeps only what it selects;
gradients flow through `Folded.pre_codes`, at the selected places. A concept fires where its pre_code is above
0 and, with a threshold, strictly above the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sae_models.config import SAEConfig
from sae_models.encoder import Folded
from sae_models.sparse import Codes

_BLOCK_ELEMENTS = {"cpu": 1 << 26, "cuda": 1 << 28}  # of dense pre_codes at once: 256 MiB and 1 GiB
_BLOCK_TOKENS = {"cpu": 1024}  # fewer slow the product down, more leave the cache
_STRANDS = 32  # pre_codes that share one look at their largest


def linear_blocks(u: Tensor, folded: Folded) -> Iterator[tuple[slice, Tensor]]:
    """Slices of tokens with the linear part of their pre_codes, in blocks small enough to hold.

    On a CPU the next block takes the memory of the last one, for new memory costs as much as a look at it.
    """
    n, n_concepts, kind = u.shape[0], folded.weight.shape[0], u.device.type
    size = max(1, _BLOCK_ELEMENTS.get(kind, 1 << 26) // n_concepts)
    size = min(size, _BLOCK_TOKENS.get(kind, size), max(n, 1))
    room = u.new_empty(size, n_concepts) if kind == "cpu" else None
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        yield rows, folded.linear(u[rows], None if room is None else room[: rows.stop - start])


@torch.no_grad()
def largest(u: Tensor, folded: Folded, deviation: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Linear parts and indices, (n, k) each, of the k largest pre_codes of every token, largest first."""
    k = min(k, folded.weight.shape[0])
    linear = u.new_empty(u.shape[0], k)
    indices = torch.empty(u.shape[0], k, dtype=torch.int64, device=u.device)
    for rows, block in linear_blocks(u, folded):
        if folded.shift is None or deviation is None:  # dividing by the deviation keeps the order
            linear[rows], indices[rows] = block.topk(k, dim=1)
        else:
            ranked = torch.addcmul(block, deviation[rows], folded.shift)
            indices[rows] = ranked.topk(k, dim=1).indices
            linear[rows] = block.gather(1, indices[rows]).to(linear.dtype)
    return linear, indices


@torch.no_grad()
def above(
    u: Tensor, folded: Folded, deviation: Tensor | None, threshold: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Linear parts, indices, mask of filled slots: (n, width) each, of pre_codes above `threshold`."""
    level = threshold if folded.shift is None else threshold - folded.shift
    level = level.expand(folded.weight.shape[0])
    parts = [
        _above_block(block, level, None if deviation is None else deviation[rows])
        for rows, block in linear_blocks(u, folded)
    ]
    width = max((part[0].shape[1] for part in parts), default=0)
    if not parts:
        empty = u.new_zeros(0, 0)
        return empty, empty.long(), empty.bool()
    linear, indices, filled = (
        [pad(part[i], (0, width - part[i].shape[1])) for part in parts] for i in range(3)
    )
    return torch.cat(linear), torch.cat(indices), torch.cat(filled)


def _above_block(linear: Tensor, level: Tensor, deviation: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """`above` for one block; pre_codes pass where the linear part is above `level * deviation`."""
    margin = linear.sub_(level) if deviation is None else linear.addcmul_(deviation, level, value=-1)
    token, concept, excess = _positive(margin)
    passed = excess + (level[concept] if deviation is None else level[concept] * deviation[token, 0])
    counts = torch.bincount(token, minlength=len(linear))
    slot = torch.arange(len(token), device=linear.device) - (counts.cumsum(0) - counts)[token]
    shape = (len(linear), int(counts.max()) if len(token) else 0)
    values = torch.zeros(shape, device=linear.device)
    indices = torch.zeros(shape, dtype=torch.int64, device=linear.device)
    values[token, slot] = passed.to(values.dtype)
    indices[token, slot] = concept
    filled = torch.arange(shape[1], device=linear.device) < counts[:, None]
    return values, indices, filled


def _positive(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and values of the few entries above 0, by rows.

    Columns are looked at in strands that share one maximum, which reads the matrix once and writes next to
    nothing.
    """
    n, width = matrix.shape
    n_strands = gcd(width, _STRANDS)
    strands = matrix.view(n, n_strands, width // n_strands)
    row, place = (strands.amax(1) > 0).nonzero(as_tuple=True)
    candidates = strands[row, :, place]
    hit, strand = (candidates > 0).nonzero(as_tuple=True)
    return row[hit], strand * (width // n_strands) + place[hit], candidates[hit, strand]


class TopK(nn.Module):
    """The k largest pre_codes of every token, negative ones left out."""

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        self.k = config.k

    def forward(self, u: Tensor, folded: Folded) -> Codes:
        deviation = folded.deviation(u)
        linear, indices = largest(u, folded, deviation, self.k)
        return Codes(folded.pre_codes(u, deviation, linear, indices).relu(), indices)


class BatchTopK(nn.Module):
    """In training the n * k largest pre_codes of the n tokens of a batch; in eval those above a learned
    threshold.

    The threshold, a buffer, follows the smallest code kept in each training batch, so eval needs no batch and
    gives the same codes at any batch size.
    """

    threshold: Tensor  # (), in units of pre_codes
    n_updates: Tensor  # (), training batches it has followed

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        self.k = config.k
        self.register_buffer("threshold", torch.tensor(0.0))
        self.register_buffer("n_updates", torch.tensor(0))

    def forward(self, u: Tensor, folded: Folded) -> Codes:
        deviation = folded.deviation(u)
        if not self.training:
            linear, indices, filled = above(u, folded, deviation, self.threshold)
            return _kept(folded.pre_codes(u, deviation, linear, indices), indices, filled)
        width = 4 * self.k
        while True:
            linear, indices = largest(u, folded, deviation, width)
            pre_codes = folded.pre_codes(u, deviation, linear, indices)
            flat = pre_codes.detach().relu().flatten()
            lowest = flat.topk(min(self.k * u.shape[0], flat.numel()), sorted=False).values.amin()
            kept = (pre_codes.detach() >= lowest) & (pre_codes.detach() > 0)
            # A token that fills all its candidates may own more of the batch's largest: look wider.
            if linear.shape[1] == folded.weight.shape[0] or not kept.all(1).any():
                break
            width *= 2
        used = max(1, int(kept.sum(1).max()))  # candidates come largest first
        return _kept(pre_codes[:, :used], indices[:, :used], kept[:, :used])

    @torch.no_grad()
    def remember(self, codes: Codes, memory: float) -> None:
        """Moves the threshold towards the smallest code kept in this batch; the first batch sets it."""
        kept = codes.values[codes.values > 0]
        if not kept.numel():
            return
        share = memory if self.n_updates > 0 else 0.0
        # A code must be strictly above: sit just below the smallest one.
        self.threshold.mul_(share).add_((1 - share) * torch.nextafter(kept.min(), kept.new_zeros(())))
        self.n_updates.add_(1)


class Threshold(nn.Module):
    """JumpReLU (arXiv 2407.14435): a pre_code counts where it is above its concept's threshold, learned and
    >= 0.

    Gradients of the thresholds are that paper's straight-through estimate, a rectangle of width `bandwidth`;
    they are computed at the pre_codes inside the window only, so selection in training reaches half a window
    lower.
    """

    def __init__(self, config: SAEConfig) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(config.n_concepts))
        self.bandwidth = config.bandwidth

    def forward(self, u: Tensor, folded: Folded) -> Codes:
        return self.forward_with_l0(u, folded)[0]

    def forward_with_l0(self, u: Tensor, folded: Folded) -> tuple[Codes, Tensor]:
        """Codes, and the mean number of active concepts as a () tensor with a gradient to the thresholds."""
        deviation = folded.deviation(u)
        reach = self.bandwidth / 2 if self.training else 0.0
        linear, indices, filled = above(u, folded, deviation, (self.threshold - reach).clamp_min(0))
        pre_codes = folded.pre_codes(u, deviation, linear, indices)
        values, active = _JumpReLU.apply(pre_codes, self.threshold[indices], filled, self.bandwidth)
        return Codes(values, indices), active.sum() / max(1, u.shape[0])

    @torch.no_grad()
    def constrain(self) -> None:
        self.threshold.clamp_min_(0)


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre_codes: Tensor, threshold: Tensor, filled: Tensor, bandwidth: float) -> Any:
        active = filled & (pre_codes > threshold)
        window = filled & ((pre_codes - threshold).abs() < bandwidth / 2)
        ctx.save_for_backward(threshold, active, window)
        ctx.bandwidth = bandwidth
        return pre_codes * active, active.to(pre_codes.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_values, to_active = gradients
        threshold, active, window = ctx.saved_tensors
        to_threshold = -(threshold * to_values + to_active) * window / ctx.bandwidth
        return to_values * active, to_threshold, None, None


def _kept(pre_codes: Tensor, indices: Tensor, filled: Tensor) -> Codes:
    return Codes(pre_codes.relu() * filled, indices)


ACTIVATIONS: dict[str, type[TopK] | type[BatchTopK] | type[Threshold]] = {
    "topk": TopK,
    "batchtopk": BatchTopK,
    "threshold": Threshold,
}
