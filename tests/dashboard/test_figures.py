"""Figures are drawn up once per content, and never taken for another one."""

import altair as alt
import polars as pl
import pytest

from dashboard import figures

CALLS: list[str] = []


def bars(rows: pl.DataFrame, title: str) -> alt.Chart:
    CALLS.append(title)
    return alt.Chart(rows).mark_bar().encode(x=alt.X("n:Q", title=title))


def _made(rows: pl.DataFrame, title: str) -> dict:
    return figures._specification("bars", bars, (rows, title))


@pytest.fixture(autouse=True)
def nothing_kept():
    figures._specification.clear()
    CALLS.clear()


def test_the_same_rows_are_drawn_up_once():
    first, second = (_made(pl.DataFrame({"n": range(100)}), "a") for _ in range(2))
    assert CALLS == ["a"]
    assert first == second and first["encoding"]["x"]["title"] == "a"


def test_one_other_value_anywhere_is_another_figure():
    frames = [pl.DataFrame({"n": [0] * k + [1] + [0] * (99 - k)}) for k in (0, 50, 99)]
    data = [_made(frame, "a")["datasets"] for frame in frames]
    assert len(CALLS) == 3 and data[0] != data[1] != data[2] != data[0]
    _made(frames[0].rename({"n": "m"}), "a")
    _made(frames[0].cast(pl.Float64), "a")
    _made(frames[0], "b")
    assert len(CALLS) == 6


def test_lists_and_nulls_count_too():
    rows = [[["a", "b"], ["c"]], [["a"], ["b", "c"]], [["a", "b"], None]]
    prints = {figures._digest(pl.DataFrame({"n": row}, schema={"n": pl.List(pl.String)})) for row in rows}
    assert len(prints) == 3
