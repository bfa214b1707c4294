"""What energy differences look like when nothing differs: a set of images against another half of itself.

One half of the real images stands for the real side, the other for the generated one. Beside it, for the
same halves, the truly generated images of the second half: what they show more is more than chance.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.measures.energy import Form, energy_difference


@dataclass(frozen=True)
class Null:
    """Energies of random halves, (n_concepts, n_splits) each: what was seen, and what chance alone shows."""

    first: np.ndarray  # real images of the first half
    second: np.ndarray  # real images of the second half: nothing differs
    drawn: np.ndarray  # generated images of the second half

    def delta(self, form: Form, temperature: float | None = None) -> np.ndarray:
        """Energy difference of real against real, (n_concepts, n_splits), 0 to 1, NaN where none fires."""
        return energy_difference(self.first, self.second, form, temperature)

    def delta_drawn(self, form: Form, temperature: float | None = None) -> np.ndarray:
        """Energy difference of generated against real over the same halves."""
        return energy_difference(self.first, self.drawn, form, temperature)


def split_null(real: sparse.sparray, gen: sparse.sparray, *, n_splits: int = 20, seed: int = 0) -> Null:
    """Energies of `n_splits` random halvings of the pairs; both sides are (n_pairs, n_concepts).

    To hold one seed of a generator against another, pass them as `real` and `gen` of `self_null`.
    """
    n_pairs = real.shape[0]
    if n_pairs < 2:
        raise ValueError("one pair cannot be halved; a null needs at least two")
    first, second = _halves(n_pairs, n_splits, seed)
    by_concept = [sparse.csr_array(side.T, dtype=np.float64) for side in (real, gen)]
    return Null(by_concept[0] @ first, by_concept[0] @ second, by_concept[1] @ second)


def self_null(one: sparse.sparray, other: sparse.sparray, *, n_splits: int = 20, seed: int = 0) -> Null:
    """Energies when each pair's two drawings (n_pairs, n_concepts) are dealt to the sides at random.

    All pairs are on both sides, as they are in the comparison itself.
    """
    n_pairs = one.shape[0]
    rng = np.random.default_rng(seed)
    swapped = rng.integers(0, 2, (n_pairs, n_splits)).astype(np.float64)
    a, b = (sparse.csr_array(side.T, dtype=np.float64) for side in (one, other))
    kept = 1 - swapped
    first, second = (a @ kept + b @ swapped) / n_pairs, (a @ swapped + b @ kept) / n_pairs
    return Null(first, second, second)


def _halves(n_pairs: int, n_splits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n_pairs, n_splits) of the mean over a random half, and of that over an equally large rest."""
    rng = np.random.default_rng(seed)
    half = n_pairs // 2
    first, second = np.zeros((n_pairs, n_splits)), np.zeros((n_pairs, n_splits))
    for split in range(n_splits):
        order = rng.permutation(n_pairs)
        first[order[:half], split] = 1 / half
        second[order[half : 2 * half], split] = 1 / half
    return first, second


def beyond(delta: np.ndarray, suppressed_below: float, exaggerated_above: float) -> np.ndarray:
    """Concepts beyond either threshold per split, shape (n_splits,); NaN does not count."""
    with np.errstate(invalid="ignore"):
        return ((delta < suppressed_below) | (delta > exaggerated_above)).sum(0)


def spread(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over splits with the 2.5 and 97.5 percentile."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)
