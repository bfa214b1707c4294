"""Which captions ask for a concept, so that the test may look at them apart from the rest.

A concept that fails where it is asked for changes few pairs, and one that appears unasked changes others; the
noise of all the rest hides both.
"""

import numpy as np
from scipy import sparse

from pipeline.measures.naming import least_score, over_represented, strong_images


def asking_pairs(
    real: sparse.sparray,
    gen: sparse.sparray,
    terms: sparse.sparray,
    *,
    strong_share: float = 0.25,
    least_images: int = 5,
    level: float = 0.05,
) -> sparse.csr_array:
    """Pairs whose caption has the word that tells most of a concept, (n_pairs, n_concepts) of 0 and 1.

    `real` and `gen` are the energies of the same pairs, (n_pairs, n_concepts) >= 0; `terms` (n_pairs,
    n_terms) is 1 where a caption has a term. The word is sought where both sides together are strong: it
    would be the same if real and generated images changed places, so choosing it makes no difference between
    them. A concept without a telling word, one that beats the best of all terms by chance with probability
    `level`, has no pair.
    """
    both = sparse.csr_array(real + gen)
    strong = strong_images(both, strong_share, least_images)
    found = over_represented(strong, sparse.csr_array(terms), top=1, least_images=least_images)
    found = found[found.z >= least_score(terms.shape[1], level)]
    place = (found.term, found.concept)
    chosen = sparse.csr_array((np.ones(len(found.term)), place), shape=(terms.shape[1], both.shape[1]))
    return sparse.csr_array(sparse.csr_array(terms) @ chosen)
