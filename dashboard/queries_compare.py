"""What the ranked table and the comparison of generators ask of a lake; cached like `queries`."""

from collections.abc import Sequence

import polars as pl

from dashboard import charts_compare, queries, rankings, theme
from dashboard.access import by_version, runs, store
from dashboard.rankings import Rule
from dashboard.theme import Mode


def _of(lake: str, table: str, sae: str) -> pl.LazyFrame:
    return store(lake).scan(table).filter(pl.col("sae") == sae)


def compared(lake: str, sae: str, generators: Sequence[str]) -> pl.DataFrame:
    """The energy differences of some generators, with what is known of each concept beside them."""
    parts = [queries.differences(lake, sae, generator) for generator in generators]
    known = queries.concepts(lake, sae).drop("group", strict=False)
    rows = pl.concat(parts) if parts else queries.differences(lake, sae, "")
    return rows.join(known, on="concept_id", how="left", maintain_order="left")


@by_version("energy_differences")
def _writer(lake: str, sae: str, generator: str) -> str | None:
    mine = _of(lake, "energy_differences", sae).filter(pl.col("generator") == generator)
    ids = mine.select("run_id").head(1).collect()["run_id"]
    return ids[0] if len(ids) else None


def rule_of(lake: str, sae: str, generator: str) -> Rule:
    """The thresholds and the level that the stored labels were given with, from the run that wrote them.

    The published ones where the run is not on record.
    """
    found = runs(lake).filter(pl.col("run_id") == (_writer(lake, sae, generator) or ""))
    params = {each["key"]: each["value"] for each in found["params"][0]} if found.height else {}
    try:
        below, above = float(params["suppressed_below"]), float(params["exaggerated_above"])
        rule = Rule(below, above, float(params["level"]))
    except (KeyError, ValueError):
        return Rule()
    return rule if 0 <= below <= 0.5 <= above <= 1 and 0 < rule.level < 1 else Rule()


@by_version("energy_differences", max_entries=16)
def changes(lake: str, sae: str, two: tuple[str, str], form: str) -> pl.DataFrame:
    """What changed from one generator to another, largest first (`rankings.changes`)."""
    before, after = (queries.differences(lake, sae, name) for name in two)
    return rankings.changes(before, after, form)


@by_version("energy_differences", "concepts", "name_edits", max_entries=16)
def scattered(
    lake: str, sae: str, two: tuple[str, str], form: str, mode: Mode
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The points of the scatter of two generators, and how many concepts lie in each cell beside them."""
    rows = changes(lake, sae, two, form)
    points = charts_compare.scatter_points(rows, titles(queries.concepts(lake, sae)), mode)
    return points, charts_compare.crowd(rows, points)


def titles(frame: pl.DataFrame) -> dict[int, str]:
    """What each concept is called in a figure, on one short line."""
    named = frame.select("concept_id", "name").iter_rows()
    return {concept: theme.one_line(theme.concept_title(concept, name), 40) for concept, name in named}


@by_version("energy_differences")
def labels(lake: str, sae: str) -> pl.DataFrame:
    """The stored label of every concept in every generator: generator, concept_id, label."""
    return _of(lake, "energy_differences", sae).select("generator", "concept_id", "label").collect()


@by_version("agreements")
def agreements(lake: str, sae: str) -> pl.DataFrame:
    """How far every two generators agree: generator_a, generator_b, statistic, value, low, high."""
    rows = _of(lake, "agreements", sae).sort("generator_a", "generator_b", "statistic")
    return rows.drop("sae", "run_id").collect()


@by_version("sae_agreements")
def sae_agreements(lake: str, sae: str) -> pl.DataFrame:
    """How far other SAEs agree with this one, whichever of the two was compared later.

    Columns: other_sae, generator, n_matched, correlation, spearman, low, high, same_label.
    """
    rows = store(lake).scan("sae_agreements").drop("run_id")
    mine = rows.filter(pl.col("sae") == sae).drop("sae")
    theirs = rows.filter(pl.col("other_sae") == sae).drop("other_sae").rename({"sae": "other_sae"})
    both = pl.concat([mine, theirs.select(mine.collect_schema().names())]).collect()
    return both.unique(["other_sae", "generator"], keep="first", maintain_order=True).sort(
        "generator", "other_sae"
    )
