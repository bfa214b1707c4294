"""Concepts judged, filtered, ranked and set beside each other: pure functions of frames.

Frames are rows of `energy_differences` with what `queries.concepts` knows of a concept beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dashboard import queries, theme
from pipeline.measures.changes import change
from pipeline.measures.evidence import label_concepts

RANKS = {
    "difference": "distance from aligned",
    "certainty": "smallest q",
    "energy": "energy gained or lost",
    "prevalence": "prevalence",
}


@dataclass(frozen=True)
class Rule:
    """When a concept counts as suppressed or exaggerated: thresholds on the form's scale, and q."""

    below: float = 0.1
    above: float = 0.9
    level: float = 0.05


def judged(frame: pl.DataFrame, form: str, rule: Rule) -> pl.DataFrame:
    """The rows with `delta`, `low`, `high` of a form, and `label` and `group_label` under a rule.

    A group of near-duplicates has its interval in the form that `compare` was run with; in another form
    `group_label` is null.
    """
    stored = frame["form"].to_list()
    shown = queries.in_form(frame, form).with_columns(delta=pl.col(form).cast(pl.Float64))
    shown = shown.with_columns(label=_labels(shown, rule, ("delta", "low", "high", "q")))
    whole = _labels(shown, rule, ("group_delta", "group_low", "group_high", "group_q"))
    same = pl.Series([each == form for each in stored], dtype=pl.Boolean)
    return shown.with_columns(group_label=pl.when(same).then(whole))


def _labels(frame: pl.DataFrame, rule: Rule, columns: Sequence[str]) -> pl.Series:
    parts = [frame[column].cast(pl.Float64).to_numpy() for column in columns]
    labels = label_concepts(
        *parts, suppressed_below=rule.below, exaggerated_above=rule.above, level=rule.level
    )
    return pl.Series(labels.tolist(), dtype=pl.String)


@dataclass(frozen=True)
class Narrowing:
    """Which rows are shown: labels (none: all), region name, search text, least prevalence and largest q."""

    labels: tuple[str, ...] = ()
    region: str | None = None
    text: str = ""
    least: float = 0.0  # 0 to 1
    level: float | None = None  # 0 to 1; rows without a q do not pass


def prevalence() -> pl.Expr:
    """Share of pairs in which the concept fires, on the side where it fires more often, 0 to 1."""
    return pl.max_horizontal("n_fired_real", "n_fired_gen") / pl.col("n_pairs")


def narrowed(frame: pl.DataFrame, narrowing: Narrowing) -> pl.DataFrame:
    """The rows that pass; text is looked for in names, caption words and ids, literally and in any case."""
    shown = frame.filter(prevalence() >= narrowing.least) if narrowing.least > 0 else frame
    if narrowing.level is not None:
        shown = shown.filter(pl.col("q") <= narrowing.level)
    if narrowing.labels:
        shown = shown.filter(pl.col("label").is_in(list(narrowing.labels)))
    if narrowing.region is not None:
        shown = shown.filter(pl.col("region_name") == narrowing.region)
    if narrowing.text.strip():
        found = queries.search(shown, narrowing.text, shown.height)["concept_id"].unique()
        shown = shown.filter(pl.col("concept_id").is_in(found.to_list()))
    return shown


def ranked(frame: pl.DataFrame, by: str) -> pl.DataFrame:
    """Judged rows in the order of one of RANKS, with their place as `rank`, from 1."""
    order = {
        "difference": -(pl.col("delta") - theme.ALIGNED).abs(),
        "certainty": pl.col("q"),
        "energy": -pl.col("difference").abs(),
        "prevalence": -prevalence(),
    }
    keys = [order[by], order["difference"], order["energy"], pl.col("concept_id"), pl.col("generator")]
    return frame.sort(keys, nulls_last=True).with_row_index("rank", offset=1)


def export(frame: pl.DataFrame, sae: str, form: str, rule: Rule) -> pl.DataFrame:
    """Ranked rows as a table that explains itself: the rule and the SAE are columns."""
    known = ["concept_id", "name", "words", "region_name", "label", "delta", "low", "high", "q", "p"]
    counts = ["energy_real", "energy_gen", "difference", "n_pairs", "n_fired_real", "n_fired_gen"]
    return frame.select(
        "rank",
        pl.lit(sae).alias("sae"),
        "generator",
        *known,
        *counts,
        "group",
        "group_label",
        pl.lit(form).alias("form"),
        *(pl.lit(value).alias(name) for name, value in vars(rule).items()),
    )


def changes(before: pl.DataFrame, after: pl.DataFrame, form: str) -> pl.DataFrame:
    """What changed from one generator to another: a row per concept with energy in both, largest first.

    Columns: concept_id, label_a, delta_a, low_a, high_a, the same of b, and change, change_low, change_high,
    sure (the interval leaves out 0). Sure ones come first.
    """
    sides = []
    for frame, end in ((before, "a"), (after, "b")):
        shown = queries.in_form(frame, form)
        kept = {"label": "label", form: "delta", "low": "low", "high": "high"}
        sides.append(shown.select("concept_id", *(pl.col(k).alias(f"{v}_{end}") for k, v in kept.items())))
    both = sides[0].join(sides[1], on="concept_id").drop_nulls(["delta_a", "delta_b"])
    names = [f"{part}_{end}" for end in "ab" for part in ("delta", "low", "high")]
    moved = change(*(both[name].cast(pl.Float64).to_numpy() for name in names))
    columns = zip(("change", "change_low", "change_high"), moved, strict=True)
    both = both.with_columns(pl.Series(name, values).fill_nan(None) for name, values in columns)
    sure = ((pl.col("change_low") > 0) | (pl.col("change_high") < 0)).fill_null(False)
    return both.with_columns(sure=sure).sort(
        -pl.col("sure").cast(pl.Int8), -pl.col("change").abs(), "concept_id"
    )


def shared(labels: pl.DataFrame, label: str) -> pl.DataFrame:
    """Which generators have a label in common: one row per exact combination, largest first.

    `labels` has generator, concept_id, label. Columns: generators (sorted list), n, concept_ids (sorted).
    Every concept is counted once, under all the generators that have it.
    """
    return (
        labels.filter(pl.col("label") == label)
        .sort("generator", "concept_id")
        .group_by("concept_id", maintain_order=True)
        .agg(pl.col("generator").alias("generators"))
        .sort("concept_id")
        .group_by("generators", maintain_order=True)
        .agg(pl.len().cast(pl.Int64).alias("n"), pl.col("concept_id").alias("concept_ids"))
        .sort(-pl.col("n"), pl.col("generators").list.len(), pl.col("generators").list.join("\x1f"))
    )
