"""How alike a real image and its generated twin are, seen through their concepts.

Energies are sparse matrices (n_pairs, n_concepts) >= 0, row i of both sides belonging to pair i.
"""

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


def concept_weights(*sides: sparse.csr_array) -> np.ndarray:
    """What one unit of energy of a concept counts for, shape (n_concepts,), >= 0; 0 where it never fires.

    `log((1 + n) / (1 + n_fires)) / e`, with n images, n_fires of them in which the concept fires and e its
    mean energy in those. The first factor (inverse document frequency) lets a concept count by how seldom
    it is: one that fires everywhere says nothing of an image. The second keeps concepts that cover many
    patches, such as backgrounds, from drowning those that cover few. Plain inverse mean energy would do both
    too, but grows without bound for a concept seen once; this grows with the logarithm of n.
    """
    n_images = sum(side.shape[0] for side in sides)
    n_fires = np.sum([np.bincount(side.indices[side.data > 0], minlength=side.shape[1]) for side in sides], 0)
    return weights_of_counts(n_images, n_fires, np.sum([np.ravel(side.sum(0)) for side in sides], 0))


def weights_of_counts(n_images: int | np.ndarray, n_fires: np.ndarray, total: np.ndarray) -> np.ndarray:
    """`concept_weights` from what is known of each concept, arrays (n_concepts,), without the energies.

    In how many of the n images it fires, and its energy summed over them.
    """
    rarity = np.log((1 + n_images) / (1 + n_fires))
    return np.divide(rarity * n_fires, total, out=np.zeros(len(rarity)), where=total > 0)


def distance(real: sparse.csr_array, gen: sparse.csr_array, weights: np.ndarray | None = None) -> np.ndarray:
    """Energy that does not match over all energy, shape (n_pairs,): 0 alike, 1 nothing in common.

    `sum_k w_k |xi_gen - xi_real| / sum_k w_k (xi_gen + xi_real)`: nothing cancels, and only concepts that
    fire in either image count. `weights` (n_concepts,), 1 where left out. Two empty images are alike.
    """
    weights = np.ones(real.shape[1]) if weights is None else weights
    apart, total = abs(gen - real) @ weights, (gen + real) @ weights
    return np.divide(apart, total, out=np.zeros_like(apart), where=total > 0)


def similarity(
    real: sparse.csr_array, gen: sparse.csr_array, weights: np.ndarray | None = None
) -> np.ndarray:
    """Cosine of the two energy vectors, shape (n_pairs,), 0 to 1; 0 where one of them is empty.

    `weights` (n_concepts,) scale the energies before, 1 where left out.
    """
    square = np.ones(real.shape[1]) if weights is None else weights**2
    dot = real.multiply(gen) @ square
    norms = np.sqrt((real.multiply(real) @ square) * (gen.multiply(gen) @ square))
    return np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)


def ranks(distances: np.ndarray) -> np.ndarray:
    """Place of every pair, shape (n_pairs,) int64: 1 the most different, n_pairs the most alike.

    Equal distances keep the order of the pairs, so that the places are distinct and the same every time.
    """
    places = np.empty(len(distances), np.int64)
    places[np.argsort(-distances, kind="stable")] = np.arange(1, len(distances) + 1)
    return places
