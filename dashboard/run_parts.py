"""The parts of the Runs page: the list, the two runs that are chosen, and what is different about them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
import streamlit as st

from dashboard import access, components, history, theme
from dashboard import selection as chosen
from dashboard.history import Run
from dashboard.selection import Selection

ONE, OTHER = "run", "with"
NOTHING = "nothing"
STATUS: dict[str, Literal["green", "violet", "red"]] = {
    "finished": "green",
    "running": "violet",
    "failed": "red",
    "killed": "red",
}


def no_runs(now: Selection) -> None:
    """The empty state while no run is on record, or its records cannot be read."""
    components.empty(
        "No run is on record",
        "Every stage records its parameters, rates, figures and the table versions that it read and wrote."
        " The records lie in the lake's folder mlflow, or where MLFLOW_TRACKING_URI says; neither has any of"
        " this lake. If they are elsewhere, start the dashboard with that address.",
        f"python -m pipeline run CONFIG --lake {theme.one_line(now.lake, 200)}",
        ":material/history:",
    )


def choose_stages(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs of some stages; all where none is chosen."""
    stages = sorted(runs["stage"].drop_nulls().unique().to_list())
    if len(stages) < 2:
        return runs
    wanted = chosen.choose_many("Stage", stages, "stage", ())
    return runs.filter(pl.col("stage").is_in(list(wanted))) if wanted else runs


def run_list(runs: pl.DataFrame) -> None:
    """All runs, newest first; a click on a row chooses its run."""
    shown = history.listed(runs)
    st.dataframe(
        shown,
        key="run-list",
        height=320 if shown.height > 8 else "content",
        hide_index=True,
        on_select=functools.partial(_take_row, shown["run"].to_list()),
        selection_mode="single-row",
        alt="Runs, newest first",
        column_config={
            "started": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm:ss", help="UTC"),
            "read": st.column_config.TextColumn("tables read", width=200, help="With their versions"),
            "wrote": st.column_config.TextColumn("tables written", width=200, help="With their versions"),
            "run": st.column_config.TextColumn("MLflow run", width=120),
        },
    )


def _take_row(ids: list[str]) -> None:
    rows = st.session_state["run-list"].selection.rows
    if rows and rows[0] < len(ids):
        st.query_params[ONE] = ids[rows[0]]


def choose_two(runs: pl.DataFrame) -> tuple[Run, Run | None]:
    """Two runs from the URL; by default the newest, beside the one before of its stage."""
    known: dict[str, Run] = {run["run_id"]: run for run in runs.iter_rows(named=True)}
    left, right = st.columns(2)
    with left:
        first = known[_choose_run("Run", known, list(known), ONE)]
    alike = [key for key, run in known.items() if run["stage"] == first["stage"]]
    earlier = alike[alike.index(first["run_id"]) + 1 :]
    later = alike[: alike.index(first["run_id"])]
    rest = [key for key in known if key not in alike]
    options = [*earlier, *later[::-1], NOTHING, *rest]
    with right:
        second = _choose_run("Beside", known, options, OTHER)
    return first, known.get(second)


def _choose_run(label: str, known: Mapping[str, Run], options: Sequence[str], key: str) -> str:
    """A select box of runs whose ids, not their titles, are in the URL; the first is the default."""
    chosen.note_if_unknown(key, "a run", lambda asked: asked in options or asked in known)
    asked = st.query_params.get(key, "")
    field = f"_field_{key}"
    st.session_state[field] = asked if asked in options else options[0]
    return st.selectbox(
        label,
        options,
        key=field,
        format_func=lambda each: history.title(known[each]) if each in known else each,
        on_change=_take_field,
        args=(key, field),
    )


def _take_field(key: str, field: str) -> None:
    st.query_params[key] = st.session_state[field]


def run_heads(runs: Sequence[Run | None]) -> None:
    """Who the chosen runs are: status, start, length, commit, error, and the way to MLflow's pages."""
    for column, run in zip(st.columns(2), runs, strict=True):
        if run is not None:
            with column.container(border=True, height="stretch"):
                _head(run)


