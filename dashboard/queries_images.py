"""What the pages of pairs ask of a lake; cached like `queries`, energies of one pair at a time."""

import numpy as np
import polars as pl

from dashboard import queries
from dashboard.access import by_version, store
from pipeline.measures.datapoints import weights_of_counts
from tables.schemas import REAL

UNDECIDED = "undecided"
VERDICTS = ("memorised", "template", "faithful", "different", UNDECIDED)
SCORES = (
    "distance",
    "similarity",
    "memorisation",
    "nearest_energy",
    "nearest_token",
    "nearest_edges",
    "nearest_layout",
    "seed_similarity",
)
ORDERS = {
    "most different": ("rank", False),
    "most alike": ("rank", True),
    "most like a real image": ("memorisation", True),
    "pair number": ("pair_id", False),
}


def _of(lake: str, table: str, sae: str) -> pl.LazyFrame:
    return store(lake).scan(table).filter(pl.col("sae") == sae)


@by_version("datapoints")
def pairs(lake: str, sae: str, generator: str) -> pl.DataFrame:
    """The scored pairs of one generator by rank, the most different first; a verdict is never null."""
    rows = _of(lake, "datapoints", sae).filter(pl.col("generator") == generator).drop("sae", "run_id")
    return rows.with_columns(pl.col("verdict").fill_null(UNDECIDED)).sort("rank").collect()


@by_version("datapoints")
def scores(lake: str, sae: str, score: str) -> pl.DataFrame:
    """One score of every pair of every generator: generator, value. Pairs without it are left out."""
    rows = _of(lake, "datapoints", sae).select("generator", pl.col(score).alias("value"))
    return rows.drop_nulls("value").filter(pl.col("value").is_finite()).sort("generator").collect()


@by_version("datapoints")
def verdict_counts(lake: str, sae: str) -> pl.DataFrame:
    """Pairs of every generator by verdict: generator, n_pairs, and a column for each verdict."""
    verdict = pl.col("verdict").fill_null(UNDECIDED)
    counts = [(verdict == each).sum().cast(pl.Int64).alias(each) for each in VERDICTS]
    rows = _of(lake, "datapoints", sae).group_by("generator")
    return rows.agg(pl.len().cast(pl.Int64).alias("n_pairs"), *counts).sort("generator").collect()


@by_version("pairs")
def captions(lake: str) -> pl.DataFrame:
    """The captions of all pairs: pair_id, caption."""
    rows = store(lake).scan("pairs").select("pair_id", pl.col("caption").fill_null(""))
    return rows.unique("pair_id", keep="first", maintain_order=True).collect()


def chosen(
    frame: pl.DataFrame, words: pl.DataFrame, text: str, verdicts: tuple[str, ...], order: str
) -> pl.DataFrame:
    """The pairs that have a verdict (none named: any) and whose caption holds a text, in one of ORDERS.

    `frame` comes from `pairs`, `words` from `captions`; the text is taken literally and in any case.
    """
    by, descending = ORDERS[order]
    kept = frame.join(words, on="pair_id", how="left", maintain_order="left").with_columns(
        pl.col("caption").fill_null("")
    )
    if verdicts:
        kept = kept.filter(pl.col("verdict").is_in(verdicts))
    if text.strip():
        wanted = text.strip().casefold()
        kept = kept.filter(pl.col("caption").str.to_lowercase().str.contains(wanted, literal=True))
    return kept.sort(by, "rank", descending=[descending, False], nulls_last=True)


def copies(frame: pl.DataFrame) -> pl.DataFrame:
    """The memorised pairs of `pairs` and then the templates, the surest likeness first."""
    suspects = frame.filter(pl.col("verdict").is_in(["memorised", "template"]))
    return suspects.sort(pl.col("verdict") != "memorised", "memorisation", descending=[False, True])


@by_version("concept_stats")
def _weights(lake: str, sae: str, generator: str) -> pl.DataFrame:
    """What a unit of energy of each concept counts for in the distance: concept_id, weight."""
    n = pl.col("n_images")
    both = (
        _of(lake, "concept_stats", sae)
        .filter(pl.col("source").is_in([REAL, generator]))
        .group_by("concept_id")
        .agg(
            n.sum().alias("n"),
            (pl.col("prevalence") * n).sum().alias("fires"),
            (pl.col("mean_energy") * n).sum().alias("total"),
        )
        .sort("concept_id")
        .collect()
    )
    counts = (both[name].to_numpy().astype(np.float64) for name in ("n", "fires", "total"))
    return both.select("concept_id", pl.Series("weight", weights_of_counts(*counts)))


@by_version("energies", max_entries=256)
def image_energies(lake: str, sae: str, source: str, image_id: int) -> pl.DataFrame:
    """The concepts that fire in one image: concept_id, energy."""
    rows = _of(lake, "energies", sae).filter(pl.col("source") == source, pl.col("image_id") == image_id)
    return rows.select("concept_id", "energy").collect()


def pair_concepts(lake: str, sae: str, generator: str, real_image_id: int, gen_image_id: int) -> pl.DataFrame:
    """Two images concept by concept, what sets them apart most first.

    Columns: concept_id, name, real, generated (energies), weight, share: the concept's part of the distance,
    positive where the generated image has more of it. The absolute shares add up to the distance.
    """
    sides = [
        image_energies(lake, sae, source, image).rename({"energy": name})
        for source, image, name in ((REAL, real_image_id, "real"), (generator, gen_image_id, "generated"))
    ]
    both = sides[0].join(sides[1], on="concept_id", how="full", coalesce=True)
    weighed = both.join(_weights(lake, sae, generator), on="concept_id", how="left")
    weighed = weighed.with_columns(pl.col("real", "generated").cast(pl.Float64).fill_null(0.0)).with_columns(
        pl.col("weight").fill_null(0.0)
    )
    total = (pl.col("weight") * (pl.col("real") + pl.col("generated"))).sum()
    share = pl.col("weight") * (pl.col("generated") - pl.col("real")) / total
    named = weighed.with_columns(pl.when(total > 0).then(share).otherwise(0.0).alias("share")).join(
        queries.concepts(lake, sae).select("concept_id", "name"), on="concept_id", how="left"
    )
    ordered = named.sort(pl.col("share").abs(), "concept_id", descending=[True, False])
    return ordered.select("concept_id", "name", "real", "generated", "weight", "share")
