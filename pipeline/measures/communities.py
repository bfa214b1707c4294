"""Communities of concepts: which belong together by the company that they keep."""

import numpy as np
from scipy import sparse
from sknetwork.clustering import Louvain


def communities(
    concept_a: np.ndarray, concept_b: np.ndarray, weight: np.ndarray, n_concepts: int, *, seed: int = 0
) -> np.ndarray:
    """Community of every concept, (n_concepts,) int32: 0 is the largest, -1 where no pair holds the concept.

    Louvain's method (Blondel and others 2008) on the graph of the pairs with weights above 0; the same pairs
    and seed give the same communities. Of equally large ones that with the lowest id comes first.
    """
    linked = weight > 0
    ends = (concept_a[linked], concept_b[linked])
    community = np.full(n_concepts, -1, np.int32)
    if not linked.any():
        return community
    half = sparse.csr_matrix((weight[linked], ends), shape=(n_concepts, n_concepts), dtype=np.float64)
    found = Louvain(shuffle_nodes=True, random_state=seed).fit_predict(sparse.csr_matrix(half + half.T))
    members = np.unique(np.concatenate(ends))
    _, first, number, size = np.unique(
        found[members], return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(size), np.int32)
    rank[np.lexsort((first, -size))] = np.arange(len(size))
    community[members] = rank[number]
    return community
