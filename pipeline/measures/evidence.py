"""How sure we are that a concept differs: interval, p-value, q-value and label per concept.

The unit is the pair: one caption with its real image and its generated ones. Energies of `n_pairs` pairs
are two sparse matrices (n_pairs, n_concepts) >= 0, rows in the same order on both sides; where a caption was
drawn several times, its row holds the mean of those images. Everything is a product of resampling weights
with these matrices, in blocks of concepts on all cores.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr, ndtri

from pipeline.measures.energy import Form, energy_difference, on_scale
from pipeline.measures.signflip import flip_test, stratified_flip_test

BLOCK = 256  # concepts at a time: a block of resampled energies stays in the cache
_ALPHA = 0.05  # of the intervals: 95%


@dataclass(frozen=True)
class Evidence:
    """What is known of every concept, arrays of shape (n_concepts,).

    `rel` = (E_gen - E_real) / (E_gen + E_real) between -1 and 1 carries the relative and the ratio form,
    which are monotone in it, and `difference` the absolute one; so two intervals serve all three.
    """

    energy_real: np.ndarray  # E_real, mean over pairs, >= 0
    energy_gen: np.ndarray
    n_fired_real: np.ndarray  # pairs in which the concept fires on that side, int64
    n_fired_gen: np.ndarray
    difference_low: np.ndarray  # of energy_gen - energy_real
    difference_high: np.ndarray
    rel_low: np.ndarray  # NaN where the concept fires on neither side
    rel_high: np.ndarray
    p: np.ndarray  # two-sided sign-flip p-value of the difference, 1 where nothing differs
    q: np.ndarray  # Benjamini-Hochberg over the tested concepts, NaN for the others
    tested: np.ndarray  # bool: fires in enough pairs on one side to be judged

    def delta(self, form: Form, temperature: float | None = None) -> np.ndarray:
        """Energy difference from 0 (suppressed) over 0.5 (aligned) to 1, NaN where nothing fires."""
        return energy_difference(self.energy_real, self.energy_gen, form, temperature)

    def interval(self, form: Form, temperature: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Low and high end of the 95% interval of `delta`."""
        absolute = form == "absolute"
        low = self.difference_low if absolute else self.rel_low
        high = self.difference_high if absolute else self.rel_high
        return on_scale(low, form, temperature), on_scale(high, form, temperature)


