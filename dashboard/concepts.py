"""The parts that show concepts: tables, bar and head of the concept page, neighbours, partners, the map."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from dashboard import queries, theme
from dashboard.components import chooses_concept, concept_link, empty_table, label_badge
from dashboard.renaming import name_editor
from dashboard.selection import Selection, choose_concept, chosen_concept, go_to_concept
from tables.schemas import REAL


def concept_step(concept_id: int, name: str | None, tail: str = "") -> None:
    """A way to another concept from the concept page itself, where a link would not change the address."""
    st.button(
        f"{theme.plain(theme.concept_title(concept_id, name), 48)}{tail}",
        key=f"step-{concept_id}",
        icon=":material/arrow_forward:",
        type="tertiary",
        on_click=go_to_concept,
        args=(concept_id,),
    )


def search_hits(hits: pl.DataFrame, limit: int = 6) -> None:
    """Links to the best hits of a search."""
    if hits.is_empty():
        st.caption("No concept has this name, word or id.")
    for row in hits.head(limit).iter_rows(named=True):
        concept_link(row["concept_id"], row["name"])
    if hits.height > limit:
        st.caption(f"{hits.height - limit} more in the table below.")


def concept_bar(frame: pl.DataFrame, default: int) -> int:
    """Previous, the concept's number, next; the id of the concept that is shown."""
    ids = frame["concept_id"].to_list()
    back, middle, forth, _ = st.columns([1, 2, 1, 3], vertical_alignment="bottom")
    chosen = chosen_concept(frame)
    shown = default if chosen is None else chosen
    at = ids.index(shown)
    with middle:
        choose_concept(frame, shown)
    back.button(
        "Previous",
        icon=":material/chevron_left:",
        width="stretch",
        disabled=at == 0,
        on_click=go_to_concept,
        args=(ids[max(0, at - 1)],),
    )
    forth.button(
        "Next",
        icon=":material/chevron_right:",
        icon_position="right",
        width="stretch",
        disabled=at == len(ids) - 1,
        on_click=go_to_concept,
        args=(ids[min(len(ids) - 1, at + 1)],),
    )
    return shown


def concept_header(now: Selection, row: Mapping[str, Any]) -> None:
    """Name, number, label, evidence words and the numbers for the chosen generator."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(
            theme.plain(theme.concept_title(row["concept_id"], row["name"])), anchor=False, width="content"
        )
        label_badge(row["label"])
        name_editor(now, row)
    words = ", ".join(theme.one_line(word, 30) for word in (row["words"] or [])[:8])
    st.text(
        f"Concept {row['concept_id']}. "
        + (f"Its images are captioned with: {words}" if words else "No caption word stands out.")
    )
    if now.generator is None:
        return
    figures = {
        "E real": theme.number(row["energy_real"]),
        "E generated": theme.number(row["energy_gen"]),
        f"Difference ({now.form})": theme.delta(row[now.form]),
        "Interval": theme.interval(row["low"], row["high"]) if row["form"] == now.form else "–",
        "In real images": theme.percent(row["prevalence"]),
    }
    for column, (label, value) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(label, value)


def numbers_table(numbers: pl.DataFrame, form: str) -> None:
    """One concept's numbers in every generator, the chosen form first."""
    spans = [theme.interval(*ends) for ends in numbers.select("low", "high").iter_rows()]
    others = [other for other in theme.FORMS if other != form]
    st.dataframe(
        numbers.with_columns(pl.Series("interval", spans, dtype=pl.String)).select(
            "generator",
            "label",
            form,
            "interval",
            "q",
            "energy_real",
            "energy_gen",
            "n_fired_real",
            "n_fired_gen",
            "n_pairs",
            *others,
        ),
        hide_index=True,
        height="content",
        alt="Numbers per generator",
        column_config={
            "energy_real": st.column_config.NumberColumn("E real", format="%.4f"),
            "energy_gen": st.column_config.NumberColumn(
                "E gen", format="%.4f", help="Energy in generated images"
            ),
            **{each: st.column_config.NumberColumn(format="%.3f") for each in theme.FORMS},
            "interval": st.column_config.TextColumn(help=f"Of the {theme.one_line(numbers['form'][0])} form"),
            "q": st.column_config.NumberColumn(format="%.3f"),
            "n_fired_real": st.column_config.NumberColumn(
                "fires, real", help="Real images in which it fires"
            ),
            "n_fired_gen": st.column_config.NumberColumn(
                "fires, gen", help="Generated images in which it fires"
            ),
            "n_pairs": st.column_config.NumberColumn("pairs"),
        },
    )


