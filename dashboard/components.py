"""The parts all pages are made of: help lines, empty states, badges, links, the facts of a lake.

Names and captions come from the web: they are shown with `st.text`, in data frames, or escaped by
`theme.plain`; never read as Markdown or HTML.
"""

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import polars as pl
import streamlit as st

from dashboard import access, theme
from dashboard.selection import go_to_concept
from tables import TableError
from tables.schemas import TABLES

CONCEPT_PAGE = "app_pages/concept.py"
_OPENED = "_opened"
_CONFIG = "CONFIG is the configuration of the run: a TOML file, or the name of a preset such as demo."


# Lines and states


def reading(form: str) -> None:
    """How to read an energy difference, with the formula of the chosen form."""
    st.caption(
        f"**How to read it.** The {form} form is ${theme.FORM_FORMULA[form]}$, where $E$ is the energy of a "
        "concept: its codes summed over an image's tokens, averaged over images. 0.5 is aligned, towards 0 "
        f"suppressed, towards 1 exaggerated. {theme.FORM_READING[form]}"
    )


def label_reading(frame: pl.DataFrame) -> None:
    """How to read the labels, with the form they were given on."""
    forms = frame["form"].drop_nulls()
    judged = f" on the {theme.plain(forms[0])} form" if len(forms) else ""
    st.caption(
        f"**How to read it.** Suppressed and exaggerated concepts lie beyond a threshold{judged} and "
        "pass the sign-flip test over pairs at a false discovery rate of 5%; of aligned ones the whole 95% "
        "interval lies within the thresholds; of uncertain ones the pairs cannot tell."
    )


def empty(what: str, why: str, command: str, icon: str = ":material/hourglass_empty:") -> None:
    """A designed empty state: what is missing, why, and the one command that fills it."""
    with st.container(border=True):
        st.subheader(f"{icon} {what}", anchor=False)
        st.caption(why)
        st.code(command, language=None)


def stage_command(stage: str, lake: str) -> str:
    """The command of one stage."""
    return f"python -m pipeline {stage} CONFIG --lake {theme.one_line(lake, 200)}"


def empty_table(table: str, lake: str) -> None:
    """The empty state of a part of a page whose table has no rows yet."""
    stage = TABLES[table].writers[-1]
    why = f"One row of {table} is {TABLES[table].row}; the stage {stage} writes it. {_CONFIG}"
    empty("Nothing to show here yet", why, stage_command(stage, lake))


def no_lake(lake: str) -> None:
    """The page shown where there is no lake at the address."""
    st.title("There is no lake here yet", anchor=False)
    st.text(f"No tables at {theme.one_line(lake, 200)}")
    empty(
        "Make the example",
        "Captions, pictures, concepts and their comparison: minutes on a laptop, without a network or a GPU.",
        "python -m pipeline demo --lake lake",
        ":material/play_circle:",
    )
    empty(
        "Or open another lake",
        "A folder or an address of an object store; BLINDSPOTS_LAKE says the same.",
        "python -m streamlit run dashboard/app.py -- --lake PATH",
        ":material/folder_open:",
    )


def foreign_table(problem: str, lake: str) -> None:
    """The page shown where a table is not what this version of the dashboard knows."""
    st.title("This lake cannot be read", anchor=False)
    st.text(theme.one_line(problem, 900))
    empty(
        "See what is in it",
        "The status lists every table of the lake with its rows, version and last run.",
        f"python -m pipeline status --lake {theme.one_line(lake, 200)}",
        ":material/table_view:",
    )


@contextmanager
def readable(lake: str) -> Iterator[None]:
    """A part of a page: where one of its tables is of another release it says so, and the page goes on."""
    try:
        yield
    except TableError as problem:
        with st.container(border=True):
            st.subheader(":material/table_view: This part cannot be read", anchor=False)
            st.text(theme.one_line(str(problem), 900))
            st.code(f"python -m pipeline status --lake {theme.one_line(lake, 200)}", language=None)


