"""Blindspots, Compare and Runs: full, empty and partly filled lakes, and links of any kind."""

import io
import shutil
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from dashboard import access, queries_compare, queries_pictures
from dashboard.rankings import Rule
from tables import REAL, TableStore, image_id
from tests.dashboard import lakes
from tracking import Tracker, queries

PAGES = ("blindspots", "compare", "runs")
HOSTILE = "<b>**b**</b> [l](http://example.com) $x$ :red[x]"


@pytest.fixture(autouse=True, scope="module")
def no_named_store():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def run_lake(full_lake, tmp_path_factory) -> str:
    """The full lake with recorded runs: two of one stage, one that failed, all with texts that mean harm."""
    lake = tmp_path_factory.mktemp("runs") / "lake"
    shutil.copytree(full_lake, lake)
    tracker = Tracker(lake)
    for k in (8, 16):
        with tracker.stage("train-sae", {"k": k, "seed": 0, "note": HOSTILE}, {"images": 3}) as run:
            run.log(r2=0.5 + k / 100)
            run.rate(100, "tokens")
            run.wrote("codes", k)
            run.image(Image.new("RGB", (8, 8)), "training")
    with pytest.raises(ZeroDivisionError), tracker.stage("encode", {}):
        raise ZeroDivisionError(HOSTILE)
    return str(lake)


def _texts(app: AppTest) -> str:
    parts = [*app.title, *app.header, *app.subheader, *app.text, *app.caption, *app.code, *app.info]
    return "\n".join(str(part.value) for part in parts)


def _tables(app: AppTest) -> list[pl.DataFrame]:
    return [pl.from_pandas(table.value) for table in app.dataframe]


@pytest.mark.parametrize("page", PAGES)
def test_a_full_lake_shows_every_page(open_page, run_lake, page):
    app = open_page(run_lake, page)
    assert not app.exception
    assert "Nothing to show" not in _texts(app)
    assert "How to read it" in _texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_empty_tables_name_the_next_command(open_page, empty_lake, page):
    app = open_page(empty_lake, page)
    assert not app.exception
    assert "python -m pipeline sample CONFIG" in _texts(app)


@pytest.mark.parametrize(
    ("missing", "page", "command"),
    [
        ("energy_differences", "blindspots", "compare"),
        ("energy_differences", "compare", "compare"),
        ("agreements", "compare", "compare"),
        ("sae_agreements", "compare", "run CONFIG --set sae.seed=1 --lake"),
    ],
)
def test_a_part_without_rows_names_its_command(open_page, full_lake, tmp_path, missing, page, command):
    app = open_page(_without(full_lake, tmp_path, missing), page)
    assert not app.exception
    assert f"python -m pipeline {command}" in _texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_partly_filled_lake_breaks_no_page(open_page, full_lake, tmp_path, page):
    for missing in (("images", "pairs"), ("nulls", "top_images"), ("concepts", "layout", "concept_stats")):
        assert not open_page(_without(full_lake, tmp_path / missing[0], *missing), page).exception


def _without(full: str, folder: Path, *missing: str) -> str:
    shutil.copytree(full, folder / "lake")
    for table in missing:
        shutil.rmtree(folder / "lake" / "tables" / table)
    return str(folder / "lake")


@pytest.mark.parametrize("page", PAGES)
def test_links_that_make_no_sense_fall_back(open_page, run_lake, page):
    keys = {
        "blindspots": ("below", "above", "level", "of", "region", "least", "rank", "label", "page", "q"),
        "compare": ("figure", "against", "concept", "side", "set"),
        "runs": ("stage", "run", "with", "show"),
    }
    for value in ("-1", "99999999999999999999", "", "nan", "<b>**b**</b> 💥 \u202e :red[x]", "٣", "a" * 5000):
        app = open_page(run_lake, page, **dict.fromkeys(("sae", "generator", "form", *keys[page]), value))
        assert not app.exception
        if value:
            assert _texts(app).count("which is not here") >= 3


@pytest.mark.parametrize("page", PAGES)
def test_foreign_text_is_never_read_as_markdown(open_page, run_lake, page):
    app = open_page(run_lake, page, concept="2", label=["suppressed", "aligned", "uncertain", "exaggerated"])
    for element in [*app.markdown, *app.caption, *app.title, *app.header, *app.subheader]:
        assert "<b>" not in element.value
        assert "](http" not in element.value
        assert "](javascript" not in element.value
        assert not getattr(element.proto, "allow_html", False)