def caption_table(rows: pl.DataFrame) -> None:
    """A named concept where captions mention its name, and where they do not."""
    if rows.is_empty():
        return
    word, form = theme.one_line(rows["word"][0], 40), rows["form"][0]
    spans = [
        [theme.interval(*ends) for ends in rows.select(f"{part}_low", f"{part}_high").iter_rows()]
        for part in ("mentioned", "rest")
    ]
    st.dataframe(
        rows.select(
            "generator",
            pl.col("n_mentioned").alias("pairs that say it"),
            pl.col("mentioned").alias("difference there"),
            pl.Series("interval there", spans[0], dtype=pl.String),
            pl.col("n_rest").alias("other pairs"),
            pl.col("rest").alias("difference elsewhere"),
            pl.Series("interval elsewhere", spans[1], dtype=pl.String),
        ),
        hide_index=True,
        height="content",
        alt="Energy difference by caption mention",
        column_config={
            name: st.column_config.NumberColumn(format="%.3f")
            for name in ("difference there", "difference elsewhere")
        },
    )
    st.caption(
        f"**How to read it.** The {theme.plain(form)} form over the pairs whose caption says"
        f" “{theme.plain(word)}”, and over all others: does the generator fail when it is asked, or does the"
        " concept fail to appear unasked?"
    )


def neighbour_links(now: Selection, frame: pl.DataFrame, concept_id: int, limit: int = 8) -> None:
    """Links to the concepts whose atoms are nearest, with the cosine."""
    near = queries.neighbours(now.lake, now.sae, concept_id)[:limit]
    if not near and not queries.filled(now.lake, "concepts", now.sae):
        empty_table("concepts", now.lake)
        return
    named = frame.filter(pl.col("concept_id").is_in([other for other, _ in near]))
    names = dict(named.select("concept_id", "name").iter_rows())
    for other, cosine in near:
        concept_step(other, names.get(other), f"  :gray[{theme.delta(cosine)}]")
    st.caption(
        "**How to read it.** The cosine of the two atoms: 1 is the same direction, 0 nothing in common."
    )


def cooccurrence_table(now: Selection, frame: pl.DataFrame, concept_id: int) -> None:
    """The concepts that fire in the same real images, and what changed in the generated ones."""
    real = queries.cooccurring(now.lake, now.sae, concept_id, REAL).select(
        "partner", "n_images", "strength", "lift"
    )
    if real.is_empty():
        if queries.filled(now.lake, "cooccurrences", now.sae):
            st.caption("It fires together with no other concept often enough to be kept.")
        else:
            empty_table("cooccurrences", now.lake)
        return
    drawn = queries.cooccurring(now.lake, now.sae, concept_id, now.generator or "")
    shown = (
        real.join(drawn.select("partner", "difference"), on="partner", how="left", maintain_order="left")
        .join(
            frame.select("concept_id", "name"),
            left_on="partner",
            right_on="concept_id",
            how="left",
            maintain_order="left",
        )
        .select(
            pl.col("partner").alias("concept"),
            pl.col("name").fill_null("–"),
            "n_images",
            "lift",
            "strength",
            "difference",
        )
    )
    st.dataframe(
        shown.head(50),
        key="partners",
        height=300 if shown.height > 7 else "content",
        hide_index=True,
        on_select=chooses_concept("partners", shown["concept"].to_list()),
        selection_mode="single-row",
        alt="Concepts that fire in the same images",
        column_config={
            "n_images": st.column_config.NumberColumn("images", help="Real images in which both fire"),
            "lift": st.column_config.NumberColumn(format="%.2f"),
            "strength": st.column_config.NumberColumn(format="%.4f"),
            "difference": st.column_config.NumberColumn("change", format="%+.2f"),
        },
    )
    st.caption(
        "**How to read it.** Strength is $\\sum z_a z_b$ over tokens, averaged over images; lift is "
        "$P(a, b) / (P(a)\\,P(b))$: 1 is chance, more is togetherness. The change is that of the share of "
        "the rarer concept's images that have both, apart from how often each is drawn. A click on a row "
        "opens its concept."
    )
