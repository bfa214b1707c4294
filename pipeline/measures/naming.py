"""Words for concepts, from the captions of the images in which they fire strongly."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.stats import norm

_BLOCK = 2048  # concepts at a time, which bounds the memory of their counts
_CANDIDATES = 6  # terms looked at for every term kept
_SAME_SUPPORT = 0.8  # a phrase takes the place of its word where it is said in so many of its captions
_CHARACTERS = 3  # longest term in scripts that write no spaces

# Vowel signs and joiners belong to words, though `\w` does not know them.
_MARKS = "".join(chr(c) for c in range(0x10000) if unicodedata.category(chr(c)) in ("Mn", "Mc"))
_LETTER = rf"[\w\u200c\u200d{_MARKS}]"
_WORD = re.compile(rf"{_LETTER}+(?:['’-]{_LETTER}+)*")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_SPACELESS = rf"[{_HAN}\u3041-\u309f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
_PIECE = re.compile(rf"(?P<characters>(?:{_SPACELESS}[{_MARKS}]*)+)|(?:(?!{_SPACELESS}).)+")
_CHARACTER = re.compile(rf"{_SPACELESS}[{_MARKS}]*")
_ONE_HAN = re.compile(rf"[{_HAN}]")


@dataclass(frozen=True)
class Evidence:
    """The best terms of every concept, parallel arrays of shape (n_rows,), best first within a concept."""

    concept: np.ndarray
    term: np.ndarray  # column of the term
    z: np.ndarray  # standard score of the log-odds ratio, > 0
    n_images: np.ndarray  # strong images of the concept whose captions have the term

    def __getitem__(self, rows: np.ndarray) -> "Evidence":
        return Evidence(self.concept[rows], self.term[rows], self.z[rows], self.n_images[rows])


def _runs(text: str) -> list[tuple[str, list[str]]]:
    """Unbroken runs of words, joined by a space, or of characters of a script without spaces, by nothing."""
    runs: list[tuple[str, list[str]]] = []
    end = 0
    plain = unicodedata.normalize("NFKC", text).lower()
    for word in _WORD.finditer(plain):
        joined = bool(runs) and plain[end : word.start()].isspace()
        end = word.end()
        for piece in _PIECE.finditer(word.group()):
            characters = piece["characters"]
            parts = _CHARACTER.findall(characters) if characters else [piece.group()]
            glue = "" if characters else " "
            if glue and joined and runs[-1][0] == glue:
                runs[-1][1].extend(parts)
            else:
                runs.append((glue, parts))
            joined = False
    return runs


def caption_terms(caption: str, longest: int) -> list[str]:
    """Terms of a caption: 1 to `longest` words in a row, within punctuation, in lower case.

    Chinese, Japanese kana, Thai, Lao, Khmer and Burmese are written without spaces; their terms are 2 to 3
    characters in a row, and single Chinese characters. One letter of another script is no term by itself.
    """
    terms = []
    for glue, parts in _runs(caption):
        for n in range(1, (longest if glue else _CHARACTERS) + 1):
            for start in range(len(parts) - n + 1):
                term = glue.join(parts[start : start + n])
                if len(term) > 1 or _ONE_HAN.match(term):
                    terms.append(term)
    return terms


def mentions(captions: Sequence[str], terms: Sequence[str]) -> sparse.csr_array:
    """Which caption has which term, (n_captions, n_terms) of 0 and 1. Terms are distinct, in any case."""
    wanted = [" ".join(glue.join(parts) for glue, parts in _runs(term)) for term in terms]
    columns: dict[str, list[int]] = {}
    for column, term in enumerate(wanted):
        columns.setdefault(term, []).append(column)
    longest = max((len(term.split()) for term in wanted), default=1)
    found = [
        (row, column)
        for row, caption in enumerate(captions)
        for term in set(caption_terms(caption, longest))
        for column in columns.get(term, ())
    ]
    rows, places = np.array(found, int).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(rows)), (rows, places)), shape=(len(captions), len(terms)))


def count_terms(
    captions: Sequence[str], *, longest: int, least_images: int
) -> tuple[sparse.csr_array, np.ndarray]:
    """Terms that could name something: which caption has them, (n_captions, n_terms), and the terms.

    Left out are terms in fewer than `least_images` captions, or with an English stop word in them.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    counter = CountVectorizer(analyzer=lambda caption: caption_terms(caption, longest), binary=True)
    try:
        counts = sparse.csc_array(counter.fit_transform(captions), dtype=np.float64)
    except ValueError:  # scikit-learn's word for captions without any term
        return sparse.csr_array((len(captions), 0)), np.empty(0, object)
    terms = counter.get_feature_names_out().astype(object)
    # Only now: a stop word taken out before would make neighbours of the words around it.
    telling = np.array([ENGLISH_STOP_WORDS.isdisjoint(term.split()) for term in terms])
    telling &= np.diff(counts.indptr) >= least_images
    return sparse.csr_array(counts[:, telling]), terms[telling]


