"""Concepts of one SAE and their counterparts in another, by the images in which they fire."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.stats import spearmanr

_BLOCK = 256  # concepts at a time
LEAST_CORRELATION = 0.5


@dataclass(frozen=True)
class Matches:
    """Concepts with a counterpart, parallel arrays of shape (n_matched,)."""

    one: np.ndarray  # concept ids of the first SAE
    other: np.ndarray  # their best counterparts in the second
    correlation: np.ndarray  # of the energies over images, at least the least asked for


def match_concepts(
    one: sparse.sparray, other: sparse.sparray, least_correlation: float = LEAST_CORRELATION
) -> Matches:
    """For each concept of `one` the concept of `other` whose energies correlate most with its own.

    Both are (n_images, n_concepts) over the same images. Concepts that never change have no counterpart.
    """
    a, b = (sparse.csr_array(side, dtype=np.float64) for side in (one, other))
    n = max(a.shape[0], 1)
    means, deviations = zip(*((_mean(side), _deviation(side)) for side in (a, b)), strict=True)
    best, size = np.zeros(a.shape[1], int), np.full(a.shape[1], -np.inf)
    by_concept = sparse.csr_array(a.T)
    for start in range(0, a.shape[1], _BLOCK):
        rows = slice(start, start + _BLOCK)
        joint = (by_concept[rows] @ b).toarray() / n - np.outer(means[0][rows], means[1])
        scale = np.outer(deviations[0][rows], deviations[1])
        correlation = np.divide(joint, scale, out=np.full_like(joint, -np.inf), where=scale > 0)
        best[rows] = correlation.argmax(1)
        size[rows] = correlation.max(1)
    found = np.flatnonzero(size >= least_correlation)
    return Matches(found, best[found], size[found])


def rank_agreement(a: np.ndarray, b: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Spearman's rho of two arrays (n_matched,) with a 95% percentile interval over resampled concepts."""
    value = float(spearmanr(a, b).statistic)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(a), len(a)) for _ in range(200)]
    low, high = np.nanpercentile([spearmanr(a[rows], b[rows]).statistic for rows in drawn], [2.5, 97.5])
    return value, float(low), float(high)


def _mean(side: sparse.csr_array) -> np.ndarray:
    return np.asarray(side.sum(0)).ravel() / max(side.shape[0], 1)


def _deviation(side: sparse.csr_array) -> np.ndarray:
    squares = np.asarray((side * side).sum(0)).ravel() / max(side.shape[0], 1)
    return np.sqrt(np.maximum(squares - _mean(side) ** 2, 0))
