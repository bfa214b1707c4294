"""Near-duplicate concepts: atoms that say the same, so that a split concept is not reported twice.

A dictionary may hold a concept in two atoms, of which real images fire one and generated images the other:
a false pair of blindspots. Energies of a group are the sums over its members.
"""

import numpy as np
from scipy import sparse


def near_duplicates(
    neighbours: np.ndarray,
    cosines: np.ndarray,
    energies: sparse.sparray,
    *,
    least_cosine: float = 0.7,
    same_cosine: float = 0.9,
    least_overlap: float = 0.5,
) -> np.ndarray:
    """Group of every concept, shape (n_concepts,): the id of the group's leader, itself where it is alone.

    `neighbours` and `cosines` (n_concepts, n_neighbours) are the nearest atoms; `energies` (n_images,
    n_concepts). Two atoms say the same from a cosine of `same_cosine` on, or from `least_cosine` on if the
    images they fire in overlap: shared over all images of either, at least `least_overlap`. Concepts join the
    first leader that they match, from the most to the least frequent; so groups do not grow by chains.
    """
    fires = sparse.csc_array(energies)
    fires.eliminate_zeros()
    frequency = np.diff(fires.indptr)
    n_concepts = len(frequency)
    group = np.full(n_concepts, -1)
    partners: list[list[tuple[int, float]]] = [[] for _ in range(n_concepts)]
    for a, rank in zip(*np.nonzero(cosines >= least_cosine), strict=True):
        b, cosine = int(neighbours[a, rank]), float(cosines[a, rank])
        partners[a].append((b, cosine))
        partners[b].append((int(a), cosine))
    for concept in np.argsort(-frequency, kind="stable").tolist():
        if group[concept] >= 0:
            continue
        group[concept] = concept
        for other, cosine in partners[concept]:
            if group[other] < 0 and (
                cosine >= same_cosine or _overlap(fires, concept, other) >= least_overlap
            ):
                group[other] = concept
    return group.astype(np.int32)


def _overlap(fires: sparse.csc_array, a: int, b: int) -> float:
    """Jaccard index of the images that two concepts fire in, 0 where neither fires."""
    of_a, of_b = (fires.indices[fires.indptr[k] : fires.indptr[k + 1]] for k in (a, b))
    shared = len(np.intersect1d(of_a, of_b, assume_unique=True))
    either = len(of_a) + len(of_b) - shared
    return shared / either if either else 0.0


def grouped(energies: sparse.sparray, group: np.ndarray) -> sparse.csr_array:
    """Energies (n_pairs, n_concepts) summed into the columns of their groups' leaders, same shape."""
    n_concepts = len(group)
    into = sparse.csr_array((np.ones(n_concepts), (np.arange(n_concepts), group)), shape=(n_concepts,) * 2)
    return sparse.csr_array(sparse.csr_array(energies) @ into)
