"""The small tables of the benchmark's lake: counted from the energies that were drawn, or drawn by topic."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from tables import OK, REAL

DATASET, SAE = "benchmark", "ra-benchmark"
_LOOKS = ("red", "striped", "small", "wooden", "shiny", "old", "round", "painted", "blurred", "dotted")
_THINGS = ("bird", "bicycle", "kitchen", "tower", "hand", "river", "sign", "jacket", "bread", "horse")
_PLACES = ("street", "beach", "forest", "studio", "harbour", "garden", "office", "stadium")


@dataclass(frozen=True)
class Sizes:
    """How large the lake is; the defaults are those of the bars."""

    n_concepts: int = 32_000
    n_pairs: int = 10_000
    n_generators: int = 5
    n_fired: int = 600  # concepts in an image, on average
    n_partners: int = 20  # kept pairs per concept
    n_top: int = 12  # best images per concept and image set
    n_topics: int = 200
    n_pictures: int = 300  # different ones
    grid: int = 16  # patches along a side
    n_reruns: int = 3  # recorded runs of every stage
    seed: int = 0

    @property
    def generators(self) -> list[str]:
        """Their names."""
        return [f"generator-{number}" for number in range(1, self.n_generators + 1)]


@dataclass(frozen=True)
class Drawn:
    """The energies of one image set: concept_id, pair_id, energy, patch (of the peak)."""

    source: str
    n_pairs: int
    energies: pl.DataFrame

    def counts(self, n_concepts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per concept: images in which it fires, sum of energies, sum of their squares."""
        concept = self.energies["concept_id"].to_numpy()
        energy = self.energies["energy"].to_numpy().astype(np.float64)
        fired = np.bincount(concept, minlength=n_concepts)
        total, squares = (np.bincount(concept, w, minlength=n_concepts) for w in (energy, energy**2))
        return fired, total, squares


def pairs(rng: np.random.Generator, sizes: Sizes) -> pl.DataFrame:
    """Captions of a look, a thing and a place."""
    words = [rng.choice(part, sizes.n_pairs).tolist() for part in (_LOOKS, _THINGS, _PLACES)]
    captions = [
        f"a {look} {thing} in the {place}, photograph" for look, thing, place in zip(*words, strict=True)
    ]
    return pl.DataFrame(
        {"dataset": DATASET, "pair_id": range(sizes.n_pairs), "caption": captions, "uri": None, "status": OK}
    ).with_columns(pl.col("uri").cast(pl.String), pl.lit(None, pl.String).alias("error"))


def concept_tables(rng: np.random.Generator, sizes: Sizes, topic: np.ndarray) -> dict[str, pl.DataFrame]:
    """Names, neighbours, map, regions and communities: concepts of one topic lie together."""
    n, ids = sizes.n_concepts, np.arange(sizes.n_concepts, dtype=np.int32)
    named = rng.random(n) < 0.7
    words = np.column_stack([rng.choice(part, n) for part in (_LOOKS, _THINGS, _PLACES)])
    names = [
        f"{look} {thing}" if there else None for (look, thing, _), there in zip(words, named, strict=True)
    ]
    middle = rng.normal(0, 12, (sizes.n_topics, 2))
    spot = (middle[topic] + rng.normal(size=(n, 2))).astype(np.float32)
    size = np.bincount(topic, minlength=sizes.n_topics)
    near = _same_topic(rng, topic, 10)
    cosine = np.sort(rng.uniform(0.3, 0.95, near.shape).astype(np.float32), axis=1)[:, ::-1]
    concepts = pl.DataFrame({"concept_id": ids, "name": names, "found_name": names}).with_columns(
        words=pl.Series(words.tolist(), dtype=pl.List(pl.String)),
        confidence=pl.when(pl.col("name").is_not_null()).then(pl.lit(5.0)),
        group=pl.Series(ids),
        neighbours=pl.Series(near).cast(pl.List(pl.Int32)),
        neighbour_cosine=pl.Series(np.ascontiguousarray(cosine)).cast(pl.List(pl.Float32)),
        dead=pl.lit(False),
    )
    between = rng.random(n) < 0.2
    region = pl.Series(topic.astype(np.int32)).set(pl.Series(between), None)
    layout = pl.DataFrame({"concept_id": ids, "x": spot[:, 0], "y": spot[:, 1], "region": region})
    places = pl.DataFrame(
        {
            "region": np.arange(sizes.n_topics, dtype=np.int32),
            "name": [
                f"{_THINGS[k % 10]}, {_PLACES[k % 8]}" if k % 5 else None for k in range(sizes.n_topics)
            ],
            "words": [[_THINGS[k % 10], _PLACES[k % 8]] for k in range(sizes.n_topics)],
            "n_concepts": np.bincount(topic[~between], minlength=sizes.n_topics),
            "x": middle[:, 0].astype(np.float32),
            "y": middle[:, 1].astype(np.float32),
        }
    )
    place = stats.rankdata(-size, method="ordinal")[topic] - 1  # 0 is the largest
    groups = pl.DataFrame(
        {"concept_id": ids, "community": place.astype(np.int32), "n_members": size[topic]}
    ).with_columns(n_partners=pl.lit(sizes.n_partners, dtype=pl.Int64))
    rows = {"concepts": concepts, "layout": layout, "regions": places, "communities": groups}
    return {name: frame.with_columns(sae=pl.lit(SAE)) for name, frame in rows.items()}


def _same_topic(rng: np.random.Generator, topic: np.ndarray, n: int) -> np.ndarray:
    """For every concept n others, of its own topic as far as it goes: int32 (n_concepts, n)."""
    order = np.argsort(topic, kind="stable")
    at = np.empty_like(order)
    at[order] = np.arange(len(order))
    steps = np.argsort(rng.random((len(topic), min(4 * n, len(topic) - 1))), axis=1)[:, :n] + 1
    return order[(at[:, None] + steps) % len(topic)].astype(np.int32)


