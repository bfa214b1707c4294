"""Words for concepts, from the captions of the images in which they fire strongly."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

WORD = r"(?u)\b\w[\w'-]+\b"  # what counts as a word of a caption


@dataclass(frozen=True)
class Evidence:
    """The best terms of every concept, parallel arrays of shape (n_rows,), best first within a concept."""

    concept: np.ndarray
    term: np.ndarray  # column of the term
    z: np.ndarray  # standard score of the log-odds ratio, > 0


def over_represented(
    strong: sparse.csr_array, terms: sparse.csr_array, *, top: int, least_images: int, prior: float = 20.0
) -> Evidence:
    """Terms that captions of a concept's images use more often than captions in general.

    `strong` is (n_concepts, n_images), 1 where the concept is strong in the image; `terms` is
    (n_images, n_terms), 1 where the caption has the term. The score is the log-odds ratio with an
    informative Dirichlet prior of weight `prior` captions, over its standard error (Monroe, Colaresi and
    Quinn 2008, equations 16 and 22). Terms in fewer than `least_images` of the concept's captions do not
    count.
    """
    n_images = terms.shape[0]
    share = np.asarray(terms.sum(0)).ravel() / max(n_images, 1)
    counts = sparse.csr_array(strong @ terms)
    n_strong = np.asarray(strong.sum(1)).ravel()
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for concept in range(counts.shape[0]):
        row = slice(counts.indptr[concept], counts.indptr[concept + 1])
        term, inside = counts.indices[row], counts.data[row]
        keep = inside >= least_images
        term, inside = term[keep], inside[keep]
        pseudo = prior * share[term]
        rest = share[term] * n_images - inside
        n_in, n_out = n_strong[concept] + prior, n_images - n_strong[concept] + prior
        odds_in = (inside + pseudo) / np.maximum(n_in - inside - pseudo, 0.5)
        odds_out = (rest + pseudo) / np.maximum(n_out - rest - pseudo, 0.5)
        z = np.log(odds_in / odds_out) / np.sqrt(1 / (inside + pseudo) + 1 / (rest + pseudo))
        best = np.argsort(-z, kind="stable")[:top]
        best = best[z[best] > 0]
        found.append((np.full(len(best), concept, np.int32), term[best], z[best]))
    if not found:
        return Evidence(np.empty(0, np.int32), np.empty(0, int), np.empty(0))
    concepts, columns, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Evidence(concepts, columns, scores)