@pytest.mark.parametrize("page", PAGES)
def test_pages_write_nothing(open_page, run_lake, page):
    before = TableStore(run_lake).versions(), queries.runs(run_lake).height
    open_page(run_lake, page)
    assert (TableStore(run_lake).versions(), queries.runs(run_lake).height) == before


# Blindspots


def test_the_ranking_starts_with_what_was_planted(open_page, full_lake):
    table = _tables(open_page(full_lake, "blindspots"))[0]
    assert set(table["concept"][:4]) == {0, 1, 2, 4}  # 60 times more, and 50 times less
    assert set(table["label"]) <= {"suppressed", "exaggerated"}
    assert table["rank"].to_list() == list(range(1, table.height + 1))
    images = [*table["real"], *table["generated"]]
    assert all(each.startswith("data:image/webp;base64,") for each in images if each)


def test_thresholds_and_q_are_live_and_in_the_link(open_page, full_lake):
    app = open_page(full_lake, "blindspots", below="0", above="1")
    assert "0 of 40 concepts" in _texts(app)  # no ratio is below 0 or above 1
    assert "No concept passes" in _texts(app)
    app.slider(key="below").set_value(0.5).run()
    wide = _tables(app)[0]
    assert set(wide["label"]) == {"suppressed"}
    assert (wide["delta"] < 0.5).all()
    app.slider(key="level").set_value(0.02).run()  # the tested ones have q 0.03
    assert "0 of 40 concepts" in _texts(app)
    assert not app.exception


def test_filters_come_from_the_link(open_page, full_lake):
    everything = {"label": ["suppressed", "aligned", "uncertain", "exaggerated"]}
    assert "1 of 40 concepts" in _texts(open_page(full_lake, "blindspots", q="stripes", **everything))
    region = open_page(full_lake, "blindspots", region="region 2", **everything)
    assert set(_tables(region)[0]["concept"]) <= set(range(2, 40, 4))
    both = open_page(full_lake, "blindspots", of="all generators", **everything)
    assert "80 of 80 concepts" in _texts(both)
    assert "generator" in _tables(both)[0].columns
    app = open_page(full_lake, "blindspots", page="2", **everything)
    assert _tables(app)[0]["rank"][0] == 21


def test_a_row_shows_the_pair_where_the_concept_is_strongest(full_lake):
    generator = lakes.GENERATORS[0]
    found = queries_pictures.row_images(full_lake, lakes.SAE, generator, [(0, REAL), (1, generator)])
    best = TableStore(full_lake).scan("top_images").filter(pl.col("rank") == 0).collect()
    for concept, source in ((0, REAL), (1, generator)):
        pair = best.filter((pl.col("concept_id") == concept) & (pl.col("source") == source))["pair_id"][0]
        row = found.row(by_predicate=pl.col("concept_id") == concept, named=True)
        assert row["real_image_id"] == image_id(lakes.DATASET, REAL, pair)
        assert row["gen_image_id"] == image_id(lakes.DATASET, generator, pair)


def test_the_rule_starts_where_the_stored_labels_were_given(full_lake, tmp_path):
    assert queries_compare.rule_of(full_lake, lakes.SAE, lakes.GENERATORS[0]) == Rule()  # its run is unknown
    lake = tmp_path / "lake"
    shutil.copytree(full_lake, lake)
    settings = {"suppressed_below": 0.2, "exaggerated_above": 0.8, "level": 0.01}
    with Tracker(lake).stage("compare", settings) as run:
        store, where = TableStore(str(lake)), {"sae": lakes.SAE, "generator": lakes.GENERATORS[0]}
        mine = pl.col("generator") == lakes.GENERATORS[0]
        rows = store.scan("energy_differences").filter(mine).drop("run_id").collect()
        at = {"shard": "again", "stage": "compare", "run_id": run.run_id}
        store.replace("energy_differences", rows, where=where, **at)
    access.runs.clear()
    assert queries_compare.rule_of(str(lake), lakes.SAE, lakes.GENERATORS[0]) == Rule(0.2, 0.8, 0.01)


# Compare


def test_two_generators_are_chosen_and_their_concept_shown(open_page, full_lake):
    app = open_page(full_lake, "compare", generator="tiny-suppressed", concept="3")
    assert app.selectbox(key="against").options == ["tiny-sd"]
    assert "Across: tiny-suppressed" in _texts(app)
    assert app.number_input[0].value == 3
    changes = next(table for table in _tables(app) if "change" in table.columns)
    assert set(changes["concept"]) == set(range(39))  # the dead one has no energy