def per_source(
    drawn: Drawn, real: Drawn, ids: Mapping[str, np.ndarray], sizes: Sizes
) -> dict[str, pl.DataFrame]:
    """Statistics and the best images of every concept in one image set."""
    n, total, squares = (part.astype(np.float64) for part in drawn.counts(sizes.n_concepts))
    mean = total / drawn.n_pairs
    both = (pl.lit(SAE).alias("sae"), pl.lit(drawn.source).alias("source"))
    statistics = pl.DataFrame(
        {
            "concept_id": np.arange(sizes.n_concepts, dtype=np.int32),
            "mean_energy": mean,
            "variance": (squares - drawn.n_pairs * mean**2) / (drawn.n_pairs - 1),
            "prevalence": n / drawn.n_pairs,
        }
    ).with_columns(*both, n_images=pl.lit(drawn.n_pairs, dtype=pl.Int64))
    best = (
        drawn.energies.sort("concept_id", "energy", "pair_id", descending=[False, True, False])
        .with_columns(rank=pl.int_range(pl.len(), dtype=pl.Int32).over("concept_id"))
        .filter(pl.col("rank") < sizes.n_top)
    )
    pair, patch = best["pair_id"].to_numpy(), best["patch"].to_numpy()
    energy, grid = best["energy"].to_numpy(), sizes.grid**2
    heat = np.zeros((len(best), grid), np.float32)
    for step, share in zip((0, 1, sizes.grid), (0.6, 0.3, 0.1), strict=True):
        heat[np.arange(len(best)), (patch + step) % grid] = energy * share
    twin = pl.Series("twin_image_id", ids[REAL][pair])
    top = best.select("concept_id", "pair_id", "rank", "energy").with_columns(
        *both,
        pl.Series("image_id", ids[drawn.source][pair]),
        twin if drawn.source != REAL else pl.lit(None, pl.Int64).alias("twin_image_id"),
        pl.Series("heatmap", heat).cast(pl.List(pl.Float32)),
        grid_height=pl.lit(sizes.grid, dtype=pl.Int32),
        grid_width=pl.lit(sizes.grid, dtype=pl.Int32),
    )
    return {"concept_stats": statistics, "top_images": top}


def company(
    rng: np.random.Generator,
    drawn: Drawn,
    real: Drawn,
    topic: np.ndarray,
    before: pl.DataFrame | None,
    sizes: Sizes,
) -> pl.DataFrame:
    """The kept pairs of concepts of one image set; those of the real images are there in every set."""
    fired, fired_real = drawn.counts(sizes.n_concepts)[0], real.counts(sizes.n_concepts)[0]
    if before is None:
        partner = _same_topic(rng, topic, min(sizes.n_partners, sizes.n_concepts - 1))
        ends = np.column_stack([np.repeat(np.arange(len(topic)), partner.shape[1]), partner.ravel()])
        a, b = np.unique(np.sort(ends, axis=1), axis=0).T
        real_share = rng.beta(1, 4, len(a))
        together_real = rng.binomial(np.minimum(fired_real[a], fired_real[b]), real_share)
        share, n_images = real_share, together_real
    else:
        a, b = before["concept_a"].to_numpy(), before["concept_b"].to_numpy()
        together_real = before["real_n_images"].to_numpy()
        real_share = together_real / np.maximum(np.minimum(fired_real[a], fired_real[b]), 1)
        share = np.clip(real_share + np.where(rng.random(len(a)) < 0.1, rng.normal(0, 0.2, len(a)), 0), 0, 1)
        n_images = rng.binomial(np.minimum(fired[a], fired[b]), share)
    n, rarer = drawn.n_pairs, np.maximum(np.minimum(fired[a], fired[b]), 1)
    p_a, p_b, p_ab = fired[a] / n, fired[b] / n, n_images / n
    spread = np.sqrt(p_a * (1 - p_a) * p_b * (1 - p_b))
    rows = pl.DataFrame(
        {
            "concept_a": a.astype(np.int32),
            "concept_b": b.astype(np.int32),
            "n_images": n_images,
            "n_a": fired[a],
            "n_b": fired[b],
            "strength": 3 * p_ab,
            "lift": p_ab / np.maximum(p_a * p_b, 1e-12),
            "correlation": (p_ab - p_a * p_b) / np.maximum(spread, 1e-12),
            "real_n_images": together_real,
            "real_n_a": fired_real[a],
            "real_n_b": fired_real[b],
            "real_strength": 3 * together_real / n,
        }
    ).with_columns(pl.lit(SAE).alias("sae"), pl.lit(drawn.source).alias("source"), pl.lit(REAL).alias("kept"))
    if before is None:
        nothing = ("difference", "low", "high", "p", "q", "sure")
        return rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in nothing)
    return rows.with_columns(*_evidence(n_images / rarer - real_share, 1 / np.sqrt(rarer)))


def _evidence(difference: np.ndarray, error: np.ndarray) -> list[pl.Series]:
    """Interval, p, q and the sure end of differences with a standard error."""
    p = 2 * stats.norm.sf(np.abs(difference) / error)
    q = stats.false_discovery_control(p)
    low, high = difference - 1.96 * error, difference + 1.96 * error
    sure = np.where(q < 0.05, np.where(difference < 0, np.minimum(high, 0), np.maximum(low, 0)), 0)
    values = {"difference": difference, "low": low, "high": high, "p": p, "q": q, "sure": sure}
    return [pl.Series(name, value) for name, value in values.items()]
