"""Is a generated image more like a real one than chance explains?

Every generated image is held against its twin and against its nearest real images of the whole real set, by
concepts (weighted energies) and by the backbone's CLS token. Three views say how alike two images are: cosine
of energies, cosine of tokens, correlation of edges (`pixels.py`). Each is put on Fisher's scale (artanh),
where chance is nearly normal, and in units of the null; their mean is the closeness, and a pair's closeness
is that of its best candidate, with low diversity across seeds as a fourth view where there are several.

The null. Matched: a real and a generated image of one caption, which are alike because of the caption. All
pairs of the generator are such pairs, less those with a real image that passes for the same picture. Chance
makes a per cent or two of them look so, whose absence hardly moves quartiles; so median and spread come from
these, and the wider half counts. Where more than half of the pairs pass, those that are left may be special:
there the null is mismatched, made of candidates with another caption that do not pass. The p-value is the
upper tail of the normal distribution, one for each pair.

Beyond that null a pair is `memorised` where the pictures are the same too, by an absolute bar on the
correlation of their edges, and a `template` where only the layout is. Else it is `faithful` where the twin is
more like the generated image than real images of other captions are, and `different` where it is not.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import ndtr, ndtri

from pipeline.measures import pixels
from pipeline.measures.neighbours import cosines, nearest, unit_rows

VERDICTS = ("memorised", "template", "faithful", "different")
MATCHED, MISMATCHED = "matched", "mismatched"
_CLOSEST = 0.9999  # correlation beyond which two images are one; keeps artanh finite
_COMMON_COPIES = 0.5  # share of pairs above which matched pairs are no null
_NARROWEST = 1e-3  # spread on Fisher's scale that no measurement is finer than
_N_VIEWS = 3
_FEWEST = 20  # values below which a null says nothing
_PANEL = 200  # real images of other captions that a twin is held against


@dataclass(frozen=True)
class Images:
    """Images of one side, row i of everything belonging to image i."""

    energies: sparse.csr_array  # (n, n_concepts) >= 0, weighted
    tokens: np.ndarray  # (n, d_model), CLS tokens
    thumbnails: np.ndarray  # (n, 32, 32, 3) uint8
    decoded: np.ndarray  # (n,) bool: whether there is a thumbnail


@dataclass(frozen=True)
class Bars:
    """Where verdicts begin."""

    n_neighbours: int = 5  # nearest real images kept, of each kind of vector
    same_picture: float = 0.8  # correlation of edges: two thirds of what varies is shared
    same_layout: float = 0.7  # correlation of 8 x 8 colours, likewise
    level: float = 0.05  # of q, and of the p-value of the mismatched twin
    seed: int = 0  # of the panel and of the projection of energies


@dataclass(frozen=True)
class Memorisation:
    """What is known of every pair, arrays of shape (n_pairs,). NaN where it cannot be told."""

    image: np.ndarray  # int64: row of the pair's generated image that is most like a real one
    nearest: np.ndarray  # int64: row of that real image
    energy_similarity: np.ndarray  # cosine of the two, 0 to 1
    token_similarity: np.ndarray  # -1 to 1
    edge_similarity: np.ndarray  # -1 to 1; NaN where one of them cannot be decoded
    layout_similarity: np.ndarray
    seed_similarity: np.ndarray  # mean cosine of tokens over the pair's images, NaN for one image
    score: np.ndarray  # standard score against the null, positive: more alike
    p: np.ndarray  # of a score this high by chance; NaN where the null is too thin
    q: np.ndarray  # Benjamini-Hochberg over the pairs
    mismatched_p: np.ndarray  # of a twin this close among real images of other captions
    null: str  # MATCHED or MISMATCHED


def memorisation(real: Images, gen: Images, twin: np.ndarray, bars: Bars | None = None) -> Memorisation:
    """Judge every pair that has a generated image.

    `twin` (n_gen,) is the row of each generated image's real image; images with the same twin are a pair's
    seeds, and pairs come in the order of np.unique(twin). Raises ValueError where there is no pair.
    """
    bars = bars or Bars()
    if not len(twin):
        raise ValueError("there is no pair of a real and a generated image to judge; give at least one")
    pair = np.unique(twin, return_inverse=True)[1]
    vectors = [
        (unit_rows(real.energies), unit_rows(gen.energies)),
        (unit_rows(real.tokens), unit_rows(gen.tokens)),
    ]
    found = [nearest(mine, theirs, bars.n_neighbours, bars.seed) for theirs, mine in vectors]
    chosen = np.column_stack([twin, *found])
    edge = edge_similarity(real, gen, chosen)
    views = [*(cosines(mine, theirs, chosen) for theirs, mine in vectors), edge]

    copied = np.bincount(pair, (edge >= bars.same_picture).any(1)) > 0
    null = MISMATCHED if copied.mean() > _COMMON_COPIES else MATCHED
    chance = np.zeros(chosen.shape, bool)  # the candidates that the null is made of
    if null == MATCHED:
        chance[:, 0] = ~copied[pair]
    else:
        chance = (chosen != twin[:, None]) & ~(edge >= bars.same_picture)
    scales = [Scale.of(fisher(view)[chance]) for view in views]
    closeness = _mean([scale.of_value(fisher(view)) for scale, view in zip(scales, views, strict=True)])

    image, column = _closest(closeness, pair)
    diversity = seed_similarity(vectors[1][1], pair)
    if null == MATCHED:
        highest = _with_diversity(closeness[image, column], diversity)
        score = Scale.of(highest[~copied]).of_value(highest)
    else:
        chance_closeness = np.where(chance, closeness, -np.inf)
        other = chance_closeness[_closest(chance_closeness, pair)]
        score = Scale.of(other[np.isfinite(other)]).of_value(closeness[image, column])
    real_row = chosen[image, column]
    p = ndtr(-score)
    result = Memorisation(
        image=image,
        nearest=real_row,
        energy_similarity=views[0][image, column],
        token_similarity=views[1][image, column],
        edge_similarity=edge[image, column],
        layout_similarity=_layout_similarity(real, gen, image, real_row),
        seed_similarity=diversity,
        score=score,
        p=p,
        q=_benjamini_hochberg(p),
        mismatched_p=_mismatched_p(vectors, twin, scales, bars.seed)[image],
        null=null,
    )
    return result


def verdicts(found: Memorisation, bars: Bars | None = None) -> list[str | None]:
    """One of VERDICTS for every pair; None where the null is too thin, or pixels are missing and matter."""
    bars = bars or Bars()
    out: list[str | None] = []
    for q, edge, layout, p in zip(
        found.q, found.edge_similarity, found.layout_similarity, found.mismatched_p, strict=True
    ):
        if np.isnan(q) or np.isnan(p) or (q < bars.level and np.isnan(edge)):
            out.append(None)
        elif q < bars.level and edge >= bars.same_picture:
            out.append("memorised")
        elif q < bars.level and layout >= bars.same_layout:
            out.append("template")
        else:
            out.append("faithful" if p < bars.level else "different")
    return out


def real_duplicates(real: Images, same: float = 0.9, n_neighbours: int = 5) -> np.ndarray:
    """Number of other real images that are the same picture, (n_real,) int64.

    Two images are one picture where their edges correlate by at least `same` and one is among the other's
    nearest by CLS token; what is the same as the same is the same. Images that cannot be decoded have none.
    """
    n = len(real.tokens)
    tokens = unit_rows(real.tokens)
    chosen = nearest(tokens, tokens, n_neighbours + 1)
    row, column = np.nonzero(edge_similarity(real, real, chosen) >= same)
    links = sparse.coo_array((np.ones(len(row)), (row, chosen[row, column])), shape=(n, n))
    group = connected_components(links, directed=False)[1]
    return np.bincount(group)[group] - 1


def seed_similarity(tokens: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Mean cosine between the images of every pair, (n_pairs,), -1 to 1: 1 where all seeds give one image.

    `tokens` (n_gen, d_model) are rows of length 1, `pair` (n_gen,) says whose they are. NaN for one image.
    """
    n = np.bincount(pair).astype(float)
    total = sparse.csr_array((np.ones(len(pair)), (pair, np.arange(len(pair))))) @ tokens.astype(np.float64)
    # The squared length of a sum of n unit vectors is n plus the cosines of all n (n - 1) ordered pairs.
    ordered = n * (n - 1)
    lengths = np.einsum("id,id->i", total, total)
    return np.divide(lengths - n, ordered, out=np.full(len(n), np.nan), where=ordered > 0).clip(-1, 1)


