"""The tables of one generator in the benchmark's lake, beside those of `dashboard_tables`."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import polars as pl
from scipy import special, stats

from pipeline.benchmarks.dashboard_tables import SAE, Drawn, Sizes
from pipeline.measures.evidence import label_concepts
from tables import REAL

FORMS = ("ratio", "relative", "absolute")
_BINS = 40
_TEMPERATURE = {"absolute": 0.8, "relative": 0.4}


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
