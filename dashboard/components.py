"""The parts pages are made of: the shared selection, links, image cards, help lines and empty states.

Names and captions come from the web: they are shown with `st.text` or escaped by `theme.plain`, never read
as Markdown or HTML. What is chosen lives in the URL, so that every view is a link.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import streamlit as st
from PIL import Image

from dashboard import charts, pictures, queries, theme
from dashboard.theme import Mode

CONCEPT_PAGE, MAP_PAGE = "app_pages/concept.py", "app_pages/concept_map.py"


@dataclass(frozen=True)
class Selection:
    """What every page shows: a lake, one SAE, one generator (None before any comparison), one form."""

    lake: str
    sae: str
    generator: str | None
    form: str
    mode: Mode

    def compared(self) -> pl.DataFrame:
        """Every concept with its numbers for the chosen generator."""
        return queries.compared(self.lake, self.sae, self.generator)

    def url(self, **more: str | int) -> dict[str, str]:
        """The query parameters of a link that keeps the selection and adds to it."""
        kept = {"sae": self.sae, "generator": self.generator, "form": self.form, **more}
        return {key: str(value) for key, value in kept.items() if value is not None}


def mode() -> Mode:
    """The theme in the browser; light where it is not known."""
    return "dark" if st.context.theme.type == "dark" else "light"


# The URL


def note_if_unknown(key: str, valid: Callable[[str], bool], what: str) -> None:
    """Say in one line that the link asked for something that is not here; the default is shown instead."""
    asked = st.query_params.get(key)
    if asked and not valid(asked):
        shown = theme.plain(asked, 40)
        st.info(f"The link asks for {what} “{shown}”, which is not here: showing the default.", icon=":material/link_off:")


def _is_number(text: str, low: int, high: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high


def choose(label: str, options: Sequence[str], key: str, help: str | None = None) -> str:
    """A select box bound to the query parameter `key`; the first option is the default."""
    note_if_unknown(key, lambda asked: asked in options, label.lower())
    return st.selectbox(label, list(options), key=key, bind="query-params", help=help) or options[0]


def choose_form() -> str:
    """The form of the energy difference, bound to the URL."""
    note_if_unknown("form", lambda asked: asked in theme.FORMS, "form")
    chosen = st.segmented_control(
        "Form", theme.FORMS, default=theme.FORMS[0], key="form", bind="query-params", required=True, width="stretch"
    )
    return chosen or theme.FORMS[0]


def choose_concept(frame: pl.DataFrame) -> int | None:
    """The chosen concept, typed as a number and bound to the URL; None where none is chosen."""
    last = int(frame["concept_id"].max() or 0)  # pyright: ignore[reportArgumentType]
    note_if_unknown("concept", lambda asked: _is_number(asked, 0, last), "concept")
    chosen = st.number_input(
        "Concept", 0, last, value=None, step=1, key="concept", bind="query-params", placeholder=f"0 to {last}"
    )
    return None if chosen is None else int(chosen)


def choose_opacity() -> float:
    """How strongly heat maps cover their image, 0 to 1, bound to the URL in percent."""
    note_if_unknown("opacity", lambda asked: _is_number(asked, 0, 100), "opacity")
    return st.slider("Heat map opacity", 0, 100, 60, 5, format="%d%%", key="opacity", bind="query-params") / 100


def go_to_concept(concept_id: int) -> None:
    """Choose a concept before the next run (for callbacks)."""
    st.session_state["concept"] = concept_id


# Lines and states


def reading(form: str) -> None:
    """How to read an energy difference, with the formula of the chosen form."""
    st.caption(
        f"**How to read it.** The {form} form is `{theme.FORM_FORMULA[form]}`; E is a concept's energy: its codes summed over "
        f"an image's tokens, averaged over images. 0.5 is aligned, towards 0 suppressed, towards 1 exaggerated. "
        f"{theme.FORM_READING[form]}"
    )


def command(text: str, line: str) -> None:
    """A sentence and the command that answers it."""
    st.caption(text)
    st.code(line, language=None)


def empty(what: str, why: str, line: str, icon: str = ":material/hourglass_empty:") -> None:
    """A designed empty state: what is missing, why, and the one command that fills it."""
    with st.container(border=True):
        st.subheader(f"{icon} {what}", anchor=False)
        command(why, line)


def no_lake(lake: str) -> None:
    """The page shown where there is no lake at the address."""
    st.title("No lake here yet", anchor=False)
    st.text(f"There are no tables at {theme.one_line(lake, 200)}")
    empty(
        "Make the example",
        "A few minutes on a laptop, without a network or a GPU: captions, pictures, concepts, comparison.",
        "python -m pipeline demo --lake lake",
        ":material/play_circle:",
    )
    command("Or open another lake:", "python -m streamlit run dashboard/app.py -- --lake PATH")


def foreign_table(problem: str) -> None:
    """The page shown where a table is not what this version of the dashboard knows."""
    st.title("This lake cannot be read", anchor=False)
    st.text(theme.one_line(problem, 600))
    empty(
        "See what is in it",
        "Its tables were written by another version or another program. The status lists every table and its rows.",
        "python -m pipeline status --lake lake",
        ":material/table_view:",
    )


def label_badge(label: str | None) -> None:
    """The label of a concept as a badge; colour, arrow and word say the same."""
    colour, icon = theme.LABEL_BADGE.get(label or "", ("gray", ":material/remove:"))
    st.badge(label if label in theme.LABEL_BADGE else "no energy", icon=icon, color=colour)


def concept_link(now: Selection, concept_id: int, name: str | None, tail: str = "") -> None:
    """A link to a concept's page that keeps the selection."""
    label = theme.plain(theme.concept_title(concept_id, name), 48) + tail
    st.page_link(CONCEPT_PAGE, label=label, icon=":material/arrow_forward:", query_params=now.url(concept=concept_id))


