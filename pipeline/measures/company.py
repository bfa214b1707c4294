"""Do two concepts keep each other's company in generated images as they do in the real ones?

A generator that draws a concept less often makes all its co-occurrences rarer. The question here is another
one: given how often each of the two is drawn, do they go together as they did? On one side let the rarer of
the two fire in M of n images, the other in a share P of them, and both in X. Then `S = X / M` is the share of
the rarer one's images that have both, and P is what chance makes of it. Two rules say what S would be if the
other one were as frequent as P', the mean of both sides' P:

    by lift:    S' = S P' / P                           the same multiple of chance
    by excess:  S' = P' + (S - P) (1 - P') / (1 - P)    where S > P: the same share of what is possible above
                                                        chance (Loevinger's H, 1948); else as by lift

The difference is S' generated minus S' real by that rule by which it is smaller, 0 where the rules disagree
about its sign; -1 to 1, negative: driven apart. So -0.3 means: of 100 images with the rarer concept, 30 fewer
have both than if company had been kept. Leaving out the rarer one at random changes neither S', leaving out
the commoner one not that by lift, and both at once not that by excess: none of them makes a difference.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import betainc
from threadpoolctl import threadpool_limits

from pipeline.measures.evidence import adjusted, bootstrap_weights

_ALPHA = 0.05  # of the intervals: 95%
_PAIRS = 64  # at a time: their resamples stay in the cache
_PARTS = 64  # of so many pairs, per task

Portion = list[tuple[int, np.ndarray, np.ndarray]]  # a concept, its partners, the places of the pairs


@dataclass(frozen=True)
class Side:
    """Which concepts fire in the images of one side."""

    presence: sparse.csr_array  # (n_images, n_concepts), 1 where a concept fires
    pair: np.ndarray  # row 0..n_pairs-1 of the caption that each image belongs to; several may share one


@dataclass(frozen=True)
class CompanyChange:
    """Difference of every pair of concepts, arrays of shape (n_asked,).

    NaN throughout where a concept never fires on one of the sides: it has no company there to compare.
    """

    difference: np.ndarray  # generated minus real, -1 to 1, negative: driven apart
    low: np.ndarray  # 95% interval
    high: np.ndarray
    p: np.ndarray  # two-sided
    q: np.ndarray  # Benjamini-Hochberg over the tested pairs, NaN for the others
    sure: np.ndarray  # end of the interval nearest to 0, which is what to rank by; 0 where it is not sure


def company_change(
    real: Side,
    gen: Side,
    concept_a: np.ndarray,
    concept_b: np.ndarray,
    *,
    n_pairs: int,
    n_resamples: int = 1000,
    least_images: int = 3,
    level: float = 0.05,
    seed: int = 0,
) -> CompanyChange:
    """How the company of concepts a and b changes between real and generated images of the same captions.

    Captions are resampled with both of their sides. As in Jeffreys' interval, every resample adds half an
    image with both concepts and half a one with the rarer alone, each drawn from Gamma(1/2), so that five
    images of five do not pass for certainty. p is that of `shared_count_test`; a pair is tested if both fire
    in at least `least_images` images on one side. `sure` is 0 unless q < `level`.
    """
    kept = np.full((4, len(concept_a)), np.nan)  # difference, low, high, p
    counts = np.zeros((2, 3, len(concept_a)))
    if n_pairs and len(concept_a):
        rng = np.random.default_rng(seed)
        weights = np.ones((n_pairs, n_resamples + 1), np.float32)  # the first column is the data itself
        weights[:, 1:] = bootstrap_weights(n_pairs, n_resamples, rng) * n_pairs
        halves = np.full((2, 2, n_resamples + 1), 0.5, np.float32)
        halves[:, :, 1:] = rng.standard_gamma(0.5, (2, 2, n_resamples))
        sides = [Resampled(side, weights, half) for side, half in zip((real, gen), halves, strict=True)]

        def work(portion: Portion) -> None:
            for owner, others, places in portion:
                found = [_side_draws(side, owner, others) for side in sides]
                counts[:, :, places] = np.stack([side[2] for side in found])
                drawn = _difference(found[0][:2], found[1][:2])
                kept[0, places] = drawn[:, 0]
                kept[1:3, places] = _percentiles(drawn[:, 1:])

        in_threads(work, blocks(sides, concept_a, concept_b))
        kept[3] = shared_count_test(counts[0], counts[1], n_pairs)
    (x_real, *fired_real), (x_gen, *fired_gen) = counts
    nowhere = np.minimum(np.minimum(*fired_real), np.minimum(*fired_gen)) == 0
    kept[:, nowhere] = np.nan
    difference, low, high, p = kept
    q = adjusted(p, (np.maximum(x_real, x_gen) >= least_images) & ~nowhere)
    with np.errstate(invalid="ignore"):
        end = np.where(low > 0, low, np.where(high < 0, high, 0.0))
        sure = np.where(q < level, end, np.where(nowhere, np.nan, 0.0))
    return CompanyChange(difference, low, high, p, q, sure)


def shared_count_test(real: np.ndarray, gen: np.ndarray, n_pairs: int) -> np.ndarray:
    """Two-sided p-values that company is kept; sides are (X, n_a, n_b), shape (3, n_asked).

    By either rule both sides together give one lift, or one share of what is possible, and with the
    frequencies of each side the counts X that it leads to. p is the larger of the two, 1 where they disagree
    about the side that falls short. Images of one caption are taken for independent, which errs to the safe
    side.
    """
    x = np.stack([real[0], gen[0]])
    rarer = np.stack([np.minimum(*real[1:]), np.minimum(*gen[1:])])
    chance = rarer * np.stack([np.maximum(*real[1:]), np.maximum(*gen[1:])]) / n_pairs
    lift = np.divide(x.sum(0), chance.sum(0), out=np.ones(x.shape[1]), where=chance.sum(0) > 0)
    by_lift = lift * chance
    above, room = (x - chance).sum(0), (rarer - chance).sum(0)
    share = np.divide(above, room, out=np.zeros(x.shape[1]), where=room > 0)
    by_excess = np.where(above >= 0, chance + share * (rarer - chance), by_lift)
    p = np.maximum(_tail(x, rarer, by_lift), _tail(x, rarer, by_excess))
    return np.where((x < by_lift)[0] == (x < by_excess)[0], p, 1.0)


def _tail(x: np.ndarray, rarer: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Two-sided p-values of counts x with these means among `rarer` images of either side, (2, n_asked) each.

    Given the total of both sides, the count on the side that falls short has a mean and a variance, as in
    Fisher's exact test; p is twice the tail of the binomial that has the same. A lift may lead to more than
    all of the rarer one's images; so a count does not vary less than it would at the share of both sides.
    """
    rate = np.divide(mean, rarer, out=np.zeros_like(mean), where=rarer > 0)
    pooled = np.divide(x.sum(0), rarer.sum(0), out=np.zeros(x.shape[1]), where=rarer.sum(0) > 0)
    variance = mean * (1 - np.minimum(rate, pooled))
    both = variance.sum(0)
    spread = np.divide(variance.prod(0), both, out=np.zeros(len(both)), where=both > 1e-12)
    short = (x[1] < mean[1]).astype(int)[None]
    count, expected = (np.take_along_axis(of, short, 0)[0] for of in (x, mean))
    p = np.ones(len(both))
    open_ = (spread > 1e-9) & (expected - count > 1e-9)
    count, expected, spread = count[open_], expected[open_], spread[open_]
    trials = expected**2 / (expected - spread)
    p[open_] = np.minimum(2 * betainc(trials - count, count + 1, spread / expected), 1)
    return p


