"""What the pages ask of a lake: read-only, cached by lake and table version.

Small tables are read whole for one SAE; of `energies`, `codes` and `images` only the rows of one concept or
of a few images are touched. A result is kept until one of the tables it came from has a new version, so a
page shows new data at its next rerun without a restart.
"""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from dashboard import access
from dashboard.access import by_version, runs, store
from pipeline.measures.energy import on_scale
from tables.edits import named_concepts
from tables.schemas import OK, PROBE, REAL

MAX_HITS = 30


def _of(lake: str, table: str, sae: str) -> pl.LazyFrame:
    return store(lake).scan(table).filter(pl.col("sae") == sae)


# What is in the lake


@by_version("concept_stats", "energy_differences", "layout", "concepts")
def saes(lake: str) -> list[str]:
    """The SAEs with results, newest first (by their latest recorded run, then by name)."""
    tables = ("energy_differences", "concept_stats", "concepts", "layout")
    names = sorted(pl.concat(_each_once(lake, tables, "sae"))["sae"].unique())
    if len(names) < 2:
        return names
    rows = pl.concat(_each_once(lake, tables, "sae", "run_id")).unique()
    started = runs(lake).select("run_id", "started").unique("run_id")
    newest = rows.join(started, on="run_id", how="left").group_by("sae").agg(pl.col("started").max())
    return newest.sort(["started", "sae"], descending=[True, False], nulls_last=True)["sae"].to_list()


def _each_once(lake: str, tables: Sequence[str], *columns: str) -> list[pl.DataFrame]:
    return pl.collect_all([store(lake).scan(table).select(columns).unique() for table in tables])


def filled(lake: str, table: str, sae: str) -> bool:
    """Whether a table has any row of an SAE; tells `nothing found` from `the stage has not run`."""
    return _filled(lake, access.versions(lake)[table], table, sae)


@st.cache_data(show_spinner=False, max_entries=64)
def _filled(lake: str, version: int | None, table: str, sae: str) -> bool:
    return version is not None and not _of(lake, table, sae).select("sae").head(1).collect().is_empty()


@by_version("energy_differences")
def generators(lake: str, sae: str) -> list[str]:
    """The generators compared through one SAE, by name."""
    return sorted(_of(lake, "energy_differences", sae).select("generator").unique().collect()["generator"])


@by_version("pairs")
def datasets(lake: str) -> pl.DataFrame:
    """Per dataset: pairs, and how many of them have a usable real image."""
    usable = (pl.col("status") == OK).sum().cast(pl.Int64).alias("n_ok")
    return (
        store(lake)
        .scan("pairs")
        .group_by("dataset")
        .agg(pl.len().cast(pl.Int64).alias("n_pairs"), usable)
        .sort("dataset")
        .collect()
    )


@by_version("images")
def image_counts(lake: str) -> pl.DataFrame:
    """Per source: usable images of pairs and failed ones. Reads two narrow columns only."""
    good = (pl.col("status") == OK).sum().cast(pl.Int64)
    return (
        store(lake)
        .scan("images")
        .filter(~pl.col("source").str.ends_with(PROBE))
        .group_by("source")
        .agg(good.alias("n_ok"), (pl.len().cast(pl.Int64) - good).alias("n_failed"))
        .sort("source")
        .collect()
    )


# Concepts


@by_version("concepts", "name_edits", "layout", "regions", "concept_stats", "energy_differences")
def concepts(lake: str, sae: str) -> pl.DataFrame:
    """Every concept of an SAE by id: name (the user's first), words, position, region, prevalence in the real
    images.

    `region_title` is null where nothing tells a region from others; `region_name` is its own, null between
    the regions.
    """
    named = named_concepts(store(lake), sae).drop("sae", "run_id", "neighbours", "neighbour_cosine")
    titles = _of(lake, "regions", sae).select("region", pl.col("name").alias("region_title"))
    number = pl.col("region").cast(pl.String)
    own = pl.coalesce(pl.concat_str("region_title", pl.lit(" · "), number), pl.lit("region ") + number)
    placed = _of(lake, "layout", sae).drop("sae", "run_id").join(titles, on="region", how="left")
    placed = placed.with_columns(region_name=own)
    real = _of(lake, "concept_stats", sae).filter(pl.col("source") == REAL).select("concept_id", "prevalence")
    compared = _of(lake, "energy_differences", sae).select("concept_id").unique()
    ids = pl.concat([frame.select("concept_id") for frame in (named, placed, real, compared)]).unique()
    joined = ids
    for frame in (named, placed, real):
        joined = joined.join(frame, on="concept_id", how="left")
    return joined.sort("concept_id").collect()