# Image cards


@dataclass(frozen=True)
class Heat:
    """What a heat map is drawn with: its concept's scale over all pictures shown, and the opacity."""

    top: float
    opacity: float


@dataclass(frozen=True)
class Pair:
    """One card: the image the concept was found in, its twin, their caption and heat maps."""

    caption: str
    main: bytes | None
    main_source: str
    main_grid: np.ndarray | None
    twin: bytes | None
    twin_source: str
    twin_grid: np.ndarray | None
    energy: float | None


def load_pairs(now: Selection, concept_id: int, source: str, limit: int, with_heat: bool = True) -> list[Pair]:
    """The best images of a concept on one side with their twins, ready to be shown."""
    top = queries.top_images(now.lake, now.sae, source, concept_id, now.generator or "", limit)
    if top.is_empty():
        return []
    twin_source = str(top["twin_source"][0])
    twins = top["twin_image_id"].drop_nulls().to_list()
    mains = queries.thumbnails(now.lake, source, top["image_id"].to_list())
    others = queries.thumbnails(now.lake, twin_source, twins)
    words = queries.captions(now.lake, top["pair_id"].to_list())
    codes = queries.patch_codes(now.lake, now.sae, twin_source, concept_id, twins) if with_heat else {}
    return [
        Pair(
            caption=words.get(row["pair_id"], ""),
            main=mains.get(row["image_id"]),
            main_source=source,
            main_grid=pictures.patch_grid(row["heatmap"], row["grid_height"], row["grid_width"]),
            twin=others.get(row["twin_image_id"]),
            twin_source=twin_source,
            twin_grid=pictures.patch_grid(codes.get(row["twin_image_id"]), row["grid_height"], row["grid_width"]),
            energy=row["energy"],
        )
        for row in top.iter_rows(named=True)
    ]


def shared_scale(pairs: Sequence[Pair]) -> float:
    """The largest code on any patch of these pictures: one scale, so that weak firing looks weak."""
    grids = [grid for pair in pairs for grid in (pair.main_grid, pair.twin_grid) if grid is not None and grid.size]
    return max((float(grid.max()) for grid in grids), default=0.0)