def _head(run: Run) -> None:
    status = (run["status"] or "unknown").lower()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(theme.plain(run["stage"] or run["name"] or "run", 40), color="gray")
        st.badge(theme.plain(status, 20), color=STATUS.get(status, "gray"))
        st.text(
            ", ".join(each for each in (history.duration(run["seconds"]), history.rate(run)) if each != "–")
        )
    st.text(f"commit {theme.one_line(run['git_commit'] or 'unknown', 40)}")
    st.code(run["run_id"], language=None)
    if run["error"]:
        st.text(theme.one_line(run["error"], 300))
    address = access.run_address(run["experiment_id"], run["run_id"])
    if address:
        st.link_button("Open in MLflow", address, icon=":material/open_in_new:")


def comparison(first: Run, second: Run | None, mode: theme.Mode) -> None:
    """Parameters, metrics and table versions of the two runs; what differs is marked and comes first."""
    only = second is not None and (
        chosen.choose_switch("Show", ("everything", "what differs"), "show") == "what differs"
    )
    sides = ("params", "metrics")
    one, other = (
        [history.values(run[side]) for side in sides] if run else [None, None] for run in (first, second)
    )
    parts = {
        "Parameters": history.beside(one[0] or {}, other[0]),
        "Metrics": history.metric_changes(one[1] or {}, other[1]),
        "Tables": history.beside(
            history.table_versions(first), history.table_versions(second) if second else None
        ),
    }
    for heading, frame in parts.items():
        st.subheader(heading, anchor=False)
        shown = frame.filter("differs") if only else frame
        if shown.is_empty():
            st.caption("Nothing differs." if only else "None on record.")
        else:
            _side_by_side(shown, second is not None, mode, heading)
    marks = (
        "Rows with ≠ differ between the two runs and come first; change is the right value minus the left."
    )
    st.caption(
        f"**How to read it.** {marks if second else ''} A table's version counts its commits: a stage that"
        " read version 29 of images saw exactly what was committed up to then. Rates are per second of the"
        " whole stage."
    )


def _side_by_side(frame: pl.DataFrame, two: bool, mode: theme.Mode, heading: str) -> None:
    names = {"key": heading.lower(), "one": "run", **({"other": "beside", "change": "change"} if two else {})}
    columns = [
        pl.col(name).fill_null("–").alias(word) for name, word in names.items() if name in frame.columns
    ]
    mark = pl.when("differs").then(pl.lit("≠")).otherwise(pl.lit("")).alias("≠")
    table = frame.select(*([mark] if two else []), *columns).to_pandas()
    pale = f"background-color: {theme.ACCENT[mode][0]}"
    differs = frame["differs"].to_list()
    styled = table.style.apply(lambda row: [pale if differs[row.name] else ""] * len(row), axis=1)
    st.dataframe(
        styled if two else table,
        hide_index=True,
        height=330 if frame.height > 9 else "content",
        alt=f"{heading} of the chosen runs",
        column_config={"≠": st.column_config.TextColumn(width=36)},
    )


def figures(lake: str, run: Run) -> None:
    """The pictures that a run kept, such as its training curve or a sample sheet."""
    pictures = access.run_figures(lake, run["run_id"])
    if not pictures:
        return
    st.subheader("Figures", anchor=False)
    for start in range(0, len(pictures), 2):
        for column, (name, address) in zip(st.columns(2), pictures[start : start + 2], strict=False):
            with column.container(border=True, height="stretch"):
                st.image(address, width="stretch", alt=theme.one_line(name, 80))
                st.caption(theme.plain(name, 80))


def mlflow_pages(lake: str) -> None:
    """How to open MLflow's own pages on records that lie in the lake."""
    command = access.mlflow_command(lake)
    if command:
        st.header("MLflow's own pages", anchor=False)
        st.caption("They show the same runs, with curves and searches. Start them in another window:")
        st.code(command, language=None)