@by_version("energy_differences")
def differences(lake: str, sae: str, generator: str) -> pl.DataFrame:
    """The energy differences of one generator, by concept."""
    return (
        _of(lake, "energy_differences", sae)
        .filter(pl.col("generator") == generator)
        .drop("sae", "run_id")
        .sort("concept_id")
        .collect()
    )


@by_version("concepts", "name_edits", "layout", "regions", "concept_stats", "energy_differences")
def compared(lake: str, sae: str, generator: str | None) -> pl.DataFrame:
    """Concepts with their energy differences for one generator (nulls where there are none), by id."""
    wanted = differences(lake, sae, generator or "")
    return concepts(lake, sae).join(wanted, on="concept_id", how="left", maintain_order="left")


@by_version("energy_differences", "concept_stats")
def concept_numbers(lake: str, sae: str, concept_id: int) -> pl.DataFrame:
    """One concept in every generator: energies, forms, interval, label, prevalence on both sides."""
    mine = pl.col("concept_id") == concept_id
    here, differences = pl.collect_all(
        [
            _of(lake, "concept_stats", sae).filter(mine).select("source", "prevalence"),
            _of(lake, "energy_differences", sae).filter(mine).drop("sae", "run_id").sort("generator"),
        ]
    )
    real = here.filter(pl.col("source") == REAL)["prevalence"]
    drawn = here.rename({"source": "generator", "prevalence": "prevalence_gen"})
    return differences.join(drawn, on="generator", how="left", maintain_order="left").with_columns(
        prevalence_real=pl.lit(real[0] if len(real) else None, dtype=pl.Float64)
    )


@by_version("concepts")
def neighbours(lake: str, sae: str, concept_id: int) -> list[tuple[int, float]]:
    """The concepts whose atoms are nearest to one concept's, with the cosine, nearest first."""
    mine = _of(lake, "concepts", sae).filter(pl.col("concept_id") == concept_id)
    return list(
        mine.select("neighbours", "neighbour_cosine")
        .collect()
        .explode("neighbours", "neighbour_cosine")
        .drop_nulls()
        .iter_rows()
    )


@by_version("energy_differences")
def label_counts(lake: str, sae: str) -> pl.DataFrame:
    """Number of concepts by generator and label."""
    return (
        _of(lake, "energy_differences", sae)
        .group_by("generator", "label")
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .sort("generator", "label")
        .collect()
    )


def in_form(frame: pl.DataFrame, form: str) -> pl.DataFrame:
    """Rows of `energy_differences` with `low`, `high` and `form` of another form.

    The ratio's interval carries the relative form, the difference's the absolute one; both with the published
    temperature.
    """
    if form == "absolute":
        ends = [on_scale(frame[f"difference_{end}"].to_numpy(), "absolute") for end in ("low", "high")]
    else:
        ratios = [frame[f"ratio_{end}"].cast(pl.Float64).to_numpy() for end in ("low", "high")]
        ends = ratios if form == "ratio" else [on_scale(2 * ratio - 1, "relative") for ratio in ratios]
    stored = pl.col("form") == form
    fires = pl.col(form).is_not_null()
    return frame.with_columns(
        pl.when(stored).then(name).when(fires).then(pl.Series(name, end).fill_nan(None)).alias(name)
        for name, end in zip(("low", "high"), ends, strict=True)
    ).with_columns(pl.when(pl.col("form").is_not_null()).then(pl.lit(form)).alias("form"))


@by_version("nulls")
def null_bins(lake: str, sae: str, generator: str, form: str) -> pl.DataFrame:
    """Energy differences of halves of the real images, by bin: low_edge, high_edge, n_concepts, low, high."""
    mine = (pl.col("generator") == generator) & (pl.col("form") == form) & (pl.col("kind") == "real")
    rows = _of(lake, "nulls", sae).filter(mine).sort("bin")
    return rows.select("low_edge", "high_edge", "n_concepts", "low", "high").collect()