class Resampled:
    """One side under resamples: `weights` of the captions (n_pairs, n_columns), `halves` (2, n_columns).

    The first column stands for the data themselves: weights of 1 and halves of 0.5.
    """

    def __init__(self, side: Side, weights: np.ndarray, halves: np.ndarray):
        share = 1 / np.bincount(side.pair, minlength=len(weights))[side.pair] if len(side.pair) else 1.0
        of_images = weights[side.pair] * np.asarray(share, np.float32).reshape(-1, 1)
        self.by_concept = sparse.csr_array(side.presence.T, dtype=np.float32)
        self.images = np.diff(self.by_concept.indptr)
        self.bits = _packed(self.by_concept)
        fired = self.by_concept @ of_images
        self.n_fired = fired[:, 0].copy()  # (n_concepts,)
        self.prevalence = (fired + np.float32(0.5)) / np.float32(len(weights) + 1)
        self.fired = np.add(fired, halves.sum(0), out=fired)  # with both halves, (n_concepts, n_columns)
        self.weights = np.concatenate([of_images, halves[:1]])  # the last row is half an image with both

    def shared(self, owner: int, others: np.ndarray) -> np.ndarray:
        """Images in which `owner` fires with each of `others`, and the half, (n_others, n_columns)."""
        part = slice(self.by_concept.indptr[owner], self.by_concept.indptr[owner + 1])
        images = self.by_concept.indices[part]
        fires = np.ones((len(others), len(images) + 1), np.float32)
        fires[:, :-1] = (self.bits[others][:, images >> 3] >> (7 - (images & 7)).astype(np.uint8)) & 1
        return fires @ self.weights[np.append(images, -1)]


