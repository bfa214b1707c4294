"""The parts of the Blindspots page: the rule, the filters, the ranked table with its images, the exports."""

import math
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import (
    charts_compare,
    components,
    figures,
    pictures,
    queries,
    queries_pictures,
    rankings,
    theme,
)
from dashboard import selection as chosen
from dashboard.rankings import Narrowing, Rule
from dashboard.selection import Selection
from tables.schemas import REAL

ROWS = 20  # on one page of the table
PICTURE = 96  # pixels of a picture in a row
COLUMNS = (
    *("rank", "real", "generated", "concept", "name", "generator", "label", "delta", "interval", "q"),
    *("in_real", "in_gen", "group_label", "region_name", "words"),
)


def choose_rule(stored: Rule) -> Rule:
    """Thresholds and level, live; they start where the stored labels were given."""
    scale = f"Stored labels were given at {stored.below:g} and {stored.above:g}; published are 0.1 and 0.9."
    below = chosen.choose_share("Suppressed below", 0.0, 0.5, stored.below, "below", scale)
    above = chosen.choose_share("Exaggerated above", 0.5, 1.0, stored.above, "above", scale)
    level = chosen.choose_share(
        "q below", 0.0, 0.5, stored.level, "level", "The share of false discoveries that is put up with."
    )
    return Rule(below, above, level)


def threshold_chart(now: Selection, frame: pl.DataFrame, rule: Rule) -> None:
    """Where the thresholds cut the energy differences of the chosen generator, with the null behind."""
    null = queries.null_bins(now.lake, now.sae, now.generator or "", now.form)
    values = frame.filter(pl.col("generator") == now.generator)["delta"].to_numpy()
    figures.show(
        charts_compare.threshold_histogram,
        *(values, now.form, now.mode, null, (rule.below, rule.above)),
        alt="Histogram of energy differences with the two thresholds",
    )


def choose_narrowing(frame: pl.DataFrame) -> tuple[Narrowing, str, DeltaGenerator]:
    """The filters, what the rows are ranked by, and the free place beside the labels."""
    search, region, least, order = st.columns([3, 2, 2, 2], vertical_alignment="bottom")
    with search:
        text = chosen.choose_search()
    with region:
        area = chosen.choose_region(frame)
    with least:
        share = chosen.choose_least()
    with order:
        words = {word: by for by, word in rankings.RANKS.items()}
        by = words[chosen.choose_one("Ranked by", list(words), "rank")]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        labels = chosen.choose_many("Label", theme.LABEL_ORDER, "label", ("suppressed", "exaggerated"))
    return Narrowing(labels, area, text, share), by, right


def nothing_passes() -> None:
    """Shown in place of a table without rows."""
    with st.container(border=True):
        st.subheader(":material/filter_alt_off: No concept passes", anchor=False)
        st.caption("Ask for another label, region or word, a lower prevalence, or milder thresholds.")


def ranked_table(now: Selection, rows: pl.DataFrame, everyone: bool) -> None:
    """One page of the ranking, with a column of generators or without; a click on a row opens its concept."""
    n_pages = max(1, math.ceil(rows.height / ROWS))
    place = st.container()
    with st.container(horizontal_alignment="center"):
        page = chosen.choose_page(n_pages)
    shown = rows.slice((page - 1) * ROWS, ROWS)
    with place:
        key = f"ranking-{page}"
        st.dataframe(
            _cells(now, shown),
            key=key,
            height="content",
            row_height=76,
            hide_index=True,
            on_select=components.opens_concept(
                key, shown["concept_id"].to_list(), shown["generator"].to_list()
            ),
            selection_mode="single-row",
            column_order=[name for name in COLUMNS if everyone or name != "generator"],
            alt="Ranked concepts with their images",
            column_config=_columns(now.form),
        )