def strong_images(energies: sparse.sparray, share: float, least: int) -> sparse.csr_array:
    """(n_concepts, n_images), 1 in the `share` of a concept's images that have most of its energy.

    `energies` is (n_images, n_concepts). At least `least` images are taken, or all in which it fires.
    """
    by_concept = sparse.csc_array(energies)
    by_concept.eliminate_zeros()
    by_concept.sort_indices()
    n_fired = np.diff(by_concept.indptr)
    wanted = np.maximum(np.round(share * n_fired), np.minimum(n_fired, least)).astype(int)
    keep = np.ones(by_concept.nnz, bool)
    for concept in np.flatnonzero(wanted < n_fired).tolist():
        run = slice(by_concept.indptr[concept], by_concept.indptr[concept + 1])
        keep[run] = _largest(by_concept.data[run], wanted[concept])
    concepts = np.repeat(np.arange(by_concept.shape[1]), n_fired)
    place = (concepts[keep], by_concept.indices[keep])
    return sparse.csr_array((np.ones(len(place[0])), place), shape=by_concept.shape[::-1])


def _largest(values: np.ndarray, n: int) -> np.ndarray:
    """Which are the n > 0 largest, bool; of equal ones the first. A partition, for a sort costs tenfold."""
    cut = np.partition(values, len(values) - n)[len(values) - n]
    chosen = values > cut
    chosen[np.flatnonzero(values == cut)[: n - np.count_nonzero(chosen)]] = True
    return chosen


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
    n_strong = np.asarray(strong.sum(1)).ravel()
    found = [Evidence(np.empty(0, int), np.empty(0, int), np.empty(0), np.empty(0, int))]
    for start in range(0, strong.shape[0], _BLOCK):
        counts = sparse.coo_array(strong[start : start + _BLOCK] @ terms)
        keep = counts.data >= least_images
        concept, term, inside = counts.row[keep] + start, counts.col[keep], counts.data[keep]
        pseudo = prior * share[term]
        rest = share[term] * n_images - inside
        n_in, n_out = n_strong[concept] + prior, n_images - n_strong[concept] + prior
        odds_in = (inside + pseudo) / np.maximum(n_in - inside - pseudo, 0.5)
        odds_out = (rest + pseudo) / np.maximum(n_out - rest - pseudo, 0.5)
        z = np.log(odds_in / odds_out) / np.sqrt(1 / (inside + pseudo) + 1 / (rest + pseudo))
        rows = np.flatnonzero(z > 0)
        rows = rows[np.lexsort((term[rows], -z[rows], concept[rows]))]
        rows = rows[_rank(concept[rows]) < top]
        found.append(Evidence(concept[rows], term[rows], z[rows], inside[rows].astype(int)))
    return Evidence(*(np.concatenate([getattr(part, name) for part in found]) for name in vars(found[0])))


def _rank(sorted_ids: np.ndarray) -> np.ndarray:
    """Place of every row among those of its id, from 0; equal ids stand together."""
    starts = np.flatnonzero(np.diff(sorted_ids, prepend=-1))
    lengths = np.diff(np.append(starts, len(sorted_ids)))
    return np.arange(len(sorted_ids)) - np.repeat(starts, lengths)


