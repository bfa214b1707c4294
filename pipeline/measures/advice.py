"""What would help a concept that a generator draws too little or too much: samples, captions, or neither."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

Advice = Literal["rarely seen", "badly captioned", "not drawn", "drawn unasked", "overdrawn"]


@dataclass(frozen=True)
class Mentions:
    """Strong images of each concept, and how many of their captions mention it; arrays (n_concepts,)."""

    n_strong: np.ndarray
    n_mentioned: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Mentioned over strong, 0 to 1; 0 for a concept that never fires."""
        return self.n_mentioned / np.maximum(self.n_strong, 1)


def count_mentions(strong: sparse.csr_array, mentioned: sparse.csr_array) -> Mentions:
    """`strong` (n_concepts, n_pairs) is 1 at a concept's strong images; `mentioned` (n_pairs, n_concepts) is
    1 where the caption says one of its words."""
    both = strong.multiply(sparse.csr_array(mentioned.T))
    return Mentions(*(np.asarray(part.sum(1)).ravel().astype(int) for part in (strong, both)))


def advise(
    suppressed: np.ndarray,
    prevalence: np.ndarray,
    mentioned: np.ndarray,
    *,
    rare_below: float,
    mentioned_below: float,
) -> list[Advice]:
    """Advice per concept, from arrays (n_concepts,).

    `suppressed` says which of the two it is; `prevalence` is the share of real images in which it fires;
    `mentioned` the share of its strong images whose captions mention it, real ones of a suppressed concept
    and generated ones of an exaggerated. A suppressed concept below `rare_below` is rarely seen and needs
    samples; else below `mentioned_below` badly captioned; else it is seen and captioned but not drawn.
    An exaggerated one is drawn unasked below `mentioned_below`, and otherwise asked for and overdrawn.
    """
    silent = mentioned < mentioned_below
    chosen = np.select(
        [suppressed & (prevalence < rare_below), suppressed & silent, suppressed, silent],
        ["rarely seen", "badly captioned", "not drawn", "drawn unasked"],
        "overdrawn",
    )
    return chosen.tolist()


def widest(excess: sparse.csc_array, prefer: sparse.csc_array, top: int) -> list[np.ndarray]:
    """For every concept the rows with the largest positive `excess`, at most `top`, the largest first.

    Both (n_pairs, n_concepts); where `prefer` is not zero a row comes before all others.
    """
    found = []
    for concept in range(excess.shape[1]):
        run = slice(excess.indptr[concept], excess.indptr[concept + 1])
        rows, values = excess.indices[run], excess.data[run]
        rows, values = rows[values > 0], values[values > 0]
        liked = prefer.indices[prefer.indptr[concept] : prefer.indptr[concept + 1]]
        order = np.lexsort((rows, -values, ~np.isin(rows, liked)))
        found.append(rows[order][:top])
    return found