def _cells(now: Selection, rows: pl.DataFrame) -> pl.DataFrame:
    titles = [theme.concept_title(*each) for each in rows.select("concept_id", "name").iter_rows()]
    spans = [theme.interval(*ends) for ends in rows.select("low", "high").iter_rows()]
    real, drawn = _pictures(now, rows)
    return rows.select(
        "rank",
        pl.Series("real", real, dtype=pl.String),
        pl.Series("generated", drawn, dtype=pl.String),
        pl.col("concept_id").alias("concept"),
        pl.Series("name", titles, dtype=pl.String),
        "generator",
        "label",
        "delta",
        pl.Series("interval", spans, dtype=pl.String),
        "q",
        (100 * pl.col("n_fired_real") / pl.col("n_pairs")).alias("in_real"),
        (100 * pl.col("n_fired_gen") / pl.col("n_pairs")).alias("in_gen"),
        "group_label",
        pl.col("region_name").fill_null("–"),
        pl.col("words").list.head(5).list.join(", ").alias("words"),
    )


def _pictures(now: Selection, rows: pl.DataFrame) -> tuple[list[str | None], list[str | None]]:
    """Addresses of the real and the generated picture of every row, None where there is none."""
    found: dict[tuple[str, int], tuple[str | None, str | None]] = {}
    for (generator,), part in rows.group_by("generator", maintain_order=True):
        name = str(generator)
        more_real = part["delta"].fill_null(theme.ALIGNED) <= theme.ALIGNED
        sides = [
            (concept, REAL if real else name)
            for concept, real in zip(part["concept_id"], more_real, strict=True)
        ]
        best = queries_pictures.row_images(now.lake, now.sae, name, sides)
        files = [
            queries_pictures.thumbnails(now.lake, source, best[column].drop_nulls().to_list(), PICTURE)
            for source, column in ((REAL, "real_image_id"), (name, "gen_image_id"))
        ]
        for row in best.iter_rows(named=True):
            two = files[0].get(row["real_image_id"]), files[1].get(row["gen_image_id"])
            found[name, row["concept_id"]] = _address(two[0]), _address(two[1])
    both = [found.get(each, (None, None)) for each in rows.select("generator", "concept_id").iter_rows()]
    return [real for real, _ in both], [drawn for _, drawn in both]


def _address(data: bytes | None) -> str | None:
    return pictures.address(data) if data else None


def _columns(form: str) -> dict[str, Any]:
    config = st.column_config
    more = "Where the concept is strongest, on the side that has more of it"
    return {
        "rank": config.NumberColumn("", width=44),
        "real": config.ImageColumn("real", width=84, help=more),
        "generated": config.ImageColumn("generated", width=84, help="What was drawn from the same caption"),
        "concept": config.NumberColumn(format="%d", width=60),
        "name": config.TextColumn(width=110),
        "label": config.TextColumn(width=92),
        "delta": config.NumberColumn(
            "difference", format="%.2f", width=78, help=f"Energy difference, {form} form"
        ),
        "interval": config.TextColumn("95% interval", width=100),
        "q": config.NumberColumn(format="%.1e", width=66),
        "in_real": config.NumberColumn(
            "in real", format="%.1f%%", width=70, help="Share of real images in which it fires"
        ),
        "in_gen": config.NumberColumn(
            "in generated", format="%.1f%%", width=96, help="Share of generated images in which it fires"
        ),
        "group_label": config.TextColumn(
            "with duplicates", width=120, help="Label of its group of near-duplicate atoms, taken together"
        ),
        "region_name": config.TextColumn("region"),
        "words": config.TextColumn("evidence words"),
    }


def rule_reading(form: str, rule: Rule) -> None:
    """How to read the labels of this page, with the rule that is set."""
    st.caption(
        f"**How to read it.** Suppressed: $\\delta < {rule.below:g}$ and $q < {rule.level:g}$; exaggerated: "
        f"$\\delta > {rule.above:g}$ and $q < {rule.level:g}$; aligned: the whole 95% interval lies within "
        "the thresholds; uncertain: the pairs cannot tell. $q$ is the sign-flip p-value over pairs, after "
        "Benjamini and Hochberg over all tested concepts. Labels of other pages are the stored ones. "
        "Prevalence is that on the side where the concept fires more often."
    )
    components.reading(form)
