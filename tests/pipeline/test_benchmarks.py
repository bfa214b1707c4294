"""The table of a benchmark, its JSON and its verdict."""

import json

import pytest

from pipeline import benchmarks
from pipeline.benchmarks import Row, run_benchmark

ROWS = [Row("enough", 0.9, 0.85, beside="peer 0.5"), Row("slow", 3, 2, at_least=False)]


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setitem(benchmarks.BENCHMARKS, "example", __name__)


def measure() -> list[Row]:
    return ROWS


def test_a_bar_that_falls_short_is_said_and_fails_the_benchmark(example, capsys, tmp_path):
    assert run_benchmark("example", tmp_path / "out.json") is False
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["enough", "0.900", ">=", "0.85", "holds", "peer", "0.5"]
    assert lines[2].split() == ["slow", "3.000", "<=", "2", "FAILS"]
    assert [row["holds"] for row in json.loads((tmp_path / "out.json").read_text())] == [True, False]


def test_a_figure_that_is_no_number_never_holds():
    assert not Row("lost", float("nan"), 0.5).holds
    assert not Row("lost", float("nan"), 0.5, at_least=False).holds


def test_an_unknown_benchmark_names_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown benchmark 'wrld'.*world"):
        run_benchmark("wrld")