def say_once(found: Evidence, terms: Sequence[str] | np.ndarray, top: int) -> Evidence:
    """Of each concept's terms the first `top` that say something new.

    A term is skipped where it holds, or is held by, a better one: "red star" after "red". A phrase takes the
    place of its word where it is said in at least 80% of the captions that have the word, and its other words
    are evidence too: "bird feeder" of "feeder".
    """
    units = _units(terms)
    # Of terms in the same captions the shortest comes first.
    found = found[np.lexsort(((units[found.term] >= 0).sum(1), -found.z, found.concept))]
    concepts, row_of = np.unique(found.concept, return_inverse=True)
    rank = _rank(found.concept)
    candidates = np.full((len(concepts), int(rank.max(initial=-1)) + 1), -1)
    candidates[row_of, rank] = np.arange(len(rank))
    phrase = _is_phrase(found, terms, units)
    kept = np.full((len(concepts), top), -1)
    for candidate in candidates.T:
        fresh = candidate >= 0
        for slot in kept.T:
            both = fresh & (slot >= 0)
            here, there = units[found.term[candidate]], units[found.term[slot]]
            longer, shorter = both & _holds(here, there), both & _holds(there, here)
            fresh &= ~(longer | shorter)
            often = found.n_images[candidate] >= _SAME_SUPPORT * found.n_images[slot]
            slot[:] = np.where(longer & often & phrase[candidate], candidate, slot)
        rows = np.flatnonzero(fresh & (kept[:, -1] < 0))
        kept[rows, (kept[rows] >= 0).sum(1)] = candidate[rows]
    return found[kept[kept >= 0]]


def _is_phrase(found: Evidence, terms: Sequence[str] | np.ndarray, units: np.ndarray) -> np.ndarray:
    """Which rows hold nothing but words that are evidence for the concept by themselves, (n_rows,).

    So "picture purple" is none where all captions begin with "picture". Characters need no evidence.
    """
    mine = units[found.term]
    word = (mine >= 0).sum(1) == 1
    n_units = units.max(initial=0) + 1
    known = found.concept[word] * n_units + mine[word, 0]
    told = np.isin(found.concept[:, None] * n_units + mine, known) | (mine < 0)
    spaceless = np.array([" " not in terms[term] for term in found.term], bool)
    return told.all(1) | spaceless


def _units(terms: Sequence[str] | np.ndarray) -> np.ndarray:
    """Words, or characters, of every term as numbers: (n_terms, longest), filled up with -1."""
    number: dict[str, int] = {}
    parts = [
        [number.setdefault(part, len(number)) for _, run in _runs(term) for part in run] for term in terms
    ]
    units = np.full((len(parts), max(map(len, parts), default=1)), -1)
    for row, ids in enumerate(parts):
        units[row, : len(ids)] = ids
    return units


def _holds(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether all units of b[i] are among those of a[i], (n_rows,)."""
    return ((b[:, :, None] == a[:, None, :]).any(2) | (b < 0)).all(1)


def evidence_words(
    energies: sparse.sparray,
    captions: Sequence[str],
    *,
    strong_share: float,
    least_strong: int,
    least_images: int,
    longest: int,
    n_words: int,
    level: float,
) -> tuple[Evidence, np.ndarray]:
    """Words of every concept with the evidence for them, and the terms that their columns stand for.

    `energies` is (n_images, n_concepts), one caption per image. The parts, in this order: `count_terms`,
    `strong_images`, `over_represented`, and `say_once` among the terms with at least the `least_score`.
    """
    terms, vocabulary = count_terms(captions, longest=longest, least_images=least_images)
    strong = strong_images(energies, strong_share, least_strong)
    found = over_represented(strong, terms, top=_CANDIDATES * n_words, least_images=least_images)
    return say_once(found[found.z >= least_score(len(vocabulary), level)], vocabulary, n_words), vocabulary


def least_score(n_tried: int, level: float) -> float:
    """The standard score that the best of `n_tried` reaches by chance with probability `level` at most."""
    return float(norm.isf(level / max(n_tried, 1)))


def phrase_scores(images: np.ndarray, phrases: np.ndarray, top: sparse.csr_array) -> np.ndarray:
    """How much better a phrase fits a concept's images than images in general, (n_concepts, n_phrases).

    `images` (n_images, d) and `phrases` (n_phrases, d) are unit vectors of an image and a text tower; `top`
    (n_concepts, n_images) is 1 at the concept's images. The score is the mean cosine over these n images less
    that over all images, over its standard error, the standard deviation over all images by the root of n:
    about standard normal by chance. A concept without images has 0.
    """
    cosine = images @ phrases.T
    spread = np.maximum(cosine.std(0), 1e-12)
    standard = (cosine - cosine.mean(0)) / spread
    n_top = np.asarray(top.sum(1)).ravel()
    return np.asarray(top @ standard) / np.sqrt(np.maximum(n_top, 1))[:, None]