@by_version("distributions")
def statistics(lake: str, sae: str, form: str) -> pl.DataFrame:
    """Figures of all energy differences of every generator: generator, statistic, value, low, high."""
    rows = _of(lake, "distributions", sae).filter(pl.col("form") == form).sort("generator", "statistic")
    return rows.select("generator", "statistic", "value", "low", "high").collect()


@by_version("caption_differences")
def caption_difference(lake: str, sae: str, concept_id: int) -> pl.DataFrame:
    """One concept where captions mention it and where they do not, per generator; empty without a name."""
    rows = _of(lake, "caption_differences", sae).filter(pl.col("concept_id") == concept_id)
    return rows.drop("sae", "run_id", "concept_id").sort("generator").collect()


def striking(
    frame: pl.DataFrame, form: str, side: str, n: int = 4, one_per_name: bool = False
) -> pl.DataFrame:
    """The n most suppressed or most exaggerated concepts of `compared`: labelled ones first, then by the
    form's value; among equals the one with the most energy on the side that has more of it.

    With `one_per_name` only the first of those that share a name.
    """
    low = side == "suppressed"
    energy = "energy_real" if low else "energy_gen"
    ordered = (
        frame.select(pl.int_range(pl.len()).alias("row"), "concept_id", "name", "label", form, energy)
        .filter(pl.col(form).is_not_null(), pl.col(form) < 0.5 if low else pl.col(form) > 0.5)
        .sort(pl.col("label") == side, form, energy, descending=[True, not low, True])
    )
    if one_per_name:
        name = pl.coalesce("name", pl.col("concept_id").cast(pl.String))
        ordered = ordered.filter(name.is_first_distinct())
    return frame[ordered["row"].head(n)]


@by_version("concepts", "name_edits", "layout", "regions", "concept_stats", "energy_differences")
def most_striking(
    lake: str, sae: str, generator: str | None, form: str, side: str, n: int, one_per_name: bool = False
) -> pl.DataFrame:
    """`striking` of all concepts of a generator."""
    return striking(compared(lake, sae, generator), form, side, n, one_per_name)


def search(frame: pl.DataFrame, text: str, limit: int = MAX_HITS) -> pl.DataFrame:
    """Concepts whose id, name or evidence words match, best first: the id itself, then names, then words.

    `frame` has concept_id, name and words; the text is taken literally and in any case.
    """
    wanted = text.strip().casefold()
    if not wanted:
        return frame.head(0)
    number = wanted.removeprefix("concept").removeprefix("#").strip()
    name = pl.col("name").fill_null("").str.to_lowercase()
    words = pl.col("words").list.join(" ").fill_null("").str.to_lowercase()
    is_id = pl.col("concept_id").cast(pl.String) == number
    rank = (
        pl.when(is_id | (name == wanted))
        .then(0)
        .when(name.str.starts_with(wanted))
        .then(1)
        .when(name.str.contains(wanted, literal=True))
        .then(2)
        .when(words.str.contains(wanted, literal=True))
        .then(3)
    )
    hits = frame.with_columns(rank=rank).drop_nulls("rank")
    return hits.sort("rank", "concept_id").drop("rank").head(limit)


@by_version("cooccurrences", max_entries=256)
def partners(lake: str, sae: str, concept_id: int) -> pl.DataFrame:
    """The concepts that fire in the same images as one concept, in every set of images, strongest first.

    Columns: source, partner, n_images, strength, lift, and difference, low, high, q against the real images.
    """
    is_a, is_b = pl.col("concept_a") == concept_id, pl.col("concept_b") == concept_id
    return (
        _of(lake, "cooccurrences", sae)
        .filter(is_a | is_b)
        .with_columns(partner=pl.when(is_a).then("concept_b").otherwise("concept_a"))
        .select("source", "partner", "n_images", "strength", "lift", "difference", "low", "high", "q")
        .sort("strength", descending=True)
        .collect()
    )


def cooccurring(lake: str, sae: str, concept_id: int, source: str) -> pl.DataFrame:
    """`partners` of one concept in one set of images."""
    return partners(lake, sae, concept_id).filter(pl.col("source") == source).drop("source")
