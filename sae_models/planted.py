"""A task whose answer is known: tokens that are sparse sums of planted directions, used by a power law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize


class Planted(NamedTuple):
    """Tokens and the directions they are made of."""

    tokens: Tensor  # (n, d_model) float32
    directions: Tensor  # (n_directions, d_model) of length 1, the most used first


def planted_tokens(
    n: int,
    d_model: int = 64,
    n_directions: int = 256,
    k: int = 4,
    *,
    exponent: float = 1.0,  # direction i is drawn in proportion to (i + 1)^-exponent
    noise: float = 0.01,  # standard deviation per dimension
    offset: float = 0.5,  # length of a constant added to every token
    seed: int = 0,
    mode: str = "distinct",
    amp: str = "u",
) -> Planted:
    """n tokens, each the sum of k independently drawn directions times amplitudes uniform in 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    directions = normalize(
        torch.from_numpy(rng.standard_normal((n_directions, d_model), dtype=np.float32)), dim=1
    )
    share = np.arange(1, n_directions + 1) ** -exponent
    rate = k * share / share.sum()
    mean = normalize(torch.from_numpy(rng.standard_normal(d_model, dtype=np.float32)), dim=0) * offset
    parts = []
    for start in range(0, n, 65_536):
        m = min(65_536, n - start)
        if mode == "bernoulli":
            used = rng.random((m, n_directions), dtype=np.float32) < rate
            amplitudes = used * rng.uniform(0.5, 1.5, (m, n_directions)).astype(np.float32)
            sums = torch.from_numpy(amplitudes) @ directions
        else:
            if mode == "draws":
                chosen = rng.choice(n_directions, (m, k), p=share / share.sum())
            else:
                chosen = np.argpartition(-(np.log(share) + rng.gumbel(size=(m, n_directions))), k, axis=1)[:, :k]
            amplitudes = torch.from_numpy((rng.uniform(0.5, 1.5, (m, k)) if amp=="u" else rng.exponential(1.0,(m,k)) if amp=="e" else abs(rng.standard_normal((m,k)))).astype(np.float32))
            sums = embedding_bag(torch.from_numpy(chosen), directions, mode="sum", per_sample_weights=amplitudes)
        jitter = torch.from_numpy(rng.standard_normal((m, d_model), dtype=np.float32))
        parts.append(sums + mean + noise * jitter)
    return Planted(torch.cat(parts), directions)
