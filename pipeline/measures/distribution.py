"""The shape of a whole comparison: how energy differences spread, and whether two generators share theirs.

Intervals come from resampled pairs. Resampling adds noise of its own, which shifts a statistic such as the
skewness; so the percentiles of the resampled values are moved back by the mean of that shift.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse, stats

from pipeline.measures.energy import Form, energy_difference


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Energies under each resample of the pairs, (n_concepts, n_resamples) on both sides."""

    real: np.ndarray
    gen: np.ndarray

    def delta(self, form: Form, temperature: float | None = None) -> np.ndarray:
        """Energy differences, 0 to 1; 0.5 where a resample lost the concept on both sides."""
        return np.nan_to_num(energy_difference(self.real, self.gen, form, temperature), nan=0.5)


def resample(real: sparse.sparray, gen: sparse.sparray, weights: np.ndarray) -> Resampled:
    """Mean energies of (n_pairs, n_concepts) under weights (n_pairs, n_resamples) whose columns sum to 1."""
    return Resampled(*(np.asarray(sparse.csr_array(side.T) @ weights) for side in (real, gen)))


def shape_of(
    delta: np.ndarray, drawn: np.ndarray, suppressed_below: float, exaggerated_above: float
) -> list[Estimate]:
    """Skewness, median, spread and tail shares of the energy differences of the tested concepts.

    `delta` is (n_concepts,), `drawn` (n_concepts, n_resamples); `spread` is the interquartile range, a tail
    share the share of concepts beyond a threshold, whatever the evidence. No concept gives no estimate.
    """
    if len(delta) == 0:
        return []
    figures = {
        "skewness": lambda x: np.nan_to_num(stats.skew(x, axis=0)),
        "median": lambda x: np.median(x, axis=0),
        "spread": lambda x: np.subtract(*np.percentile(x, [75, 25], axis=0)),
        "share_suppressed": lambda x: (x < suppressed_below).mean(0),
        "share_exaggerated": lambda x: (x > exaggerated_above).mean(0),
    }
    found = [
        _estimate(name, float(figure(delta[:, None])[0]), figure(drawn)) for name, figure in figures.items()
    ]
    return [replace(e, low=max(e.low, 0.0), high=min(e.high, 1.0)) if "share" in e.name else e for e in found]


def correlation(a: np.ndarray, b: np.ndarray, drawn_a: np.ndarray, drawn_b: np.ndarray) -> list[Estimate]:
    """Pearson's r and Spearman's rho between two generators' energy differences over the same concepts.

    Shapes (n_concepts,) and (n_concepts, n_resamples), the resamples of both made of the same pairs. Below
    three concepts there is nothing to correlate.
    """
    if len(a) < 3:
        return []
    estimates = []
    for name, view in (("pearson", lambda x: x), ("spearman", lambda x: stats.rankdata(x, axis=0))):
        value = _columnwise(view(a[:, None]), view(b[:, None]))[0]
        estimates.append(_estimate(name, float(value), _columnwise(view(drawn_a), view(drawn_b))))
    return estimates


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Shared over all members of two sets of concepts, bool (n_concepts,); NaN where both are empty."""
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else float("nan")


def _columnwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of each column, 0 where one of them is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    return np.divide((a * b).sum(0), size, out=np.zeros_like(size, float), where=size > 0)


def _estimate(name: str, value: float, drawn: np.ndarray) -> Estimate:
    shift = value - float(np.mean(drawn))
    low, high = np.percentile(drawn, [2.5, 97.5]) + shift
    return Estimate(name, value, float(low), float(high))


@dataclass(frozen=True)
class Funnel:
    """Energy differences by prevalence, arrays of shape (n_bins,)."""

    prevalence_low: np.ndarray
    prevalence_high: np.ndarray
    n_concepts: np.ndarray
    median: np.ndarray  # of the energy difference
    null_low: np.ndarray  # between these lie 95% of the differences that noise alone makes
    null_high: np.ndarray


def funnel(delta: np.ndarray, null: np.ndarray, prevalence: np.ndarray, n_bins: int = 12) -> Funnel:
    """What sampling noise alone makes of rare and of frequent concepts.

    `delta` and `prevalence` are (n_concepts,), `null` is (n_concepts, n_splits) of the same concepts. Bins
    hold equally many concepts; NaN differences are left out.
    """
    known = ~np.isnan(delta)
    delta, null, prevalence = delta[known], null[known], prevalence[known]
    order = np.argsort(prevalence, kind="stable")
    bins = [part for part in np.array_split(order, min(n_bins, max(len(order), 1))) if len(part)]
    rows = [
        (
            prevalence[part].min(),
            prevalence[part].max(),
            len(part),
            np.median(delta[part]),
            *np.nanpercentile(null[part], [2.5, 97.5]),
        )
        for part in bins
    ]
    return (
        Funnel(*(np.array(column) for column in zip(*rows, strict=True)))
        if rows
        else Funnel(*[np.empty(0)] * 6)
    )
