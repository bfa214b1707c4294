"""Which concepts go together: on the same token (strength) and in the same image (lift)."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Cooccurrence:
    """Pairs of concepts a < b that share an image, parallel arrays of shape (n_pairs,)."""

    concept_a: np.ndarray
    concept_b: np.ndarray
    n_images: np.ndarray  # images in which both fire
    strength: np.ndarray  # sum over tokens of z_a z_b, mean over images, >= 0
    lift: np.ndarray  # P(a and b) / (P(a) P(b)), 1 when independent


def cooccurrence(codes: sparse.csr_array, image_of_token: np.ndarray, n_images: int) -> Cooccurrence:
    """Count pairs over one image set.

    `codes` is (n_tokens, n_concepts) >= 0, `image_of_token` (n_tokens,) the row 0..n_images-1 of the image
    that a token belongs to. `strength` is the un-centred token Gram `sum_t z z^T` over n_images.
    """
    n_tokens = codes.shape[0]
    owner = sparse.csr_array(
        (np.ones(n_tokens), (image_of_token, np.arange(n_tokens))), shape=(n_images, n_tokens)
    )
    present = sparse.csr_array(owner @ codes)
    present.data = np.ones_like(present.data)
    both = sparse.triu(present.T @ present, k=1, format="coo")
    gram = sparse.csr_array(codes.T @ codes)
    count = np.asarray(present.sum(0)).ravel()
    a, b = both.row.astype(np.int32), both.col.astype(np.int32)
    strength = np.asarray(gram[a, b]).ravel() / max(n_images, 1)
    return Cooccurrence(
        a, b, both.data.astype(np.int64), strength, both.data * n_images / (count[a] * count[b])
    )


def top_partners(pairs: Cooccurrence, top: int, least_images: int) -> np.ndarray:
    """Rows of `pairs` to keep: for each concept its `top` partners by strength, then lift, with support.

    Returns sorted row numbers, shape (n_kept,).
    """
    rows = np.flatnonzero(pairs.n_images >= least_images)
    both_ways = np.concatenate([rows, rows])
    concept = np.concatenate([pairs.concept_a[rows], pairs.concept_b[rows]])
    order = np.lexsort((-pairs.lift[both_ways], -pairs.strength[both_ways], concept))
    concept, both_ways = concept[order], both_ways[order]
    starts = np.r_[0, np.flatnonzero(np.diff(concept)) + 1] if len(concept) else np.empty(0, int)
    lengths = np.diff(np.r_[starts, len(concept)])
    rank = np.arange(len(concept)) - np.repeat(starts, lengths)
    return np.unique(both_ways[rank < top])