def edge_similarity(real: Images, gen: Images, chosen: np.ndarray) -> np.ndarray:
    """Correlation of the edges of generated image i and real image `chosen[i, j]`, NaN where undecoded."""
    found = cosines(pixels.edges(gen.thumbnails), pixels.edges(real.thumbnails), chosen)
    return np.where(gen.decoded[:, None] & real.decoded[chosen], found, np.nan)


def fisher(correlation: np.ndarray) -> np.ndarray:
    """Fisher's scale of a correlation, artanh, on which chance is nearly normal; at most 4.95 in size."""
    return np.arctanh(np.clip(np.asarray(correlation, np.float64), -_CLOSEST, _CLOSEST))


@dataclass(frozen=True)
class Scale:
    """Middle and spread of a null."""

    middle: float
    spread: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Scale":
        """The median, and the standard deviation of the normal distribution with the farther quartile.

        NaN of fewer than 20 values.
        """
        values = values[np.isfinite(values)]
        if len(values) < _FEWEST:
            return cls(np.nan, np.nan)
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        return cls(middle, max(middle - low, high - middle, _NARROWEST) / ndtri(0.75))

    def of_value(self, values: np.ndarray) -> np.ndarray:
        """Standard scores."""
        return (values - self.middle) / self.spread


def _closest(closeness: np.ndarray, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every pair its image with the closest candidate, and the candidate's column."""
    filled = np.where(np.isnan(closeness), -np.inf, closeness)
    column = filled.argmax(1)
    best = filled.max(1)
    order = np.lexsort((-best, pair))
    image = order[np.unique(pair[order], return_index=True)[1]]
    return image, column[image]


def _with_diversity(closeness: np.ndarray, diversity: np.ndarray) -> np.ndarray:
    """Low diversity across seeds as a fourth view, of the pairs that have several images."""
    likeness = fisher(diversity)
    fourth = Scale.of(likeness).of_value(likeness)
    return np.where(np.isnan(fourth), closeness, (_N_VIEWS * closeness + fourth) / (_N_VIEWS + 1))


def _mean(values: list[np.ndarray]) -> np.ndarray:
    """Mean over the views that there are."""
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    n = known.sum(0)
    return np.divide(np.where(known, stacked, 0).sum(0), n, out=np.full(n.shape, np.nan), where=n > 0)


def _mismatched_p(vectors: list, twin: np.ndarray, scales: list[Scale], seed: int) -> np.ndarray:
    """Share of a random panel of real images that is at least as close as the twin, (n_gen,), twin counted.

    By energies and tokens; NaN where the panel is too small to say 0.05.
    """
    n_real = len(vectors[1][0])
    panel = np.sort(np.random.default_rng(seed).choice(n_real, min(_PANEL, n_real), replace=False))
    theirs, own = np.zeros((len(twin), len(panel))), np.zeros((len(twin), 1))
    for (real, mine), scale in zip(vectors, scales[:2], strict=True):
        columns = real[panel].T
        product = mine @ (columns.toarray() if sparse.issparse(columns) else columns)
        theirs += scale.of_value(fisher(product))
        own += scale.of_value(fisher(cosines(mine, real, twin[:, None])))
    other = panel != twin[:, None]
    n = other.sum(1)
    p = (1 + ((theirs >= own) & other).sum(1)) / (1 + n)
    return np.where((n < _FEWEST) | np.isnan(own[:, 0]), np.nan, p)


def _layout_similarity(real: Images, gen: Images, image: np.ndarray, row: np.ndarray) -> np.ndarray:
    found = np.einsum("id,id->i", *(pixels.layout(t) for t in (gen.thumbnails[image], real.thumbnails[row])))
    return np.where(gen.decoded[image] & real.decoded[row], found, np.nan)


def _benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    from scipy.stats import false_discovery_control

    known = ~np.isnan(p)
    q = np.full(len(p), np.nan)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
