"""Which concepts go together in one image set: on the same token (strength), in the same image (correlation).

Both are products of a sparse matrix with its own transpose. They are made for a block of concepts at a time,
of which each concept's best partners are kept and the rest is dropped: no (n_concepts, n_concepts) matrix is
ever there. Blocks run on all cores.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse

BLOCK = 128  # concepts at a time: what is made of them and dropped again stays small


@dataclass(frozen=True)
class ImageSet:
    """The codes of one image set, by token and by image."""

    codes: sparse.csr_array  # (n_tokens, n_concepts) >= 0
    presence: sparse.csr_array  # (n_images, n_concepts), 1 where a concept fires on any token

    @property
    def n_images(self) -> int:
        return self.presence.shape[0]

    @property
    def n_concepts(self) -> int:
        return self.presence.shape[1]

    def n_fired(self) -> np.ndarray:
        """Images in which each concept fires, (n_concepts,) int64."""
        return np.bincount(self.presence.indices, minlength=self.n_concepts)


@dataclass(frozen=True)
class Cooccurrence:
    """Pairs of concepts a < b, sorted by (a, b), parallel arrays of shape (n_pairs,)."""

    concept_a: np.ndarray  # int32
    concept_b: np.ndarray
    n_images: np.ndarray  # images in which both fire, int64
    n_a: np.ndarray  # images in which each of them fires, int64
    n_b: np.ndarray
    strength: np.ndarray  # sum over tokens of z_a z_b, mean over images, >= 0
    lift: np.ndarray  # P(a and b) / (P(a) P(b)), 1 when independent, 0 when never together
    correlation: np.ndarray  # of the two presences over images (phi), -1 to 1, 0 when independent
    top: np.ndarray  # bool: among the best partners of a or of b


def image_set(codes: sparse.csr_array, image_of_token: np.ndarray, n_images: int) -> ImageSet:
    """Codes (n_tokens, n_concepts) with the row 0..n_images-1 of the image that each token belongs to."""
    codes = sparse.csr_array(codes)
    codes.eliminate_zeros()
    if not np.isfinite(codes.data).all() or (codes.data < 0).any():
        raise ValueError("codes must be numbers >= 0; a negative or missing one means that the SAE is wrong")
    row = np.repeat(image_of_token, np.diff(codes.indptr))
    keys = np.unique(row.astype(np.int64) * codes.shape[1] + codes.indices)
    image, concept = np.divmod(keys, max(codes.shape[1], 1))
    presence = sparse.csr_array((np.ones(len(keys)), (image, concept)), shape=(n_images, codes.shape[1]))
    return ImageSet(codes, presence)


def cooccurrence(
    images: ImageSet,
    top: int,
    least_images: int = 1,
    also: tuple[np.ndarray, np.ndarray] | None = None,
) -> Cooccurrence:
    """Each concept's `top` partners by strength and by correlation, and the pairs `also` asked for.

    `strength` is the un-centred token Gram `sum_t z z^T` over n_images. A partner must share at least
    `least_images` images; one by strength must share a token, one by correlation must do so more often than
    chance. Of equal partners those with the lowest ids are kept. `also` is two arrays of concept ids, a < b;
    these pairs are counted whatever they share, and have `top` False where they are not among the best.
    """
    asked = _keys(*also, images.n_concepts) if also else np.empty(0, np.int64)
    by_concept = (
        sparse.csr_array(images.codes.T, dtype=np.float64),
        sparse.csr_array(images.presence.T, dtype=np.float64),
    )
    codes = images.codes.astype(np.float64)
    n_fired = images.n_fired()

    def work(start: int) -> tuple[np.ndarray, ...]:
        rows = slice(start, min(start + BLOCK, images.n_concepts))
        gram = sparse.csr_array(by_concept[0][rows] @ codes)
        both = sparse.csr_array(by_concept[1][rows] @ images.presence)
        edges = np.searchsorted(asked, np.array([rows.start, rows.stop]) * images.n_concepts)
        return _block(rows.start, gram, both, asked[slice(*edges)], images, n_fired, top, least_images)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(work, range(0, images.n_concepts, BLOCK)))
    columns = [np.concatenate(part) for part in zip(*parts, strict=True)] if parts else [np.empty(0)] * 4
    return _assembled(images, n_fired, *columns)


def _keys(a: np.ndarray, b: np.ndarray, n_concepts: int) -> np.ndarray:
    """Pairs as one sorted number each, every one once."""
    if (a >= b).any():
        raise ValueError("a pair of concepts is written with the smaller id first, and holds two concepts")
    return np.unique(a.astype(np.int64) * n_concepts + b)


def _block(
    start: int,
    gram: sparse.csr_array,
    both: sparse.csr_array,
    asked: np.ndarray,
    images: ImageSet,
    n_fired: np.ndarray,
    top: int,
    least_images: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Keys, n_images, strength sum and `top` of the pairs that a block of concepts brings."""
    n_concepts = images.n_concepts
    shared, strength = np.zeros(n_concepts), np.zeros(n_concepts)  # of one concept with all others
    out: list[tuple[np.ndarray, ...]] = []
    wanted = np.searchsorted(asked, (start + np.arange(gram.shape[0] + 1)) * n_concepts)
    for row in range(gram.shape[0]):
        concept = start + row
        on_token, in_image = _row(gram, row), _row(both, row)
        strength[on_token[0]], shared[in_image[0]] = on_token[1], in_image[1]
        partners = in_image[0][(in_image[1] >= least_images) & (in_image[0] != concept)]
        excess = shared[partners] - n_fired[concept] * n_fired[partners] / max(images.n_images, 1)
        spread = n_fired[partners] * (1 - n_fired[partners] / max(images.n_images, 1))
        likeness = np.divide(excess, np.sqrt(spread), out=np.zeros(len(partners)), where=spread > 0)
        best = np.union1d(
            partners[_largest(strength[partners], partners, top)],
            partners[_largest(likeness, partners, top)],
        )
        others = asked[wanted[row] : wanted[row + 1]] - concept * n_concepts
        ids = np.concatenate([best, others]).astype(np.int64)
        keys = np.minimum(ids, concept) * n_concepts + np.maximum(ids, concept)
        out.append((keys, shared[ids], strength[ids], np.arange(len(ids)) < len(best)))
        strength[on_token[0]], shared[in_image[0]] = 0, 0
    keys, n_images, total, is_top = (np.concatenate(part) for part in zip(*out, strict=True))
    return keys, n_images, total, is_top


