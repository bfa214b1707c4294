"""Sign-flip test of paired differences: does generated minus real lie on one side of zero?

If the generator drew like reality, real and generated energy of a pair could be swapped, which flips the
sign of their difference d_i. The p-value is the share of sign patterns with |sum s_i d_i| >= |sum d_i|:
counted in full where few pairs differ, on random patterns where these resolve it, and by the saddlepoint
approximation of the same distribution in the far tail, which a thousand patterns cannot see and 32,000
concepts need.
"""

import numpy as np
from scipy import sparse
from scipy.special import ndtr

EXACT_UP_TO = 12  # differing pairs: 2,048 patterns up to the common sign
_RESOLVED = 20  # random patterns at least as extreme, from which the count is trusted
_TIE = 1e-6  # relative: equal sums may differ in the last bits
_NEWTON = 60


def stratified_flip_test(
    differences: sparse.csr_array, asked: sparse.csr_array, signs: np.ndarray
) -> np.ndarray:
    """`flip_test` over all pairs, those that ask for the concept, and the rest: three times the smallest p.

    `asked` is (n_concepts, n_pairs), 1 where a pair's caption asks for the concept; a concept that none asks
    for has one test and its plain p. Bonferroni's three holds however the tests depend on each other.
    """
    inside = sparse.csr_array(differences * asked)
    outside = sparse.csr_array(differences - inside)
    sums = [part @ signs for part in (inside, outside)]
    plain = flip_test(differences, signs, sums[0] + sums[1])
    parts = [flip_test(part, signs, drawn) for part, drawn in zip((inside, outside), sums, strict=True)]
    apart = np.diff(sparse.csr_array(asked).indptr) > 0
    return np.where(apart, np.minimum(3 * np.minimum.reduce([plain, *parts]), 1), plain)


def flip_test(
    differences: sparse.csr_array, signs: np.ndarray, drawn: np.ndarray | None = None
) -> np.ndarray:
    """Two-sided p-values, shape (n_concepts,), each in (0, 1].

    `differences` is (n_concepts, n_pairs), generated minus real; `signs` is (n_pairs, n_flips) of -1 and 1;
    `drawn` their product, where it is known. A concept whose pairs do not differ has p = 1.
    """
    differences = sparse.csr_array(differences, copy=True)
    differences.eliminate_zeros()
    drawn = differences @ signs if drawn is None else drawn
    n_differing = np.diff(differences.indptr)
    observed = np.abs(np.asarray(differences.sum(1)).ravel())
    scale = np.asarray(abs(differences).sum(1)).ravel()
    reached = np.abs(drawn) >= (observed - _TIE * scale)[:, None]
    count = reached.sum(1)
    p = (1 + count) / (1 + signs.shape[1])
    p[n_differing == 0] = 1.0
    few = (n_differing > 0) & (n_differing <= EXACT_UP_TO)
    for m in np.unique(n_differing[few]):
        rows = np.flatnonzero(n_differing == m)
        p[rows] = _exact(np.stack([_row(differences, row) for row in rows.tolist()]))
    far = np.flatnonzero((n_differing > EXACT_UP_TO) & (count < _RESOLVED))
    if len(far):
        p[far] = saddlepoint(sparse.csr_array(differences[far]))
    return p


def _row(matrix: sparse.csr_array, row: int) -> np.ndarray:
    return matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]


def _exact(differences: np.ndarray) -> np.ndarray:
    """p-values over all sign patterns of (n_rows, m) differences; the first sign may stay, by symmetry."""
    m = differences.shape[1]
    patterns = 1 - 2 * ((np.arange(2 ** (m - 1))[None, :] >> np.arange(m)[:, None]) & 1)
    differences = differences.astype(np.float64)
    sums = np.abs(differences @ patterns[::-1])
    observed, scale = np.abs(differences.sum(1)), np.abs(differences).sum(1)
    return (sums >= (observed - _TIE * scale)[:, None]).mean(1)


def saddlepoint(differences: sparse.csr_array) -> np.ndarray:
    """Two-sided tail of sum s_i d_i by Lugannani and Rice (1980), shape (n_rows,).

    K(t) = sum log cosh(t d_i) is its cumulant generating function; t solves K'(t) = |sum d_i|. Every row must
    have entries. No result lies below 2^(1 - m), which only one pattern and its mirror image can reach.
    """
    starts = differences.indptr[:-1]
    n_differing = np.diff(differences.indptr)
    row = np.repeat(np.arange(len(starts)), n_differing)

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts)

    largest = np.maximum.reduceat(np.abs(differences.data.astype(np.float64)), starts)
    d = np.abs(differences.data.astype(np.float64)) / largest[row]
    target = np.abs(total(differences.data.astype(np.float64))) / largest
    least = np.ldexp(2.0, -n_differing)
    t = np.zeros(len(starts))
    for _ in range(_NEWTON):  # K' is concave, so Newton climbs to the root from the left
        slope = np.tanh(t[row] * d)
        step = (target - total(d * slope)) / np.maximum(total(d**2 * (1 - slope**2)), 1e-300)
        t += np.clip(step, 0, 50)
        if (step < 1e-10 * (1 + t)).all():
            break
    hot = t[row] * d
    log_cosh = np.logaddexp(hot, -hot) - np.log(2)
    curvature = total(d**2 / np.cosh(np.minimum(hot, 300)) ** 2)
    w = np.sqrt(np.maximum(2 * (t * target - total(log_cosh)), 0))
    u = t * np.sqrt(curvature)
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = ndtr(-w) + np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * (1 / u - 1 / w)
    # At the centre w and u vanish together; at the very end of the range the curvature does.
    tail = np.where(w < 1e-3, 0.5, np.where(curvature > 1e-12, tail, 0))
    return np.clip(2 * tail, least, 1.0)
