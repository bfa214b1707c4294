"""A lake that a pipeline is writing while people look at it."""

import subprocess
import sys
import time

import polars as pl
import pytest

from dashboard import access
from tables import TableStore
from tests.dashboard import lakes

PAGES = (
    *("overview", "concept_map", "concept", "blindspots", "compare", "cooccurrence", "images", "runs"),
    *(("images", "pairs"), ("images", "copies"), ("cooccurrence", "heat map")),
)
# Appends, replaces, compacts and makes tables as stages do, until it is told to stop.
WRITER = """
import sys, pathlib, polars as pl
from tables import TableStore

lake, stop = TableStore(sys.argv[1]), pathlib.Path(sys.argv[2])
differences = lake.scan("energy_differences").drop("run_id").collect()
energies = lake.scan("energies").drop("run_id").collect().unique("concept_id").head(5)
advice = lake.scan("advice").drop("run_id").collect()
for turn in range(10_000):
    if stop.exists():
        break
    for generator in differences["generator"].unique(maintain_order=True):
        mine = differences.filter(pl.col("generator") == generator)
        rows = mine if turn % 2 else mine.head(8)
        where = {"sae": rows["sae"][0], "generator": generator}
        at = {"shard": f"turn-{turn}", "stage": "compare", "run_id": f"run-{turn}"}
        lake.replace("energy_differences", rows, where=where, **at)
    more = energies.with_columns(image_id=pl.lit(turn + 1, pl.Int64))
    lake.append("energies", more, shard=f"turn-{turn}", stage="encode", run_id=f"run-{turn}")
    where = {"sae": advice["sae"][0], "generator": advice["generator"][0]}
    at = {"shard": f"turn-{turn}", "stage": "advise", "run_id": f"run-{turn}"}
    lake.replace("advice", advice if turn % 2 else advice.clear(), where=where, **at)
    lake.compact("energies")
"""


def test_pages_open_while_tables_change(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(access, "VERSIONS_SECONDS", 0)
    lake, stop = lakes.full_lake(tmp_path / "lake"), tmp_path / "stop"
    before = TableStore(lake).versions()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, lake, str(stop)], stderr=subprocess.PIPE)
    try:
        while TableStore(lake).version("energies") == before["energies"]:
            assert writer.poll() is None
            time.sleep(0.1)
        for page in PAGES:
            access.look_again()
            name, view = page if isinstance(page, tuple) else (page, "")
            app = open_page(lake, name, concept="2", view=view, look=view)
            assert not app.exception, page
            assert "cannot be read" not in app.title[0].value
        assert writer.poll() is None
    finally:
        stop.touch()
        _, complaint = writer.communicate(timeout=60)
    assert writer.returncode == 0, complaint.decode()
    assert TableStore(lake).versions()["energy_differences"] > before["energy_differences"] + 2


@pytest.mark.parametrize("table", ["energy_differences", "concepts", "images", "datapoints"])
def test_a_table_that_disappears_or_changes_its_columns_gets_a_sentence(open_page, tmp_path, table):
    lake = lakes.full_lake(tmp_path / "lake")
    rows = TableStore(lake).scan(table).drop("run_id").collect()
    folder = tmp_path / "lake" / "tables" / table
    subprocess.run(["rm", "-r", str(folder)], check=True)
    rows.rename({rows.columns[-1]: "an_older_name"}).write_delta(str(folder))
    access.look_again()
    for page in ("overview", "concept_map", "concept", "blindspots", "compare", "images"):
        app = open_page(lake, page, concept="2")
        assert not app.exception, page
    app = open_page(lake, "images" if table == "datapoints" else "overview")
    assert table in "\n".join(text.value for text in app.text)
    assert "python -m pipeline status" in "\n".join(code.value for code in app.code)


@pytest.mark.parametrize(
    ("table", "page"), [("probes", "concept"), ("advice", "concept"), ("advice", "blindspots")]
)
def test_a_part_of_another_release_leaves_the_rest_of_its_page(open_page, tmp_path, table, page):
    lake = lakes.full_lake(tmp_path / "lake")
    folder = tmp_path / "lake" / "tables" / table
    subprocess.run(["rm", "-r", str(folder)], check=True)
    pl.DataFrame({"sae": ["an older one"]}).write_delta(str(folder))
    app = open_page(lake, page, concept="2")
    assert not app.exception
    assert [part.value for part in app.subheader if "cannot be read" in part.value]
    assert table in "\n".join(text.value for text in app.text)
    assert app.title[0].value != "This lake cannot be read"
    if page == "concept":
        assert "Fires together with" in [part.value for part in app.header]
