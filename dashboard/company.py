"""The parts of the Co-occurrence page: what changed, the heat map of a set, one concept and its partners."""

from collections.abc import Sequence

import polars as pl
import streamlit as st

from dashboard import charts_company, components, figures, queries, queries_company, theme
from dashboard import selection as chosen
from dashboard.queries_company import APART, SETS, TOGETHER
from dashboard.selection import Selection
from tables.schemas import REAL

VIEWS = ("what changed", "heat map", "one concept")
SIZES = ("40", "20", "80", "120", "200")
_CHANGE = (
    r"**How to read it.** With $S = X / M$, the share of the $M$ images with the rarer concept in which both"
    r" fire ($X$), the change is $S'_\text{gen} - S'_\text{real}$, both as if the other concept were equally"
    r" frequent"
    " on the two sides: -0.3 means that of 100 images with the rarer one 30 fewer have both. It comes with"
    r" its 95% interval over pairs, and $q$ after Benjamini and Hochberg. Sure: the end of the interval"
    r" nearest to 0,"
    " or 0 where $q$ or the interval cannot tell."
)


def what_changed(now: Selection, frame: pl.DataFrame) -> None:
    """The pairs of concepts whose company a generator changes, the surest first."""
    generator = now.generator or ""
    apart, together, total = queries_company.sure_counts(now.lake, now.sae, generator)
    if not total:
        components.empty_table("cooccurrences", now.lake)
        return
    st.text(
        f"Of {total:,} pairs of concepts, {theme.one_line(generator, 60)} surely drives {apart:,} apart and"
        f" brings {together:,} together."
    )
    side = chosen.choose_switch("Direction", (APART, TOGETHER), "direction")
    text = chosen.choose_search()
    rows = queries_company.changes(now.lake, now.sae, generator, side)
    if text:
        hits = queries.search(frame, text, frame.height)["concept_id"].to_list()
        rows = rows.filter(pl.col("concept_a").is_in(hits) | pl.col("concept_b").is_in(hits))
    total_, exports = st.columns([3, 2], vertical_alignment="center")
    total_.text(f"{rows.height:,} pairs. A click on a row shows its first concept among its partners.")
    with exports:
        table = rows.with_columns(sae=pl.lit(now.sae), generator=pl.lit(generator))
        components.export_buttons(table, "cooccurrence")
    if rows.is_empty():
        with st.container(border=True):
            st.subheader(":material/filter_alt_off: No pair here", anchor=False)
            st.caption("Ask for the other direction or another word.")
    else:
        shown = [*rows["concept_a"], *rows["concept_b"]]
        change_table(rows, titles(frame, shown), "company-changes")
    st.caption(_CHANGE)


def titles(frame: pl.DataFrame, ids: Sequence[int]) -> dict[int, str]:
    """What some concepts are called, on one short line."""
    named = frame.filter(pl.col("concept_id").is_in(ids)).select("concept_id", "name").iter_rows()
    return {concept: theme.one_line(name or "", 30) or "concept" for concept, name in named}


def change_table(rows: pl.DataFrame, names: dict[int, str], key: str) -> None:
    """Pairs of concepts with the company they keep on both sides, and the change; a row opens the first."""
    spans = [theme.interval(*ends) for ends in rows.select("low", "high").iter_rows()]
    words = [
        pl.Series(column, [f"{names.get(k, 'concept')} · {k}" for k in rows[column]], dtype=pl.String)
        for column in ("concept_a", "concept_b")
    ]
    percent, number = ("%.0f%%", st.column_config.NumberColumn)

    def share(prefix: str) -> pl.Expr:
        rarer = pl.min_horizontal(f"{prefix}n_a", f"{prefix}n_b")
        return pl.when(rarer > 0).then(100 * pl.col(f"{prefix}n_images") / rarer)

    st.dataframe(
        rows.select(
            words[0].alias("concept"),
            words[1].alias("with"),
            share("real_").alias("real"),
            share("").alias("generated"),
            pl.col("difference").alias("change"),
            pl.Series("95% interval", spans, dtype=pl.String),
            "q",
            "sure",
            pl.col("real_n_images").alias("n real"),
            pl.col("n_images").alias("n generated"),
        ),
        key=key,
        height=460 if rows.height > 11 else "content",
        hide_index=True,
        on_select=lambda: _take_row(key, rows["concept_a"].to_list()),
        selection_mode="single-row",
        alt="Pairs of concepts and how their company changed",
        column_config={
            "concept": st.column_config.TextColumn(width=140),
            "with": st.column_config.TextColumn(width=140),
            "real": number(format=percent, help="Share of the rarer concept's real images that have both"),
            "generated": number(format=percent, help="The same share of generated images"),
            "change": number(format="%+.2f"),
            "q": number(format="%.3f"),
            "sure": number(format="%+.2f", help="End of the interval nearest to 0; 0 is not sure"),
            "n real": number(width=64, help="Real images with both concepts"),
            "n generated": number(width=92, help="Generated images with both concepts"),
        },
    )


def _take_row(key: str, ids: list[int]) -> None:
    rows = st.session_state[key]["selection"]["rows"]
    if rows and rows[0] < len(ids):
        st.session_state["look"] = "one concept"
        chosen.go_to_concept(ids[rows[0]])


