"""What would help: the advice on one concept, and on all blindspots of a generator."""

import polars as pl
import streamlit as st

from dashboard import access, components, queries, theme
from dashboard.access import by_version
from dashboard.selection import Selection

N_ROWS = 200
KINDS = {
    "rarely seen": "more samples that show it",
    "badly captioned": "captions that say it",
    "not drawn": "training the generator on it: it is seen and said",
    "drawn unasked": "images without it, under captions that do not ask for it",
    "overdrawn": "a weaker pull towards it: it is asked for, and overdrawn",
}


@by_version("advice")
def advice(lake: str, sae: str, generator: str) -> pl.DataFrame:
    """The advice on a generator's suppressed and exaggerated concepts, by concept."""
    mine = (pl.col("sae") == sae) & (pl.col("generator") == generator)
    rows = access.store(lake).scan("advice").filter(mine).sort("concept_id")
    return rows.select("concept_id", "label", "advice", "reason", "delta", "q", "pair_ids").collect()


def concept_advice(now: Selection, concept_id: int) -> None:
    """One line on what would help a concept, and why; nothing where there is no advice on it."""
    rows = advice(now.lake, now.sae, now.generator or "").filter(pl.col("concept_id") == concept_id)
    for row in rows.iter_rows(named=True):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.badge(theme.plain(row["advice"], 30), icon=":material/lightbulb:", color="violet")
            st.text(theme.one_line(row["reason"], 400), width="stretch")


def advice_table(now: Selection) -> None:
    """Advice on all blindspots, the furthest from aligned first; all of it to export."""
    rows = advice(now.lake, now.sae, now.generator or "")
    head, exports = st.columns([3, 2], vertical_alignment="bottom")
    head.header("What would help", anchor=False)
    if not queries.filled(now.lake, "advice", now.sae):
        components.empty_table("advice", now.lake)
        return
    if rows.is_empty():
        st.caption("No concept of this generator has a label that asks for advice.")
        return
    names = queries.concepts(now.lake, now.sae).select("concept_id", "name")
    rows = rows.join(names, on="concept_id", how="left", maintain_order="left")
    with exports:
        components.export_buttons(rows, "advice")
    counts = dict(rows.group_by("advice").agg(pl.len()).iter_rows())
    shown = rows.sort((pl.col("delta") - theme.ALIGNED).abs(), descending=True).head(N_ROWS)
    titles = [theme.concept_title(*each) for each in shown.select("concept_id", "name").iter_rows()]
    ids = shown["concept_id"].to_list()
    st.dataframe(
        shown.select(
            pl.col("concept_id").alias("concept"),
            pl.Series("name", titles, dtype=pl.String),
            "label",
            "advice",
            pl.col("delta").alias("difference"),
            "reason",
        ),
        key="advice",
        height=320 if shown.height > 7 else "content",
        hide_index=True,
        on_select=components.opens_concept("advice", ids),
        selection_mode="single-row",
        alt="What would help each concept",
        column_config={
            "difference": st.column_config.NumberColumn(format="%.2f"),
            "reason": st.column_config.TextColumn(width="large"),
        },
    )
    told = "; ".join(f"{kind} ({counts[kind]:,}): {helps}" for kind, helps in KINDS.items() if kind in counts)
    st.caption(
        f"**How to read it.** What would help: {told}. It stands on the stored labels, on how often the"
        " concept fires in real images, and on how many of its strongest images have a caption that says it."
        " A click on a row opens its concept."
    )