def _row(matrix: sparse.csr_array, row: int) -> tuple[np.ndarray, np.ndarray]:
    part = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[part], matrix.data[part]


def _largest(values: np.ndarray, ids: np.ndarray, top: int) -> np.ndarray:
    """Places of the `top` largest values above 0; among equals those with the smallest ids."""
    places = np.flatnonzero(values > 1e-12)
    if len(places) <= top:
        return places
    if top == 0:
        return places[:0]
    edge = np.partition(values[places], len(places) - top)[len(places) - top]
    sure, equal = places[values[places] > edge], places[values[places] == edge]
    return np.concatenate([sure, equal[np.argsort(ids[equal])[: top - len(sure)]]])


def _assembled(
    images: ImageSet,
    n_fired: np.ndarray,
    keys: np.ndarray,
    shared: np.ndarray,
    strength: np.ndarray,
    is_top: np.ndarray,
) -> Cooccurrence:
    """Every pair once, with what follows from its counts."""
    order = np.lexsort((~is_top.astype(bool), keys))
    order = order[np.r_[True, np.diff(keys[order]) != 0]] if len(keys) else order.astype(int)
    a, b = np.divmod(keys[order].astype(np.int64), max(images.n_concepts, 1))
    n = max(images.n_images, 1)
    n_a, n_b, both = n_fired[a].astype(float), n_fired[b].astype(float), shared[order]
    chance = n_a * n_b / n
    spread = np.sqrt(n_a * (1 - n_a / n) * n_b * (1 - n_b / n))
    return Cooccurrence(
        concept_a=a.astype(np.int32),
        concept_b=b.astype(np.int32),
        n_images=both.astype(np.int64),
        n_a=n_fired[a].astype(np.int64),
        n_b=n_fired[b].astype(np.int64),
        strength=strength[order] / n,
        lift=np.divide(both, chance, out=np.zeros(len(both)), where=chance > 0),
        correlation=np.divide(both - chance, spread, out=np.zeros(len(both)), where=spread > 0),
        top=is_top[order].astype(bool),
    )
