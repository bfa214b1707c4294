"""Shares of images, with the interval that few images allow."""

from scipy.stats import binomtest


def wilson(n_hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The ends, 0 to 1, of Wilson's interval of a share `n_hits` of `n` (Wilson 1927).

    With p = n_hits / n and z the normal quantile of `level`:
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n). Of nothing it is 0 to 1.
    ValueError unless 0 <= n_hits <= n.
    """
    if not 0 <= n_hits <= n:
        raise ValueError(f"{n_hits} hits of {n} are no share; count hits among the n images looked at")
    if n == 0:
        return 0.0, 1.0
    found = binomtest(n_hits, n).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)