def heat_map(now: Selection, frame: pl.DataFrame) -> None:
    """Every two of up to 200 concepts: how their company changes, or how far they go together."""
    groups = queries_company.communities(now.lake, now.sae)
    which, size, figure = st.columns([2, 1, 2], vertical_alignment="bottom")
    with which:
        kind = chosen.choose_one("Concepts", SETS, "set")
    with size:
        n = int(chosen.choose_one("At most", SIZES, "size"))
    with figure:
        shown = chosen.choose_switch("Shown", ("change", "real and generated"), "shown")
    asked = {"kind": kind, "n": n, "form": now.form, "text": "", "community": 0}
    if kind == "search":
        asked["text"] = chosen.choose_search()
    elif kind == "one community":
        found = [str(each) for each in sorted(groups["community"].drop_nulls().unique())]
        if not found:
            components.empty_table("communities", now.lake)
            return
        asked["community"] = int(chosen.choose_one("Community", found, "community"))
    generator = now.generator or ""
    changed = queries_company.changes(now.lake, now.sae, generator, APART)
    ids = queries_company.concept_set(frame, groups, changed, asked)
    if len(ids) < 2:
        st.caption("There are fewer than two such concepts. Choose another set, or search for another word.")
        return
    drawn = queries_company.among(now.lake, now.sae, generator, ids)
    names, about = titles(frame, ids), f"Heat map of {len(ids)} concepts: {shown}"
    if shown == "change":
        figures.show(charts_company.company_matrix, drawn, ids, names, now.mode, alt=about)
    else:
        real = queries_company.among(now.lake, now.sae, REAL, ids)
        figures.show(charts_company.correlation_matrix, real, drawn, ids, names, now.mode, alt=about)
    st.caption(f"{len(ids)} concepts, those of one community side by side. Empty: seldom or never together.")
    if shown == "change":
        st.caption(_CHANGE)
    else:
        st.caption(
            "**How to read it.** Below the diagonal real images, above it generated ones. The correlation is"
            r" that of the two presences over images, $(P_{ab} - P_a P_b) / \sqrt{P_a (1 - P_a) P_b (1 -"
            r" P_b)}$: 0 is chance,"
            " 1 always together."
        )


def one_concept(now: Selection, frame: pl.DataFrame) -> None:
    """One concept among its partners, in the real images and in the generated ones, and what changed."""
    groups = queries_company.communities(now.lake, now.sae)
    generator = now.generator or ""
    picked = chosen.chosen_concept(frame)
    centre = _default(now, frame, groups) if picked is None else picked
    left, right = st.columns([1, 3], vertical_alignment="bottom")
    with left:
        chosen.choose_concept(frame, centre)
    near = queries_company.partners(now.lake, now.sae, generator, centre)
    ids = [centre, *near]
    names = titles(frame, ids)
    with right:
        components.concept_link(centre, f"{names.get(centre, 'concept')} · {centre}")
    if not near:
        st.caption("It goes together with no other concept often enough to be kept.")
        return
    drawn = queries_company.among(now.lake, now.sae, generator, ids)
    real = queries_company.among(now.lake, now.sae, REAL, ids)
    places = _places(ids, centre, groups, names)
    for column, source, links in zip(st.columns(2), (REAL, generator), (real, drawn), strict=True):
        with column:
            st.subheader(theme.plain(source, 40), anchor=False)
            about = f"Concept {centre} among its partners, {source}"
            figures.show(charts_company.ego_graph, places, links, centre, source != REAL, now.mode, alt=about)
    st.caption(
        "**How to read it.** The wider a line, the higher the correlation of the two presences over these"
        " images; without a line it is 0 or less, or the pair is not kept. On the right the colour is the"
        " change: blue driven apart, orange brought together. Dots of one colour are a community: concepts"
        " that go together in the real images (Louvain's method)."
    )
    own = (pl.col("concept_a") == centre) | (pl.col("concept_b") == centre)
    rows = drawn.filter(own).drop_nulls("difference")
    if rows.height:
        partner = pl.when(pl.col("concept_a") == centre).then("concept_b").otherwise("concept_a")
        flipped = rows.with_columns(partner.alias("concept_a"), pl.lit(centre).alias("concept_b"))
        ordered = flipped.sort(pl.col("sure").fill_null(0.0), "difference")
        change_table(ordered, names, f"partners-{centre}")
        st.caption(_CHANGE)


def _default(now: Selection, frame: pl.DataFrame, groups: pl.DataFrame) -> int:
    """The concept whose company is most surely changed, else the one with the most partners."""
    known = set(frame["concept_id"].to_list())
    first = queries_company.changes(now.lake, now.sae, now.generator or "", APART)["concept_a"].to_list()
    busy = groups.sort("n_partners", descending=True)["concept_id"].to_list()
    return next((concept for concept in [*first, *busy] if concept in known), frame["concept_id"][0])


def _places(ids: list[int], centre: int, groups: pl.DataFrame, names: dict[int, str]) -> pl.DataFrame:
    here = pl.DataFrame({"concept_id": ids}, schema={"concept_id": pl.Int32}).join(
        groups.select("concept_id", "community", "n_members"), on="concept_id", how="left"
    )
    placed = charts_company.ego_places(here, centre)
    words = [
        "in no community" if community is None else f"community {community} ({members} concepts)"
        for community, members in placed.select("community", "n_members").iter_rows()
    ]
    shown = [
        f"{theme.one_line(names.get(concept, 'concept'), 14)} · {concept}" for concept in placed["concept_id"]
    ]
    return placed.with_columns(
        pl.Series("name", shown, dtype=pl.String), pl.Series("group", words, dtype=pl.String)
    )