def partly_filled(lake: str) -> None:
    """The page shown while there is no result of any SAE: what is there, and the next step."""
    st.title("The lake is being filled", anchor=False)
    status = access.status(lake)
    rows = dict(status.select("table", "rows").iter_rows())
    missing = next((name for name in theme.FILLING_ORDER if not rows.get(name)), "concept_stats")
    stage = TABLES[missing].writers[-1]
    why = f"It writes {missing}; one row is {TABLES[missing].row}. Pages appear as tables fill; no restart."
    empty(f"Next: {stage}", f"{why} {_CONFIG}", stage_command(stage, lake))
    done = status.select(
        "table",
        pl.col("table")
        .replace_strict({name: table.row for name, table in TABLES.items()})
        .alias("one row is"),
        "rows",
        pl.col("updated").alias("last written"),
    )
    st.dataframe(done, hide_index=True, height="content", alt="Tables of the lake and their rows")


def label_badge(label: str | None) -> None:
    """The label of a concept as a badge; colour, sign and word say the same."""
    colour, icon = theme.LABEL_BADGE.get(label or "", ("gray", ":material/remove:"))
    st.badge(label if label in theme.LABEL_BADGE else "not compared", icon=icon, color=colour)


def label_badges(shown: pl.DataFrame, of: pl.DataFrame | None = None) -> None:
    """How many concepts carry each label; of how many, where only a part of them is shown."""
    counts, totals = (
        dict(each.group_by("label").agg(pl.len()).iter_rows())
        for each in (shown, shown if of is None else of)
    )
    in_part = of is not None and shown.height < of.height
    with st.container(horizontal=True, gap="small"):
        for label in theme.LABEL_ORDER:
            colour, icon = theme.LABEL_BADGE[label]
            tail = f" of {totals.get(label, 0):,}" if in_part else ""
            st.badge(f"{counts.get(label, 0):,}{tail} {label}", icon=icon, color=colour)


def concept_link(concept_id: int, name: str | None, tail: str = "") -> None:
    """A link to a concept's page that keeps the selection."""
    label = f"**{theme.plain(theme.concept_title(concept_id, name), 48)}**{tail}"
    st.page_link(
        CONCEPT_PAGE, label=label, icon=":material/arrow_forward:", query_params={"concept": str(concept_id)}
    )


def opens_concept(key: str, ids: Sequence[int], generators: Sequence[str] = ()) -> Callable[[], None]:
    """What a table does when a row is clicked: choose its concept, and its generator where rows differ in it.

    `follow_row` then goes to the concept's page; rows of a table are no links.
    """

    def take() -> None:
        rows = st.session_state[key].selection.rows
        if rows and rows[0] < len(ids):
            st.session_state[_OPENED] = ids[rows[0]]
            if generators:
                st.session_state["generator"] = generators[rows[0]]

    return take


def chooses_concept(key: str, ids: Sequence[int]) -> Callable[[], None]:
    """What a table does when a row is clicked on a page that shows the chosen concept: choose its concept."""

    def take() -> None:
        rows = st.session_state[key].selection.rows
        if rows and rows[0] < len(ids):
            go_to_concept(ids[rows[0]])

    return take


def follow_row() -> None:
    """Go to the concept whose row was clicked, if one was; before the page that has the table."""
    concept_id = st.session_state.pop(_OPENED, None)
    if concept_id is not None:
        st.switch_page(CONCEPT_PAGE, query_params={"concept": str(concept_id)})


def as_csv(table: pl.DataFrame) -> bytes:
    """CSV in UTF-8; what is a list is joined by `; `."""
    lists = [column for column, kind in table.schema.items() if isinstance(kind, pl.List)]
    return table.with_columns(pl.col(lists).list.join("; ")).write_csv().encode()


def as_parquet(table: pl.DataFrame) -> bytes:
    """Parquet; lists stay lists."""
    file = io.BytesIO()
    table.write_parquet(file)
    return file.getvalue()


def export_buttons(table: pl.DataFrame, name: str) -> None:
    """All rows of a table to take away, as CSV and as Parquet; made when they are asked for."""
    kinds = {
        "CSV": (as_csv, "text/csv"),
        "Parquet": (as_parquet, "application/vnd.apache.parquet"),
    }
    with st.container(horizontal=True, horizontal_alignment="right"):
        for kind, (made, mime) in kinds.items():
            st.download_button(
                kind,
                functools.partial(made, table),
                f"{name}.{kind.lower()}",
                mime,
                key=f"{name}-{kind}",
                on_click="ignore",
                icon=":material/download:",
                disabled=table.is_empty(),
                help=f"All {table.height:,} rows as {kind}",
            )