def weigh(
    real: sparse.sparray,
    gen: sparse.sparray,
    *,
    asked: sparse.sparray | None = None,
    n_resamples: int = 1000,
    n_flips: int = 1000,
    least_images: int = 5,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Evidence:
    """Interval, p and q of every concept from the energies of the same pairs on both sides.

    Intervals are bias-corrected and accelerated (Efron 1987) over a bootstrap of pairs. A side on which a
    concept never fires has no spread to resample: there the interval reaches to what the other side's typical
    energy would make, if it fired in as many pairs as 2.5% chance lets go unseen. `asked` (n_pairs,
    n_concepts) is 1 where a caption asks for the concept (`asking.asking_pairs`): then p is the smallest of
    three tests, over all pairs, those that ask and those that do not, times three. `progress` is told the
    number of concepts done. Raises ValueError where the sides do not fit or there is no pair.
    """
    by_concept = [_checked(side) for side in (real, gen)]
    asking = None if asked is None else _checked(asked)
    if by_concept[0].shape != by_concept[1].shape:
        raise ValueError(
            f"one side has {by_concept[0].shape[::-1]} (pairs, concepts), the other"
            f" {by_concept[1].shape[::-1]}; give both the same pairs in the same order"
        )
    n_concepts, n_pairs = by_concept[0].shape
    if n_pairs == 0:
        raise ValueError("there is no pair with a real and a generated image; nothing can be compared")
    rng = np.random.default_rng(seed)
    weights = bootstrap_weights(n_pairs, n_resamples, rng)
    signs = (1 - 2 * rng.integers(0, 2, (n_pairs, n_flips), np.int8)).astype(np.float32)

    def work(start: int) -> dict[str, np.ndarray]:
        block_real, block_gen = (side[start : start + BLOCK] for side in by_concept)
        block_asking = None if asking is None else asking[start : start + BLOCK]
        found = _block_evidence(block_real, block_gen, block_asking, weights, signs)
        if progress:
            progress(len(found["p"]))
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(work, range(0, n_concepts, BLOCK)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    tested = np.maximum(columns["n_fired_real"], columns["n_fired_gen"]) >= least_images
    return Evidence(**columns, q=adjusted(columns["p"], tested), tested=tested)


def bootstrap_weights(n_pairs: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Share of each pair in each resample: (n_pairs, n_resamples) float32, columns sum to 1."""
    weights = np.empty((n_pairs, n_resamples), np.float32)
    for column in range(n_resamples):
        weights[:, column] = np.bincount(rng.integers(0, n_pairs, n_pairs), minlength=n_pairs)
    return weights / np.float32(n_pairs)


def adjusted(p: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q-values of the tested p-values, NaN elsewhere."""
    q = np.full(len(p), np.nan)
    if tested.any():
        from scipy.stats import false_discovery_control

        q[tested] = false_discovery_control(p[tested])
    return q


def label_concepts(
    delta: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    q: np.ndarray,
    *,
    suppressed_below: float = 0.1,
    exaggerated_above: float = 0.9,
    level: float = 0.05,
) -> np.ndarray:
    """Labels of shape (n_concepts,), of str.

    `suppressed` and `exaggerated`: beyond the threshold and q < `level`. `aligned`: the whole interval lies
    within the thresholds, which the data must show. `uncertain`: all else, also what was not tested (q NaN).
    """
    with np.errstate(invalid="ignore"):
        sure = q < level
        inside = (low >= suppressed_below) & (high <= exaggerated_above) & ~np.isnan(q)
        choices = [sure & (delta < suppressed_below), sure & (delta > exaggerated_above), inside]
    return np.select(choices, ["suppressed", "exaggerated", "aligned"], default="uncertain")


def _checked(side: sparse.sparray) -> sparse.csr_array:
    """Energies by concept, (n_concepts, n_pairs), float32, without stored zeros."""
    by_concept = sparse.csr_array(sparse.csr_array(side).T, dtype=np.float32)
    by_concept.eliminate_zeros()
    if not np.isfinite(by_concept.data).all() or (by_concept.data < 0).any():
        raise ValueError(
            "energies must be numbers >= 0; a negative or missing one means that its codes were wrong"
        )
    return by_concept


def _block_evidence(
    real: sparse.csr_array,
    gen: sparse.csr_array,
    asked: sparse.csr_array | None,
    weights: np.ndarray,
    signs: np.ndarray,
) -> dict[str, np.ndarray]:
    """Everything but q for a block of concepts, (n_block, n_pairs) on either side."""
    n_pairs = real.shape[1]
    e_real, e_gen = (np.asarray(side.astype(np.float64).sum(1)).ravel() / n_pairs for side in (real, gen))
    fired = [np.diff(side.indptr) for side in (real, gen)]
    differences = sparse.csr_array(gen - real)
    drawn_real, drawn_gen = real @ weights, gen @ weights
    total = e_real + e_gen
    with np.errstate(invalid="ignore", divide="ignore"):
        rel = (e_gen - e_real) / total
        drawn_total = drawn_real + drawn_gen
        drawn_rel = (drawn_gen - drawn_real) / drawn_total
    drawn_rel[drawn_total == 0] = 0  # a resample without the concept shows no difference
    # Influence of pair i on rel is proportional to E_real g_i - E_gen r_i, whose mean is 0.
    pull = sparse.csr_array(gen * e_real[:, None] - real * e_gen[:, None])
    rel_low, rel_high = _bca(drawn_rel, rel, _skew(pull, np.zeros(len(rel))))
    low, high = _bca(drawn_gen - drawn_real, e_gen - e_real, _skew(differences, e_gen - e_real))
    low, high, rel_low, rel_high = _unseen(e_real, e_gen, fired, n_pairs, (low, high, rel_low, rel_high))
    return {
        "energy_real": e_real,
        "energy_gen": e_gen,
        "n_fired_real": fired[0].astype(np.int64),
        "n_fired_gen": fired[1].astype(np.int64),
        "difference_low": low,
        "difference_high": high,
        "rel_low": np.where(total > 0, rel_low, np.nan),
        "rel_high": np.where(total > 0, rel_high, np.nan),
        "p": flip_test(differences, signs)
        if asked is None
        else stratified_flip_test(differences, asked, signs),
    }


def _skew(values: sparse.csr_array, mean: np.ndarray) -> np.ndarray:
    """Acceleration sum(c^3) / (6 sum(c^2)^1.5) of (n_block, n_pairs) centred on `mean`, zeros included."""
    n = values.shape[1]
    s1, s2, s3 = (np.asarray((values.astype(np.float64) ** power).sum(1)).ravel() for power in (1, 2, 3))
    squares = s2 - 2 * mean * s1 + n * mean**2
    cubes = s3 - 3 * mean * s2 + 3 * mean**2 * s1 - n * mean**3
    return np.divide(cubes, 6 * squares**1.5, out=np.zeros(len(s1)), where=squares > 1e-30)


def _bca(drawn: np.ndarray, estimate: np.ndarray, acceleration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated interval from resamples (n_block, n_resamples)."""
    n_resamples = drawn.shape[1]
    drawn = np.sort(drawn, axis=1)
    estimate = estimate.astype(drawn.dtype)[:, None]
    below = ((drawn < estimate).sum(1) + (drawn <= estimate).sum(1)) / 2
    bias = ndtri(np.clip(below / n_resamples, 0.5 / n_resamples, 1 - 0.5 / n_resamples))
    ends = []
    for z in ndtri(np.array([_ALPHA / 2, 1 - _ALPHA / 2])):
        reach = bias + z
        share = ndtr(bias + reach / np.maximum(1 - acceleration * reach, 0.1))
        place = share * (n_resamples + 1) - 1
        left = np.clip(np.floor(place).astype(int), 0, n_resamples - 1)
        right = np.minimum(left + 1, n_resamples - 1)
        part = np.clip(place - left, 0, 1)
        rows = np.arange(len(drawn))
        ends.append(drawn[rows, left] * (1 - part) + drawn[rows, right] * part)
    return ends[0].astype(float), ends[1].astype(float)


def _unseen(
    e_real: np.ndarray,
    e_gen: np.ndarray,
    fired: list[np.ndarray],
    n_pairs: int,
    ends: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Widen the intervals of concepts that fire on one side only.

    Zero of n pairs is compatible with a rate of up to 1 - 0.025^(1/n) (Clopper and Pearson 1934).
    """
    low, high, rel_low, rel_high = ends
    rate = 1 - (_ALPHA / 2) ** (1 / n_pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        hidden_gen = rate * e_real * n_pairs / fired[0]
        hidden_real = rate * e_gen * n_pairs / fired[1]
        no_gen, no_real = (fired[1] == 0) & (fired[0] > 0), (fired[0] == 0) & (fired[1] > 0)
        rel_high = np.where(no_gen, (hidden_gen - e_real) / (hidden_gen + e_real), rel_high)
        high = np.where(no_gen, np.maximum(high, hidden_gen - e_real), high)
        rel_low = np.where(no_real, (e_gen - hidden_real) / (e_gen + hidden_real), rel_low)
        low = np.where(no_real, np.minimum(low, e_gen - hidden_real), low)
    return low, high, rel_low, rel_high
