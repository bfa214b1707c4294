"""How alike a real image and its generated twin are, seen through their concepts."""

import numpy as np
from scipy import sparse
from scipy.special import expit


def paper_score(real: sparse.csr_array, gen: sparse.csr_array) -> np.ndarray:
    """Mean over concepts of sigmoid(xi_gen - xi_real), shape (n_pairs,), 0.5 where alike.

    The published score. It cancels: a pair that lost one concept and gained another looks alike.
    """
    difference = sparse.csr_array(gen - real)
    excess = difference.copy()
    excess.data = expit(difference.data) - 0.5
    return 0.5 + np.asarray(excess.sum(1)).ravel() / real.shape[1]


def distance(real: sparse.csr_array, gen: sparse.csr_array) -> np.ndarray:
    """Energy that does not match over all energy, shape (n_pairs,): 0 alike, 1 nothing in common."""
    apart = np.asarray(abs(gen - real).sum(1)).ravel()
    total = np.asarray((gen + real).sum(1)).ravel()
    return np.divide(apart, total, out=np.zeros_like(apart), where=total > 0)


def similarity(real: sparse.csr_array, gen: sparse.csr_array) -> np.ndarray:
    """Cosine of the two energy vectors, shape (n_pairs,), 0 to 1; 0 where one of them is empty."""
    dot = np.asarray((real * gen).sum(1)).ravel()
    norms = np.sqrt(np.asarray((real * real).sum(1)).ravel() * np.asarray((gen * gen).sum(1)).ravel())
    return np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)