def _show_image(data: bytes | None, grid: np.ndarray | None, heat: Heat | None, source: str) -> None:
    picture: Image.Image = pictures.decode(data) or pictures.placeholder()
    if data and heat is not None:
        picture = pictures.overlay(picture, grid, heat.opacity, heat.top)
    st.image(pictures.address(pictures.webp(picture)), width="stretch", alt=f"{source} image")
    st.caption(theme.plain(source, 24) if data else f"{theme.plain(source, 24)}: no image")


def pair_card(pair: Pair, heat: Heat | None = None) -> None:
    """The image and its twin side by side above the caption they share."""
    left, right = st.columns(2, gap="small", wrap=False)
    with left:
        _show_image(pair.main, pair.main_grid, heat, pair.main_source)
    with right:
        _show_image(pair.twin, pair.twin_grid, heat, pair.twin_source)
    st.text(theme.one_line(pair.caption, 140) or "no caption")


def pair_grid(pairs: Sequence[Pair], heat: Heat | None, n_columns: int = 3) -> None:
    """Cards in rows of `n_columns`."""
    for start in range(0, len(pairs), n_columns):
        for column, pair in zip(st.columns(n_columns), pairs[start : start + n_columns], strict=False):
            with column.container(border=True, height="stretch"):
                pair_card(pair, heat)


def concept_card(now: Selection, row: Mapping[str, object], side: str) -> None:
    """A striking concept: its link, numbers, best image on the side that has more of it, and the twin."""
    concept_id = int(str(row["concept_id"]))
    source = "real" if side == "suppressed" else now.generator or "real"
    with st.container(border=True, height="stretch"):
        concept_link(now, concept_id, row.get("name"))  # pyright: ignore[reportArgumentType]
        pairs = load_pairs(now, concept_id, source, 1, with_heat=False)
        if pairs:
            pair_card(pairs[0])
        with st.container(horizontal=True, vertical_alignment="center"):
            label_badge(row.get("label"))  # pyright: ignore[reportArgumentType]
            st.text(theme.delta(row[now.form]))  # pyright: ignore[reportArgumentType]


# Tables


def concept_table(frame: pl.DataFrame, form: str, key: str, height: int = 360) -> int | None:
    """Concepts as a table; the id of the row that was clicked, or None."""
    shown = frame.select(
        pl.col("concept_id").alias("concept"),
        pl.col("name").fill_null("–"),
        pl.col("words").list.head(5).list.join(", ").alias("evidence words"),
        "label",
        pl.col(form).alias("difference"),
        pl.col("energy_real"),
        pl.col("energy_gen"),
        (100 * pl.col("prevalence")).alias("prevalence"),
    )
    event = st.dataframe(
        shown,
        key=key,
        height=height,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        alt="Concepts with their energy differences",
        column_config={
            "difference": st.column_config.NumberColumn(f"difference ({form})", format="%.3f"),
            "energy_real": st.column_config.NumberColumn("E real", format="%.4f"),
            "energy_gen": st.column_config.NumberColumn("E generated", format="%.4f"),
            "prevalence": st.column_config.NumberColumn("prevalence", format="%.1f%%", help="Share of real images"),
        },
    )
    rows = event.selection.rows  # pyright: ignore[reportAttributeAccessIssue]
    return int(shown["concept"][rows[0]]) if rows and rows[0] < shown.height else None


def colour_legend(now: Selection, counts: pl.DataFrame) -> None:
    """The diverging palette and how many concepts carry each label."""
    st.altair_chart(charts.colour_scale(now.mode), width="stretch", alt="Colours from suppressed to exaggerated")
    by_label = dict(counts.select("label", "n").iter_rows())
    with st.container(horizontal=True, gap="small"):
        for label in theme.LABEL_ORDER:
            colour, icon = theme.LABEL_BADGE[label]
            st.badge(f"{theme.number(by_label.get(label, 0))} {label}", icon=icon, color=colour)
