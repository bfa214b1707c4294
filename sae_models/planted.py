"""A task whose answer is known: tokens that are sparse sums of planted directions, used by a power law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize


class Planted(NamedTuple):
    """Tokens and the directions they are made of."""

    tokens: Tensor  # (n, d_model) float32
    directions: Tensor  # (n_directions, d_model) of length 1, the most used first


def planted_tokens(
    n: int,
    d_model: int = 64,
    n_directions: int = 256,
    *,
    n_active: float = 2.0,  # directions in a token on average; each comes and goes on its own
    exponent: float = 0.7,  # direction i is used in proportion to (i + 1)^-exponent
    noise: float = 0.01,  # standard deviation per dimension
    offset: float = 0.5,  # length of a constant added to every token
    seed: int = 0,
) -> Planted:
    """n tokens: every direction is present or not, independently, with an amplitude uniform in 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    directions = _unit_rows(rng, n_directions, d_model)
    constant = offset * _unit_rows(rng, 1, d_model)
    share = np.arange(1, n_directions + 1) ** -exponent
    rate = n_active * share / share.sum()
    parts = []
    for start in range(0, n, 65_536):
        m = min(65_536, n - start)
        present = rng.random((m, n_directions)) < rate
        amplitudes = present * rng.uniform(0.5, 1.5, (m, n_directions)).astype(np.float32)
        jitter = noise * torch.from_numpy(rng.standard_normal((m, d_model), dtype=np.float32))
        parts.append(torch.from_numpy(amplitudes) @ directions + constant + jitter)
    return Planted(torch.cat(parts), directions)


def _unit_rows(rng: np.random.Generator, n: int, d_model: int) -> Tensor:
    return normalize(torch.from_numpy(rng.standard_normal((n, d_model), dtype=np.float32)), dim=1)