def test_one_generator_is_no_comparison(open_page, full_lake, tmp_path):
    shutil.copytree(full_lake, tmp_path / "lake")
    store = TableStore(str(tmp_path / "lake"))
    where = {"sae": lakes.SAE, "generator": "tiny-sd"}
    nothing = store.scan("energy_differences").drop("run_id").head(0).collect()
    at = {"shard": "none", "stage": "compare", "run_id": "run-2"}
    store.replace("energy_differences", nothing, where=where, **at)
    app = open_page(str(tmp_path / "lake"), "compare")
    assert not app.exception
    assert "One generator is no comparison" in _texts(app)


def test_other_saes_are_found_from_both_ends(open_page, full_lake, tmp_path):
    shutil.copytree(full_lake, tmp_path / "lake")
    lake = str(tmp_path / "lake")
    figures = {
        "n_matched": 12,
        "correlation": 0.8,
        "spearman": 0.7,
        "low": 0.5,
        "high": 0.9,
        "same_label": 0.75,
    }
    rows = pl.DataFrame([{"sae": "later", "other_sae": lakes.SAE, "generator": "tiny-sd", **figures}])
    TableStore(lake).append("sae_agreements", rows, shard="x", stage="compare", run_id="run-3")
    for sae, other in ((lakes.SAE, "later"), ("later", lakes.SAE)):
        found = queries_compare.sae_agreements(lake, sae)
        assert found.select("other_sae", "spearman").rows() == [(other, 0.7)]
    app = open_page(lake, "compare")
    assert any("same label" in table.columns for table in _tables(app))


# Runs


def test_without_records_the_page_says_where_they_would_be(open_page, full_lake):
    app = open_page(full_lake, "runs")
    assert not app.exception
    assert "No run is on record" in _texts(app)
    assert "python -m pipeline run CONFIG" in _texts(app)


def test_two_runs_of_a_stage_stand_side_by_side(open_page, run_lake):
    train = queries.runs(run_lake).filter(pl.col("stage") == "train-sae")["run_id"].to_list()
    app = open_page(run_lake, "runs", run=train[0])
    runs, params, metrics, versions = _tables(app)[:4]
    assert runs["stage"].to_list() == ["encode", "train-sae", "train-sae"]
    assert params.row(0) == ("≠", "k", "16", "8")
    assert set(params["≠"][1:]) == {""}
    assert ("≠", "r2", "0.6600", "0.5800", "−0.0800") in metrics.rows()
    assert versions.rows()[0] == ("≠", "codes, wrote", "16", "8")
    assert "images, read" in versions["tables"].to_list()
    only = open_page(run_lake, "runs", run=train[0], show="what differs")
    assert _tables(only)[1].rows() == [("≠", "k", "16", "8")]


def test_a_failed_run_says_why(open_page, run_lake):
    failed = queries.runs(run_lake).filter(pl.col("stage") == "encode")["run_id"][0]
    app = open_page(run_lake, "runs", run=failed)
    assert "ZeroDivisionError" in _texts(app)
    assert not app.exception


def test_figures_of_a_run_are_small_files(run_lake):
    run = queries.runs(run_lake).filter(pl.col("stage") == "train-sae")["run_id"][0]
    ((name, address),) = access.run_figures(run_lake, run)
    assert name == "training.png"
    assert address.startswith("data:image/webp;base64,")
    assert access.run_figures(run_lake, "../../etc") == []


@pytest.mark.parametrize(
    ("store", "address"),
    [
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/#/experiments/7/runs/ab"),
        ("https://me:secret@host/mlflow", "https://host/mlflow/#/experiments/7/runs/ab"),
        ("http://[::1]:5000", "http://[::1]:5000/#/experiments/7/runs/ab"),
        ("sqlite:///x.db", None),
        ("javascript:alert(1)", None),
        ("http:///nowhere", None),
        ("", None),
    ],
)
def test_the_way_to_mlflow_needs_an_http_address(monkeypatch, store, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert queries.run_address("7", "ab") == address


def test_exports_can_be_read_again():
    from dashboard.components import as_csv, as_parquet

    table = pl.DataFrame({"name": ["a,b\n<b>", None], "words": [["x", "y"], []], "delta": [0.25, None]})
    back = pl.read_csv(io.BytesIO(as_csv(table)))
    assert back["name"].to_list() == ["a,b\n<b>", None]
    assert back["words"].to_list() == ["x; y", ""]
    assert pl.read_parquet(io.BytesIO(as_parquet(table))).equals(table)
