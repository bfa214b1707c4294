"""The parts of the Images page: distribution of scores, the browser of pairs, copies."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
import streamlit as st

from dashboard import cards, charts_images, components, figures, queries_images, queries_pictures, theme
from dashboard import selection as chosen
from dashboard.queries_images import ORDERS, SCORES, UNDECIDED, VERDICTS
from dashboard.selection import Selection
from tables.schemas import REAL

VIEWS = ("distribution", "pairs", "copies", "one pair")
CARDS = 9  # on one page

SCORE_READING = {
    "distance": r"$\sum_k w_k\,|\xi_\text{gen} - \xi_\text{real}| \,/\, \sum_k w_k (\xi_\text{gen} +"
    r" \xi_\text{real})$ over the energies $\xi$ of both images: 0 is alike, 1 has no concept in common.",
    "similarity": "Cosine of the two images' weighted energies: 1 is the same concepts in the same shares.",
    "memorisation": "How much more alike a generated image and its nearest real one are than chance makes"
    " them, in standard scores of the null: 0 is chance, 3 is rare.",
    "nearest_energy": "Cosine of weighted energies of a generated image and its nearest real one.",
    "nearest_token": "Cosine of the backbone's CLS tokens of a generated image and its nearest real one.",
    "nearest_edges": "Correlation of the edges of a generated image and its nearest real one, at 32 x 32"
    " pixels: 1 is the same picture.",
    "nearest_layout": "Correlation of colours of a generated image and its nearest real one, at 8 x 8 pixels:"
    " 1 is the same layout.",
    "seed_similarity": "Mean cosine of CLS tokens between the generated images of one caption: near 1, every"
    " seed gives one picture. It needs several seeds.",
}
WEIGHT_READING = (
    r"A concept counts by $w_k = \log\frac{1 + n}{1 + n_k} / e_k$, where $n_k$ of $n$ images have it, with"
    r" the mean energy $e_k$."
)
_BADGE: dict[str, tuple[Literal["violet", "green", "gray"], str]] = {
    "memorised": ("violet", ":material/content_copy:"),
    "template": ("violet", ":material/dashboard:"),
    "faithful": ("green", ":material/check:"),
    "different": ("gray", ":material/call_split:"),
    UNDECIDED: ("gray", ":material/question_mark:"),
}


def go_to_pair(pair_id: int) -> None:
    """Show one pair in the next run; for callbacks."""
    st.session_state["view"] = "one pair"
    st.query_params["pair"] = str(pair_id)


def distribution(now: Selection, frame: pl.DataFrame) -> None:
    """One score over the pairs of every generator, the verdicts, and the pairs at both ends."""
    score = chosen.choose_one("Score", SCORES, "score")
    values = queries_images.scores(now.lake, now.sae, score)
    if values.is_empty():
        st.caption("No pair has this score.")
    else:
        figures.show(
            charts_images.score_distributions,
            *(values, score.replace("_", " "), now.generator, now.mode),
            alt=f"Distribution of {score} per generator",
        )
    weights = f" {WEIGHT_READING}" if score in ("distance", "similarity", "nearest_energy") else ""
    st.caption(f"**How to read it.** {SCORE_READING[score]}{weights} The stroke is the median.")
    verdict_table(queries_images.verdict_counts(now.lake, now.sae))
    for title, rows in (("Most different", frame.head(3)), ("Most alike", frame.tail(3).reverse())):
        st.header(title, anchor=False)
        pair_cards(now, rows)


def verdict_table(counts: pl.DataFrame) -> None:
    """How many pairs of each generator have which verdict."""
    shown = counts if counts[UNDECIDED].sum() else counts.drop(UNDECIDED)
    st.dataframe(
        shown.rename({"n_pairs": "pairs"}),
        hide_index=True,
        height="content",
        alt="Pairs of every generator by verdict",
    )
    st.caption(
        "**Verdicts.** Where the likeness to a real image is beyond chance: memorised, the same picture;"
        " template, the same layout. Else faithful, the real twin is nearer than real images of other"
        " captions; different, it is not. Unless the run was set otherwise, beyond chance is $q < 0.05$, the"
        " same picture has edges that correlate by 0.8, and the same layout colours that do by 0.7."
    )


def browser(now: Selection, frame: pl.DataFrame) -> None:
    """All pairs as cards, narrowed by caption and verdict."""
    search, order = st.columns([3, 2], vertical_alignment="bottom")
    with search:
        text = st.text_input(
            "Caption",
            key="caption",
            type="search",
            bind="query-params",
            placeholder="words of the caption",
            icon=":material/search:",
        )
    with order:
        by = chosen.choose_one("Order", tuple(ORDERS), "order")
    verdicts = chosen.choose_many("Verdict", VERDICTS, "verdict", ())
    words = queries_images.captions(now.lake)
    rows = queries_images.chosen(frame, words, text or "", verdicts, by)
    total, exports = st.columns([3, 2], vertical_alignment="center")
    total.text(f"{rows.height:,} of {frame.height:,} pairs")
    with exports:
        table = rows.with_columns(sae=pl.lit(now.sae), generator=pl.lit(now.generator))
        components.export_buttons(table, "pairs")
    if rows.is_empty():
        with st.container(border=True):
            st.subheader(":material/filter_alt_off: No pair passes", anchor=False)
            st.caption("Ask for another verdict, or fewer words of the caption.")
        return
    place = st.container()
    with st.container(horizontal_alignment="center"):
        page = chosen.choose_page(math.ceil(rows.height / CARDS))
    with place:
        pair_cards(now, rows.slice((page - 1) * CARDS, CARDS))
    st.caption(f"**How to read it.** Distance: {SCORE_READING['distance']} {WEIGHT_READING}")


def pair_cards(now: Selection, rows: pl.DataFrame, n_columns: int = 3) -> None:
    """Cards of pairs: the real image, what was drawn from its caption, verdict and distance."""
    real, drawn, words = small_files(now, rows, "real_image_id", "image_id")
    for start in range(0, rows.height, n_columns):
        part = rows.slice(start, n_columns).iter_rows(named=True)
        for column, row in zip(st.columns(n_columns), part, strict=False):
            with column.container(border=True, height="stretch"):
                with st.container(horizontal=True, vertical_alignment="center"):
                    verdict_badge(row["verdict"])
                    st.text(f"distance {theme.delta(row['distance'])}")
                sides = (
                    cards.Side(REAL, real.get(row["real_image_id"])),
                    cards.Side(now.generator or "", drawn.get(row["image_id"])),
                )
                cards.pair_card(cards.Pair(*sides, words.get(row["pair_id"], "")))
                _pair_button(row["pair_id"], start)


def _pair_button(pair_id: int, at: int) -> None:
    st.button(
        "Concept by concept",
        key=f"open-pair-{pair_id}-{at}",
        type="tertiary",
        icon=":material/arrow_forward:",
        on_click=go_to_pair,
        args=(pair_id,),
    )


def small_files(
    now: Selection, rows: pl.DataFrame, real: str, drawn: str
) -> tuple[dict[int, bytes], dict[int, bytes], dict[int, str]]:
    """Small files of the real and the generated images of two columns, and the captions of the pairs."""
    return (
        queries_pictures.thumbnails(now.lake, REAL, rows[real].to_list()),
        queries_pictures.thumbnails(now.lake, now.generator or "", rows[drawn].to_list()),
        queries_pictures.captions(now.lake, rows["pair_id"].to_list()),
    )


def verdict_badge(verdict: str) -> None:
    """The verdict on a pair; colour, sign and word say the same."""
    colour, icon = _BADGE.get(verdict, _BADGE[UNDECIDED])
    st.badge(verdict if verdict in _BADGE else UNDECIDED, icon=icon, color=colour)


def copies(now: Selection, frame: pl.DataFrame) -> None:
    """Memorised and template cases beside the real image that they are nearest to."""
    found = queries_images.copies(frame)
    counts = dict(found.group_by("verdict").agg(pl.len()).iter_rows())
    n_memorised, n_template = counts.get("memorised", 0), counts.get("template", 0)
    st.text(f"{n_memorised:,} memorised and {n_template:,} after a template, of {frame.height:,} pairs.")
    if found.is_empty():
        with st.container(border=True):
            st.subheader(":material/verified: No copy", anchor=False)
            st.caption("No generated image is more like a real one than chance explains.")
    else:
        place = st.container()
        with st.container(horizontal_alignment="center"):
            page = chosen.choose_page(math.ceil(found.height / CARDS))
        with place:
            _copy_cards(now, found.slice((page - 1) * CARDS, CARDS))
    st.caption(
        "**How to read it.** Edges: correlation of the two pictures' edges at 32 x 32 pixels, 0.8 and more"
        " is the same picture. Layout: of their colours at 8 x 8 pixels. Score: the likeness by energies,"
        " CLS tokens and edges, in standard scores of what chance makes; $q$ is its p-value after Benjamini"
        " and Hochberg."
    )


def _copy_cards(now: Selection, rows: pl.DataFrame, n_columns: int = 3) -> None:
    near, drawn, words = small_files(now, rows, "nearest_image_id", "suspect_image_id")
    for start in range(0, rows.height, n_columns):
        part = rows.slice(start, n_columns).iter_rows(named=True)
        for column, row in zip(st.columns(n_columns), part, strict=False):
            with column.container(border=True, height="stretch"):
                with st.container(horizontal=True, vertical_alignment="center"):
                    verdict_badge(row["verdict"])
                    st.text(f"score {theme.number(row['memorisation'])}")
                sides = (
                    cards.Side(now.generator or "", drawn.get(row["suspect_image_id"])),
                    cards.Side("nearest real", near.get(row["nearest_image_id"])),
                )
                cards.pair_card(cards.Pair(*sides, words.get(row["pair_id"], "")))
                st.text(copy_words(row))
                _pair_button(row["pair_id"], start)


def copy_words(row: Mapping[str, Any]) -> str:
    """How like the two images are, and `nearest_words`."""
    like = f"Edges {theme.delta(row['nearest_edges'])}, layout {theme.delta(row['nearest_layout'])}"
    return f"{like}, q {theme.number(row['q'], 2)}. {nearest_words(row)}"


def nearest_words(row: Mapping[str, Any]) -> str:
    """Whose the nearest real image is, and how often its picture is in the set."""
    own = row["nearest_image_id"] == row["real_image_id"]
    often = row["n_duplicates"]
    times = f" The real image is in the set {often + 1} times." if often else ""
    whose = "its own real image" if own else "the real image of another caption"
    return f"Nearest is {whose}.{times}"
