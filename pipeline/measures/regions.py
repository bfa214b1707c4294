"""Regions of the map: dense parts, words for them, and whether concepts of one kind lie together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from pipeline.measures.naming import over_represented, say_once

_BLOCK = 64  # shuffles at a time
_N_STRATA = 10


def find_regions(positions: np.ndarray, least: int | None = None) -> np.ndarray:
    """Region of every point, (n_points,) int32 from 0, -1 between the regions. HDBSCAN, no seed needed.

    `least` points make a region; by default 1% of all, but 5 to 50. Regions are numbered by size, the largest
    first, equal ones by their first point.
    """
    from sklearn.cluster import HDBSCAN

    n_points = len(positions)
    least = min(max(n_points // 100, 5), 50) if least is None else least
    if n_points < 2 * least:
        return np.full(n_points, -1, np.int32)
    found = HDBSCAN(min_cluster_size=least, min_samples=min(least, 5), copy=True).fit(positions).labels_
    names, first, sizes = np.unique(found[found >= 0], return_index=True, return_counts=True)
    numbers = np.full(len(names) + 1, -1, np.int32)  # the last entry is read for -1
    numbers[names[np.lexsort((first, -sizes))]] = np.arange(len(names))
    return numbers[found]


def nearest_points(positions: np.ndarray, top: int, of: np.ndarray | None = None) -> np.ndarray:
    """The `top` nearest other points of every point, (n_points, top), nearest first.

    With `of` (n, 2), the nearest points of its rows instead.
    """
    if of is not None:
        return cKDTree(positions).query(of, k=[*range(1, min(top, len(positions)) + 1)])[1]
    top = min(top, len(positions) - 1)
    found = cKDTree(positions).query(positions, k=[*range(1, top + 2)])[1]
    # Of points on the same spot a point may not be its own first neighbour.
    own = found == np.arange(len(positions))[:, None]
    own[~own.any(1), -1] = True
    return found[~own].reshape(len(positions), top)


def region_words(region: np.ndarray, words: Sequence[Sequence[str]], top: int = 3) -> list[list[str]]:
    """Words that a region's concepts have more often than those of the rest of the map, best first.

    `region` (n_concepts,) as `find_regions` gives it, `words` the words of every concept. A word counts where
    at least two of the region's concepts, and a fifth of them, have it.
    """
    n_regions = int(region.max(initial=-1)) + 1
    terms = sorted({word for of_concept in words for word in of_concept})
    column = {term: index for index, term in enumerate(terms)}
    pairs = {(row, column[word]) for row, of_concept in enumerate(words) for word in of_concept}
    rows, columns = np.array(sorted(pairs), int).reshape(-1, 2).T
    has = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(words), len(terms)))
    inside = np.flatnonzero(region >= 0)
    members = sparse.csr_array(
        (np.ones(len(inside)), (region[inside], inside)), shape=(n_regions, len(region))
    )
    found = over_represented(members, has, top=max(len(terms), 1), least_images=2)
    sizes = np.bincount(region[inside], minlength=n_regions)
    found = say_once(found[found.n_images >= sizes[found.concept] / 5], terms, top)
    return [[terms[term] for term in found.term[found.concept == place]] for place in range(n_regions)]


@dataclass(frozen=True)
class Agreement:
    """How far concepts of one kind are each other's neighbours, beside shuffled labels."""

    value: float  # share of their neighbours that are of the kind too, 0 to 1
    shuffled: float  # mean over the shuffles
    low: float  # 95% of the shuffles lie between these
    high: float
    p: float  # one-sided, at least 1 / (n_shuffles + 1)


def neighbour_agreement(
    neighbours: np.ndarray,
    kind: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    usable: np.ndarray | None = None,
    n_shuffles: int = 1000,
    seed: int = 0,
) -> Agreement | None:
    """Share of neighbours of the same kind, against labels shuffled over concepts; none without both kinds.

    `neighbours` (n, k) are the nearest concepts of each, `kind` (n,) bool. Only
    `usable` (n, k) neighbours count, all by default. Labels are shuffled within `strata` (n,), such as ranges
    of prevalence, so that what comes of them alone is no agreement. The share is the mean, over the concepts
    of the kind, of the share of their neighbours that are of it.
    """
    if not 0 < kind.sum() < len(kind):
        return None
    usable = np.ones(neighbours.shape, bool) if usable is None else usable
    n_usable = usable.sum(1)
    rows = np.repeat(np.arange(len(kind)), n_usable)
    weights = np.repeat(1 / np.maximum(n_usable, 1), n_usable)
    near = sparse.csr_array((weights, (rows, neighbours[usable])), shape=(len(kind),) * 2)
    strata = np.zeros(len(kind), int) if strata is None else strata
    rng = np.random.default_rng(seed)
    home = np.argsort(strata, kind="stable")
    shares = []
    for start in range(0, n_shuffles, _BLOCK):
        drawn = np.empty((len(kind), min(_BLOCK, n_shuffles - start)), np.float32)
        for column in drawn.T:
            # Places of each stratum, with the labels of the same stratum in random order.
            column[home] = kind[np.lexsort((rng.random(len(kind)), strata))]
        shares.append((drawn * (near @ drawn)).sum(0) / kind.sum())
    shuffled = np.concatenate(shares).astype(np.float64)
    one = kind.astype(np.float64)
    value = float((one * (near @ one)).sum() / kind.sum())
    p = (1 + (shuffled >= value - 1e-9).sum()) / (n_shuffles + 1)
    low, high = np.percentile(shuffled, [2.5, 97.5])
    return Agreement(value, float(shuffled.mean()), float(low), float(high), float(p))


def prevalence_strata(n_fired: np.ndarray) -> np.ndarray:
    """Ten ranges of equally many concepts by how often they fire, (n_concepts,), 0 the rarest."""
    order = np.empty(len(n_fired), int)
    order[np.argsort(n_fired, kind="stable")] = np.arange(len(n_fired))
    return order * _N_STRATA // max(len(n_fired), 1)
