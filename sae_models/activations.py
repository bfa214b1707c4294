"""How pre_codes become sparse: TopK, BatchTopK, Threshold (JumpReLU).

Selection looks at the dense pre_codes of one block of tokens at a time and keeps only what it selects;
gradients flow through `Folded.pre_codes`, at the selected places. A concept fires where its pre_code is above
0 and, with a threshold, strictly above the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sae_models.config import SAEConfig
from sae_models.encoder import Folded
from sae_models.sparse import Codes

_BLOCK_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 28}  # of dense pre_codes at once: 16 MiB and 1 GiB


def blocks(n: int, n_concepts: int, device: torch.device) -> Iterator[slice]:
    """Slices of tokens whose dense pre_codes are small enough to hold."""
    size = max(1, _BLOCK_ELEMENTS.get(device.type, 1 << 22) // n_concepts)
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


@torch.no_grad()
def largest(u: Tensor, folded: Folded, deviation: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """Linear parts and indices, (n, k) each, of the k largest pre_codes of every token, largest first."""
    k = min(k, folded.weight.shape[0])
    linear = u.new_empty(u.shape[0], k)
    indices = torch.empty(u.shape[0], k, dtype=torch.int64, device=u.device)
    for rows in blocks(u.shape[0], folded.weight.shape[0], u.device):
        block = folded.linear(u[rows])
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
    parts = [_above_block(u[rows], folded, None if deviation is None else deviation[rows], threshold)
             for rows in blocks(u.shape[0], folded.weight.shape[0], u.device)]  # fmt: skip
    width = max((part[0].shape[1] for part in parts), default=0)
    if not parts:
        empty = u.new_zeros(0, 0)
        return empty, empty.long(), empty.bool()
    linear, indices, filled = (
        [pad(part[i], (0, width - part[i].shape[1])) for part in parts] for i in range(3)
    )
    return torch.cat(linear), torch.cat(indices), torch.cat(filled)


def _above_block(
    u: Tensor, folded: Folded, deviation: Tensor | None, threshold: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    linear = folded.linear(u)
    level = threshold if folded.shift is None else threshold - folded.shift
    if deviation is not None:
        level = level * deviation
    token, concept = (linear > level).nonzero(as_tuple=True)
    counts = torch.bincount(token, minlength=u.shape[0])
    slot = torch.arange(len(token), device=u.device) - (counts.cumsum(0) - counts)[token]
    shape = (u.shape[0], int(counts.max()) if len(token) else 0)
    values, indices = u.new_zeros(shape), torch.zeros(shape, dtype=torch.int64, device=u.device)
    values[token, slot] = linear[token, concept].to(values.dtype)
    indices[token, slot] = concept
    filled = torch.arange(shape[1], device=u.device) < counts[:, None]
    return values, indices, filled


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