def _packed(by_concept: sparse.csr_array) -> np.ndarray:
    """One bit per concept and image, (n_concepts, n_images / 8)."""
    parts = [
        np.packbits(by_concept[start : start + 1024].toarray() > 0, axis=1)
        for start in range(0, by_concept.shape[0], 1024)
    ]
    return np.concatenate(parts)


def blocks(sides: list[Resampled], concept_a: np.ndarray, concept_b: np.ndarray) -> list[Portion]:
    """Pairs in portions for a task each, of parts with one concept, its partners and the pairs' places.

    A pair belongs to that of its concepts that has less images to sum over.
    """
    images = sides[0].images + sides[1].images
    swap = images[concept_b] < images[concept_a]
    owner, other = np.where(swap, concept_b, concept_a), np.where(swap, concept_a, concept_b)
    order = np.lexsort((other, owner))
    starts = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
    parts = [
        (int(owner[group[0]]), other[group[start : start + _PAIRS]], group[start : start + _PAIRS])
        for group in np.split(order, starts[1:])
        for start in range(0, len(group), _PAIRS)
    ]
    return [parts[start : start + _PARTS] for start in range(0, len(parts), _PARTS)]


def in_threads(work: Callable[[Portion], None], portions: list[Portion]) -> None:
    """Do all portions on all cores, on which the products then use one thread each."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, portions))


def _side_draws(side: Resampled, owner: int, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the rarer one's images with both, prevalence of the other, (n_others, n_columns); counts."""
    share = side.shared(owner, others)
    counts = np.stack([share[:, 0] - 0.5, np.full(len(others), side.n_fired[owner]), side.n_fired[others]])
    fired, prevalence = side.fired[others], side.prevalence[others]
    share /= np.minimum(fired, side.fired[owner], out=fired)
    return share, np.maximum(prevalence, side.prevalence[owner], out=prevalence), counts


def _difference(real: tuple[np.ndarray, np.ndarray], gen: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The difference from (share with both, prevalence of the commoner one) of either side, any shape."""
    middle = (real[1] + gen[1]) / 2
    by_lift, by_excess = [], []
    for share, prevalence in (real, gen):
        excess = share - prevalence
        above = (excess > 0).astype(excess.dtype)  # 1 - P is |P - above|, and P is where it is 0
        excess *= np.abs(middle - above)
        excess /= np.abs(prevalence - above)
        by_excess.append(excess)
        by_lift.append(share / prevalence)
    one = (by_lift[1] - by_lift[0]) * middle
    other = by_excess[1] - by_excess[0]
    smaller = np.minimum(np.abs(one), np.abs(other))
    return np.copysign(smaller, other) * (one * other > 0)


def _percentiles(drawn: np.ndarray) -> np.ndarray:
    """2.5 and 97.5 percentile of resamples (n, n_resamples), shape (2, n)."""
    drawn.sort(axis=1)
    n = drawn.shape[1]
    ends = []
    for share in (_ALPHA / 2, 1 - _ALPHA / 2):
        place = share * (n - 1)
        left = int(place)
        right = min(left + 1, n - 1)
        ends.append(drawn[:, left] * (left + 1 - place) + drawn[:, right] * (place - left))
    return np.stack(ends)
