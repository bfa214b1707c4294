"""One pair on the Images page: two images of one caption, concept by concept."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from dashboard import cards, charts_images, components, figures, queries_images, queries_pictures, theme
from dashboard import selection as chosen
from dashboard.datapoints import WEIGHT_READING, go_to_pair, nearest_words, small_files, verdict_badge
from dashboard.selection import Selection
from tables.schemas import REAL

_FIELD = "_pair_field"
N_BARS = 20  # concepts in the figure; the table has all


def one_pair(now: Selection, frame: pl.DataFrame) -> None:
    """Two images of one caption, concept by concept."""
    row = frame.row(_choose_pair(frame), named=True)
    left, right = st.columns([2, 3], gap="large")
    with left:
        _pair_head(now, row, frame.height)
    concepts = queries_images.pair_concepts(
        now.lake, now.sae, now.generator or "", row["real_image_id"], row["image_id"]
    )
    with right:
        if concepts.is_empty():
            components.empty_table("energies", now.lake)
            return
        about = "Concepts that set the two images apart"
        figures.show(charts_images.concept_shares, concepts.head(N_BARS), N_BARS, now.mode, alt=about)
    st.caption(
        "**How to read it.** A bar is one concept's part of the pair's distance,"
        r" $w_k (\xi_\text{gen} - \xi_\text{real}) / \sum_j w_j (\xi_\text{gen} + \xi_\text{real})$; without"
        f" their signs all parts add up to the distance. {WEIGHT_READING} Blue: only in the real image;"
        f" orange: only in"
        " the generated one; grey: in both alike. A click on a row opens its concept."
    )
    _concept_rows(now, concepts)


def _choose_pair(frame: pl.DataFrame) -> int:
    """Previous, the pair's number, next, by rank; the row of the pair that is shown."""
    ids = frame["pair_id"].to_list()
    chosen.note_if_unknown("pair", "pair", lambda asked: chosen.number_of(asked) in ids)
    asked = chosen.number_of(st.query_params.get("pair", ""))
    at = ids.index(asked) if asked in ids else 0
    back, middle, forth, _ = st.columns([1, 2, 1, 3], vertical_alignment="bottom")
    _step(back, "Previous", ids, at - 1)
    st.session_state[_FIELD] = ids[at]
    middle.number_input("Pair", 0, max(ids), value=None, step=1, key=_FIELD, on_change=_take_field)
    _step(forth, "Next", ids, at + 1)
    return at


def _step(column: Any, label: str, ids: Sequence[int], to: int) -> None:
    column.button(
        label,
        icon=":material/chevron_left:" if label == "Previous" else ":material/chevron_right:",
        icon_position="left" if label == "Previous" else "right",
        width="stretch",
        disabled=not 0 <= to < len(ids),
        on_click=go_to_pair,
        args=(ids[min(max(to, 0), len(ids) - 1)],),
    )


def _take_field() -> None:
    typed = st.session_state[_FIELD]
    if typed is not None:
        go_to_pair(int(typed))


def _pair_head(now: Selection, row: Mapping[str, Any], n_pairs: int) -> None:
    one = pl.DataFrame(
        [{key: row[key] for key in ("pair_id", "real_image_id", "image_id", "nearest_image_id")}]
    )
    real, drawn, words = small_files(now, one, "real_image_id", "image_id")
    sides = [
        cards.Side(REAL, real.get(row["real_image_id"])),
        cards.Side(now.generator or "", drawn.get(row["image_id"])),
    ]
    if row["nearest_image_id"] != row["real_image_id"]:
        near = queries_pictures.thumbnails(now.lake, REAL, one["nearest_image_id"].to_list())
        sides.append(cards.Side("nearest real", near.get(row["nearest_image_id"])))
    with st.container(border=True):
        for column, side in zip(st.columns(len(sides), gap="small"), sides, strict=True):
            with column.container(gap="xxsmall"):
                cards.picture(side)
        st.text(theme.one_line(words.get(row["pair_id"], ""), 300) or "no caption")
        with st.container(horizontal=True, vertical_alignment="center"):
            verdict_badge(row["verdict"])
            st.text(f"rank {row['rank']:,} of {n_pairs:,} (1 is the most different)")
    figures = {
        "Distance": theme.delta(row["distance"]),
        "Similarity": theme.delta(row["similarity"]),
        "Score": theme.number(row["memorisation"]),
        "q": theme.number(row["q"], 2),
        "Edges": theme.delta(row["nearest_edges"]),
        "Layout": theme.delta(row["nearest_layout"]),
    }
    with st.container(horizontal=True, gap="medium"):
        for label, value in figures.items():
            st.metric(label, value, width="content")
    st.text(nearest_words(row))


def _concept_rows(now: Selection, concepts: pl.DataFrame) -> None:
    titles = [theme.concept_title(*each) for each in concepts.select("concept_id", "name").iter_rows()]
    number = st.column_config.NumberColumn
    key = f"pair-concepts-{st.query_params.get('pair', '')[:9]}"
    st.dataframe(
        concepts.select(
            pl.col("concept_id").alias("concept"),
            pl.Series("name", titles, dtype=pl.String),
            pl.col("real").alias("energy, real"),
            pl.col("generated").alias("energy, generated"),
            (pl.col("generated") - pl.col("real")).alias("difference"),
            (100 * pl.col("share")).alias("part of the distance"),
        ),
        key=key,
        height=380 if concepts.height > 9 else "content",
        hide_index=True,
        on_select=components.opens_concept(key, concepts["concept_id"].to_list()),
        selection_mode="single-row",
        alt="Both images concept by concept",
        column_config={
            "energy, real": number(format="%.3f"),
            "energy, generated": number(format="%.3f"),
            "difference": number(format="%+.3f"),
            "part of the distance": number(format="%+.2f%%"),
        },
    )
