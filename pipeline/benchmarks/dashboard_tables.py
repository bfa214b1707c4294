"""The small tables of the benchmark's lake: counted from the energies that were drawn, or drawn by topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from scipy import special, stats

from pipeline.measures.evidence import label_concepts
from tables import OK, REAL

DATASET, SAE = "benchmark", "ra-benchmark"
FORMS = ("ratio", "relative", "absolute")
_BINS = 40
_TEMPERATURE = {"absolute": 0.8, "relative": 0.4}
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


def per_generator(
    rng: np.random.Generator, drawn: Drawn, real: Drawn, ids: Mapping[str, np.ndarray], sizes: Sizes
) -> dict[str, pl.DataFrame]:
    """What is known of one generator: differences with evidence, null, shape, pairs, advice."""
    differences = _differences(drawn, real, sizes)
    rows = {
        "energy_differences": differences,
        "nulls": _nulls(sizes),
        "distributions": _distributions(differences),
        "funnel": _funnel(),
        "caption_differences": _by_caption(differences),
        "datapoints": _datapoints(rng, ids[REAL], ids[drawn.source]),
        "map_clusters": _clusters(),
        "advice": _advice(differences),
    }
    both = (pl.lit(SAE).alias("sae"), pl.lit(drawn.source).alias("generator"))
    return {name: frame.with_columns(*both) for name, frame in rows.items()}


def _differences(drawn: Drawn, real: Drawn, sizes: Sizes) -> pl.DataFrame:
    """Energies of both sides and the forms; intervals by the normal approximation, labels by the rule."""
    n_pairs = real.n_pairs
    fired = [side.counts(sizes.n_concepts) for side in (real, drawn)]
    mean = [total / n_pairs for _, total, _ in fired]
    error = np.sqrt(sum((squares / n_pairs - (t / n_pairs) ** 2) / n_pairs for _, t, squares in fired))
    total, difference = mean[0] + mean[1], mean[1] - mean[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = mean[1] / total
        reach = 0.98 * error / total
        p = np.nan_to_num(2 * stats.norm.sf(np.abs(difference) / error), nan=1.0)
    q = stats.false_discovery_control(p)
    low, high = np.clip(ratio - reach, 0, 1), np.clip(ratio + reach, 0, 1)
    label = label_concepts(ratio, low, high, q)
    ids = np.arange(sizes.n_concepts, dtype=np.int32)
    columns = {
        "concept_id": ids,
        "n_pairs": np.full(sizes.n_concepts, n_pairs),
        "n_fired_real": fired[0][0],
        "n_fired_gen": fired[1][0],
        "energy_real": mean[0],
        "energy_gen": mean[1],
        "difference": difference,
        "absolute": special.expit(difference / _TEMPERATURE["absolute"]),
        "relative": special.expit((2 * ratio - 1) / _TEMPERATURE["relative"]),
        "ratio": ratio,
        **{"low": low, "high": high, "ratio_low": low, "ratio_high": high},
        "difference_low": difference - 1.96 * error,
        "difference_high": difference + 1.96 * error,
        **{"p": p, "q": q, "label": label.tolist(), "group": ids},
        **{"group_delta": ratio, "group_low": low, "group_high": high, "group_q": q},
        "group_label": label.tolist(),
    }
    floats = pl.selectors.float()
    return pl.DataFrame(columns).with_columns(floats.fill_nan(None), form=pl.lit(FORMS[0]))


def _nulls(sizes: Sizes) -> pl.DataFrame:
    edges = np.linspace(0, 1, _BINS + 1)
    share = np.diff(stats.norm.cdf(edges, 0.5, 0.03)) * sizes.n_concepts
    one = {"bin": np.arange(_BINS, dtype=np.int32), "low_edge": edges[:-1], "high_edge": edges[1:]}
    one |= {"n_concepts": share, "low": 0.9 * share, "high": 1.1 * share}
    return pl.concat(pl.DataFrame(one).with_columns(form=pl.lit(f), kind=pl.lit(REAL)) for f in FORMS)


def _distributions(rows: pl.DataFrame) -> pl.DataFrame:
    seen = float(rows.filter(pl.col("label").is_in(["suppressed", "exaggerated"])).height)
    figures = {"skewness": -0.4, "median": 0.5, "spread": 0.08, "share_suppressed": 0.04}
    figures |= {"share_exaggerated": 0.03, "blindspots_seen": seen, "blindspots_chance": 2.0}
    figures |= {"blindspots_excess": seen - 2.0}
    return pl.DataFrame(
        [
            {"form": form, "statistic": name, "value": value, "low": value - 0.01, "high": value + 0.01}
            for form in FORMS
            for name, value in figures.items()
        ]
    )


def _funnel() -> pl.DataFrame:
    edges = np.geomspace(1e-4, 1, 13)
    one = {"bin": np.arange(12, dtype=np.int32), "prevalence_low": edges[:-1], "prevalence_high": edges[1:]}
    one |= {"n_concepts": np.full(12, 2_000), "median": np.full(12, 0.5)}
    one |= {"null_low": np.full(12, 0.45), "null_high": np.full(12, 0.55)}
    return pl.concat(pl.DataFrame(one).with_columns(form=pl.lit(form)) for form in FORMS)


def _by_caption(rows: pl.DataFrame) -> pl.DataFrame:
    """Two in three concepts have a word, which one pair in a hundred says."""
    said = rows.filter(pl.col("concept_id") % 3 != 0, pl.col("ratio").is_not_null())
    parts = ("mentioned", "rest")
    return said.select(
        "concept_id",
        "form",
        pl.lit("bird").alias("word"),
        (pl.col("n_pairs") // 100).alias("n_mentioned"),
        (pl.col("n_pairs") - pl.col("n_pairs") // 100).alias("n_rest"),
        *(pl.col("ratio").alias(part) for part in parts),
        *(pl.col(end).alias(f"{part}_{end}") for part in parts for end in ("low", "high")),
        *(pl.col("p").alias(f"{part}_p") for part in parts),
    )


def _datapoints(rng: np.random.Generator, real: np.ndarray, gen: np.ndarray) -> pl.DataFrame:
    n = len(real)
    distance = rng.beta(6, 4, n)
    copy = np.arange(n) % 100 == 0
    near = np.where(copy, np.arange(n), rng.integers(n, size=n))
    verdict = np.where(copy, "memorised", np.where(rng.random(n) < 0.9, "faithful", "different"))
    return pl.DataFrame(
        {
            "pair_id": np.arange(n),
            "image_id": gen,
            "real_image_id": real,
            "n_images": np.ones(n, int),
            "n_duplicates": np.zeros(n, int),
            "paper_score": rng.normal(0.5, 1e-4, n),
            "distance": distance,
            "similarity": 1 - distance,
            "rank": stats.rankdata(-distance, method="ordinal"),
            "suspect_image_id": gen,
            "nearest_image_id": real[near],
            "nearest_energy": rng.beta(4, 4, n),
            "nearest_token": rng.beta(4, 4, n),
            "nearest_edges": np.where(copy, 0.95, rng.uniform(0, 0.5, n)),
            "nearest_layout": np.where(copy, 0.95, rng.uniform(0, 0.6, n)),
            "memorisation": np.where(copy, 6.0, rng.normal(0, 1, n)),
            "p": np.where(copy, 1e-8, 0.5),
            "q": np.where(copy, 1e-6, 0.9),
            "null_pairs": "matched",
            "mismatched_p": rng.uniform(0, 0.2, n),
            "verdict": verdict.tolist(),
        }
    ).with_columns(seed_similarity=pl.lit(None, pl.Float64))


def _clusters() -> pl.DataFrame:
    one = {"n_concepts": 1_000, "agreement": 0.2, "shuffled": 0.1, "low": 0.09, "high": 0.11, "p": 1e-3}
    kinds = [(space, kind) for space in ("map", "atoms") for kind in ("suppressed", "exaggerated", "less")]
    return pl.DataFrame([{"space": s, "kind": k, **one, "n_shuffles": 1_000} for s, k in kinds])


def _advice(rows: pl.DataFrame) -> pl.DataFrame:
    found = rows.filter(pl.col("label").is_in(["suppressed", "exaggerated"]))
    more = pl.col("label") == "exaggerated"
    return found.select(
        *("concept_id", "label", "form", "q"),
        pl.lit("bird").alias("name"),
        pl.when(more).then(pl.lit("overdrawn")).otherwise(pl.lit("not drawn")).alias("advice"),
        pl.col("ratio").alias("delta"),
        (pl.col("n_fired_real") / pl.col("n_pairs")).alias("prevalence_real"),
        (pl.col("n_fired_gen") / pl.col("n_pairs")).alias("prevalence_gen"),
        pl.lit(10, pl.Int64).alias("n_strong"),
        pl.lit(5, pl.Int64).alias("n_mentioned"),
        pl.lit(["bird"]).alias("words"),
        pl.lit("Of its 10 strongest images 5 have a caption that says so.").alias("reason"),
        pl.lit([0, 1, 2], dtype=pl.List(pl.Int64)).alias("pair_ids"),
    )


def agreements(rng: np.random.Generator, names: list[str]) -> pl.DataFrame:
    """Four figures of every two generators."""
    what = ("pearson", "spearman", "jaccard_suppressed", "jaccard_exaggerated")
    rows = [(a, b, each, float(rng.uniform(0.2, 0.9))) for a, b in combinations(names, 2) for each in what]
    frame = pl.DataFrame(
        rows,
        orient="row",
        schema={
            "generator_a": pl.String,
            "generator_b": pl.String,
            "statistic": pl.String,
            "value": pl.Float64,
        },
    )
    ends = [(pl.col("value") + step).alias(name) for step, name in ((-0.02, "low"), (0.02, "high"))]
    return frame.with_columns(*ends, sae=pl.lit(SAE))
