"""The parts of the Compare page: agreement, scatter, changes, shared blindspots, other SAEs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import streamlit as st

from dashboard import access, cards, charts_compare, components, figures, queries_compare, rankings, theme
from dashboard import selection as chosen
from dashboard.charts_compare import PICK
from dashboard.selection import Selection
from tables.schemas import REAL

STATISTICS = {
    "Pearson": "pearson",
    "Spearman": "spearman",
    "shared suppressed": "jaccard_suppressed",
    "shared exaggerated": "jaccard_exaggerated",
}
STATISTIC_READING = {
    "pearson": "Pearson's $r$ of the ratio form over the concepts tested in both: 1 is the same"
    " differences, 0 nothing in common. The 95% interval is a bootstrap over the pairs that both drew.",
    "spearman": "Spearman's $\\rho$, the correlation of the ranks, of the ratio form over the concepts tested"
    " in both, with a bootstrap interval over the pairs that both drew.",
    "jaccard_suppressed": "Concepts that both suppress over those that either does,"
    " $|A \\cap B| / |A \\cup B|$, by the stored labels. No number: neither has one.",
    "jaccard_exaggerated": "Concepts that both exaggerate over those that either does,"
    " $|A \\cap B| / |A \\cup B|$, by the stored labels. No number: neither has one.",
}
SCATTER_KEY = "scatter"
N_LARGEST = 8  # rises, and as many falls, in the figure of changes
N_ROWS = 200  # of the changes, on the page; the exports have all


def alone(now: Selection) -> None:
    """The empty state while there are not two generators to compare."""
    components.empty(
        "One generator is no comparison",
        "This page sets generators beside each other. Name another one in the configuration and run it again:"
        " what is done already is kept.",
        f"python -m pipeline run CONFIG --lake {theme.one_line(now.lake, 200)}",
        ":material/compare_arrows:",
    )


def agreement(now: Selection, names: list[str]) -> None:
    """How far every two generators agree, in one of four figures."""
    found = queries_compare.agreements(now.lake, now.sae)
    if found.is_empty():
        components.empty_table("agreements", now.lake)
        return
    wanted = STATISTICS[chosen.choose_switch("Figure", list(STATISTICS), "figure")]
    rows = found.filter(pl.col("statistic") == wanted)
    matrix, table = st.columns(2, gap="large")
    with matrix:
        about = "Agreement of every two generators"
        figures.show(charts_compare.agreement_matrix, rows, names, now.mode, alt=about)
    with table:
        _agreement_table(rows)
    st.caption(f"**How to read it.** {STATISTIC_READING[wanted]}")


def _agreement_table(rows: pl.DataFrame) -> None:
    spans = [theme.interval(*ends) for ends in rows.select("low", "high").iter_rows()]
    st.dataframe(
        rows.with_columns(pl.Series("95% interval", spans, dtype=pl.String))
        .sort("value", descending=True)
        .select(
            pl.col("generator_a").alias("one"), pl.col("generator_b").alias("other"), "value", "95% interval"
        ),
        hide_index=True,
        height="content",
        alt="Agreement of every two generators as a table",
        column_config={"value": st.column_config.NumberColumn(format="%.2f")},
    )


def choose_two(now: Selection, names: list[str]) -> tuple[str, str]:
    """The generator of the sidebar, and another one."""
    first = now.generator or names[0]
    field, note = st.columns([2, 3], vertical_alignment="bottom")
    with field:
        second = chosen.choose_one("Against", [name for name in names if name != first], "against")
    note.text(f"Across: {theme.one_line(first, 40)}, chosen on the left. Up: {theme.one_line(second, 40)}.")
    return first, second


def scatter(now: Selection, two: tuple[str, str], changes: pl.DataFrame, frame: pl.DataFrame) -> None:
    """All concepts by their difference in both generators, and the chosen one in pictures beside it."""
    plot, card = st.columns([3, 2], gap="large")
    with card:
        concept_id = chosen.chosen_concept(frame)
        chosen.choose_concept(frame, concept_id)
    points, shade = queries_compare.scattered(now.lake, now.sae, two, now.form, now.mode)
    with plot:
        figures.show(
            charts_compare.generator_scatter,
            *(points, shade, two, concept_id, now.mode),
            key=SCATTER_KEY,
            on_select=_take_point,
            selection_mode=PICK,
            alt=f"Concepts by energy difference in {two[0]} and {two[1]}",
        )
    with card:
        row = frame.filter(pl.col("concept_id") == concept_id) if concept_id is not None else frame.head(0)
        if row.is_empty():
            st.caption("Click a point, or type the number of a concept, to see it here in both generators.")
        else:
            _concept_card(now, two, row.row(0, named=True), changes)


def _take_point() -> None:
    picked = st.session_state[SCATTER_KEY]["selection"].get(PICK) or []
    if picked and isinstance(picked[0].get("concept_id"), int):
        chosen.go_to_concept(picked[0]["concept_id"])


def _concept_card(
    now: Selection, two: tuple[str, str], row: Mapping[str, Any], changes: pl.DataFrame
) -> None:
    """A concept in both generators: labels, numbers, and three images of one caption."""
    concept_id = row["concept_id"]
    numbers = changes.filter(pl.col("concept_id") == concept_id)
    with st.container(border=True):
        components.concept_link(concept_id, row["name"])
        if numbers.is_empty():
            st.caption("It has no energy on either side in one of the two generators.")
            return
        known = numbers.row(0, named=True)
        for end, name in zip("ab", two, strict=True):
            with st.container(gap="xxsmall"):
                st.caption(theme.plain(name, 60))
                with st.container(horizontal=True, vertical_alignment="center"):
                    components.label_badge(known[f"label_{end}"])
                    span = theme.interval(known[f"low_{end}"], known[f"high_{end}"])
                    st.text(f"{theme.delta(known[f'delta_{end}'])} ({span})")
        _three_images(now, two, concept_id, known["delta_a"] <= theme.ALIGNED)


def _three_images(now: Selection, two: tuple[str, str], concept_id: int, real_first: bool) -> None:
    """The real image that shows the concept best, and what both generators drew from its caption."""
    views = [replace(now, generator=name) for name in two]
    found = [cards.load_pairs(view, concept_id, REAL, 1, heat=False) for view in views]
    if not all(found):
        st.caption("It fires in no real image, or the top images are still missing.")
        return
    columns = st.columns(3, gap="small")
    sides = (found[0][0].main, found[0][0].twin, found[1][0].twin)
    for column, side in zip(columns, sides, strict=True):
        with column.container(gap="xxsmall"):
            cards.picture(side)
    st.text(theme.one_line(found[0][0].caption, 140) or "no caption")


def changed(now: Selection, two: tuple[str, str], changes: pl.DataFrame, frame: pl.DataFrame) -> None:
    """What the second generator does otherwise than the first: the largest changes, and all as a table."""
    n_sure = int(changes["sure"].sum())
    st.text(
        f"{n_sure:,} of {changes.height:,} concepts change for sure from {theme.one_line(two[0], 40)}"
        f" to {theme.one_line(two[1], 40)}."
    )
    if n_sure:
        largest = charts_compare.largest_changes(changes, N_LARGEST)
        ids = largest["concept_id"].to_list()
        names = queries_compare.titles(frame.filter(pl.col("concept_id").is_in(ids)))
        about = "Concepts that changed most"
        figures.show(charts_compare.change_dumbbells, largest, names, N_LARGEST, now.mode, alt=about)
        st.caption(f"Hollow: {theme.plain(two[0], 60)}. Full: {theme.plain(two[1], 60)}.")
    named = changes.join(frame.select("concept_id", "name", "words"), on="concept_id", how="left")
    _change_table(now, two, named.head(N_ROWS))
    st.caption(
        "**How to read it.** Change is $c = \\delta_b - \\delta_a$. Its 95% interval is made of both"
        " intervals $[l, u]$ by square-and-add: from $c - \\sqrt{(\\delta_b - l_b)^2 + (u_a - \\delta_a)^2}$"
        " to $c + \\sqrt{(u_b - \\delta_b)^2 + (\\delta_a - l_a)^2}$. Generators share their real images, so"
        " it is too wide rather than too narrow. Sure: it leaves out 0. A click on a row opens its concept."
    )
    _change_exports(now, two, named)


def _change_table(now: Selection, two: tuple[str, str], rows: pl.DataFrame) -> None:
    titles_ = [theme.concept_title(*each) for each in rows.select("concept_id", "name").iter_rows()]
    spans = [theme.interval(*ends) for ends in rows.select("change_low", "change_high").iter_rows()]
    shown = rows.select(
        pl.col("concept_id").alias("concept"),
        pl.Series("name", titles_, dtype=pl.String),
        "delta_a",
        "label_a",
        "delta_b",
        "label_b",
        "change",
        pl.Series("interval", spans, dtype=pl.String),
        "sure",
        pl.col("words").list.head(5).list.join(", ").alias("evidence words"),
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        shown,
        key="changes",
        height=380 if shown.height > 9 else "content",
        hide_index=True,
        on_select=components.opens_concept("changes", shown["concept"].to_list()),
        selection_mode="single-row",
        alt="What changed between the two generators",
        column_config={
            "delta_a": number("before", format="%.2f", help=f"Difference in {theme.plain(two[0], 60)}"),
            "label_a": st.column_config.TextColumn("label before"),
            "delta_b": number("after", format="%.2f", help=f"Difference in {theme.plain(two[1], 60)}"),
            "label_b": st.column_config.TextColumn("label after"),
            "change": number(format="%+.2f"),
        },
    )


def _change_exports(now: Selection, two: tuple[str, str], rows: pl.DataFrame) -> None:
    table = rows.with_columns(
        sae=pl.lit(now.sae), form=pl.lit(now.form), generator_a=pl.lit(two[0]), generator_b=pl.lit(two[1])
    )
    components.export_buttons(table, "changes")


def shared_blindspots(now: Selection, names: list[str], frame: pl.DataFrame) -> None:
    """Which blindspots generators have in common and which are their own."""
    label = chosen.choose_switch("Label", ("suppressed", "exaggerated"), "side")
    sets = rankings.shared(queries_compare.labels(now.lake, now.sae), label)
    if sets.is_empty():
        st.caption(f"No generator has a concept that is {label}, by the stored labels.")
        return
    bars, members = st.columns([3, 2], gap="large")
    with bars:
        figures.show(
            charts_compare.shared_bars,
            *(sets.select("generators", "n"), names, label, now.mode),
            width="content",
            alt=f"Concepts {label} by the set of generators that share them",
        )
    with members:
        words = [" + ".join(each) for each in sets["generators"]]
        which = words.index(chosen.choose_one("Shared by exactly", words, "set"))
        ids = sets["concept_ids"][which].to_list()
        _members_table(now, ids, frame)
    st.caption(
        "**How to read it.** A row is a set of generators, its members joined dots; the bar counts the"
        f" concepts with the stored label {label} in all of them and in no other, every concept once."
    )


def _members_table(now: Selection, ids: list[int], frame: pl.DataFrame) -> None:
    rows = frame.filter(pl.col("concept_id").is_in(ids)).sort("prevalence", descending=True, nulls_last=True)
    names = [theme.concept_title(*each) for each in rows.select("concept_id", "name").iter_rows()]
    st.dataframe(
        rows.select(
            pl.col("concept_id").alias("concept"),
            pl.Series("name", names, dtype=pl.String),
            (100 * pl.col("prevalence")).alias("in real images"),
        ),
        key="members",
        height=260 if rows.height > 6 else "content",
        hide_index=True,
        on_select=components.opens_concept("members", rows["concept_id"].to_list()),
        selection_mode="single-row",
        alt="Concepts of this set",
        column_config={"in real images": st.column_config.NumberColumn(format="%.1f%%")},
    )


def across_saes(now: Selection) -> None:
    """How far other SAEs, perhaps on other backbones, find the same."""
    found = queries_compare.sae_agreements(now.lake, now.sae)
    if found.is_empty():
        components.empty(
            "Only one SAE so far",
            "With a second one on the same images, of another seed or on another backbone, this part says"
            " how far both find the same blindspots. What is drawn already is not drawn again.",
            f"python -m pipeline run CONFIG --set sae.seed=1 --lake {theme.one_line(now.lake, 200)}",
            ":material/hub:",
        )
        return
    chart, table = st.columns([2, 3], gap="large")
    with chart:
        figures.show(charts_compare.sae_dots, found, now.mode, alt="Agreement with other SAEs")
    with table:
        _sae_table(now, found)
    st.caption(
        "**How to read it.** Concepts of the two SAEs are matched by the correlation of their energies"
        " over the real images; $\\rho$ is Spearman's of the matched concepts' energy differences (ratio"
        " form): 1 is the same order, 0 none in common. Same label: the share of matched concepts with the"
        " same label in both."
    )


def _sae_table(now: Selection, rows: pl.DataFrame) -> None:
    backbones = [access.sae_facts(now.lake, sae).backbone or "–" for sae in rows["other_sae"]]
    spans = [theme.interval(*ends) for ends in rows.select("low", "high").iter_rows()]
    number = st.column_config.NumberColumn
    st.dataframe(
        rows.select(
            "generator",
            pl.col("other_sae").alias("other SAE"),
            pl.Series("backbone", backbones, dtype=pl.String),
            pl.col("spearman").alias("rho"),
            pl.Series("95% interval", spans, dtype=pl.String),
            (100 * pl.col("same_label")).alias("same label"),
            pl.col("n_matched").alias("matched"),
            "correlation",
        ),
        hide_index=True,
        height="content",
        alt="Agreement with other SAEs as a table",
        column_config={
            "rho": number(format="%.2f"),
            "same label": number(format="%.0f%%"),
            "matched": number(help="Concepts with a counterpart"),
            "correlation": number(format="%.2f", help="Mean over the matched concepts"),
        },
    )
