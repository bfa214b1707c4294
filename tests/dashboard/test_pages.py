"""Every page with full, partly filled and empty tables, and with links that make no sense."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from tables import REAL, TableStore
from tests.dashboard import lakes

PAGES = ("overview", "concept_map", "concept", "images", "cooccurrence")


def _texts(app: AppTest) -> str:
    parts = [*app.title, *app.header, *app.subheader, *app.text, *app.caption, *app.code, *app.info]
    return "\n".join(str(part.value) for part in parts)


@pytest.mark.parametrize("page", PAGES)
def test_a_full_lake_shows_every_page(open_page, full_lake, page):
    app = open_page(full_lake, page)
    assert not app.exception
    assert "Nothing to show" not in _texts(app)
    assert "How to read it" in _texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_empty_tables_name_the_next_command(open_page, empty_lake, page):
    app = open_page(empty_lake, page)
    assert not app.exception
    assert "python -m pipeline sample CONFIG" in _texts(app)


def test_a_lake_that_is_not_there_says_how_to_make_one(open_page, tmp_path):
    app = open_page(str(tmp_path / "nowhere"), "overview")
    assert not app.exception
    assert "python -m pipeline demo" in _texts(app)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("missing", "page", "command"),
    [
        ("layout", "concept_map", "layout"),
        ("concepts", "concept", "name"),
        ("cooccurrences", "concept", "cooccur"),
        ("top_images", "concept", "compare"),
        ("energy_differences", "overview", "compare"),
        ("energy_differences", "concept", "compare"),
        ("datapoints", "images", "datapoints"),
        ("cooccurrences", "cooccurrence", "cooccur"),
    ],
)
def test_a_part_without_rows_names_its_command(open_page, full_lake, tmp_path, missing, page, command):
    app = open_page(_without(full_lake, tmp_path, missing), page, concept="2")
    assert not app.exception
    assert f"python -m pipeline {command} CONFIG" in _texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_partly_filled_lake_breaks_no_page(open_page, full_lake, tmp_path, page):
    for missing in (
        ("energy_differences",),
        ("images", "pairs"),
        ("nulls", "distributions", "caption_differences", "communities"),
        ("energies", "datapoints", "cooccurrences"),
        ("codes", "concept_stats", "layout", "concepts"),
    ):
        lake = _without(full_lake, tmp_path / missing[0], *missing)
        assert not open_page(lake, page, concept="2").exception


def _without(full: str, folder: Path, *missing: str) -> str:
    shutil.copytree(full, folder / "lake")
    for table in missing:
        shutil.rmtree(folder / "lake" / "tables" / table)
    return str(folder / "lake")


def test_a_table_of_another_schema_is_named(open_page, full_lake, tmp_path):
    lake = tmp_path / "foreign"
    shutil.copytree(full_lake, lake)
    shutil.rmtree(lake / "tables" / "layout")
    pl.DataFrame({"something": ["else"]}).write_delta(str(lake / "tables" / "layout"))
    app = open_page(str(lake), "overview")
    assert not app.exception
    assert "layout" in _texts(app)
    assert "python -m pipeline status" in _texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_links_that_make_no_sense_fall_back(open_page, full_lake, page):
    for value in ("-1", "99999999999999999999", "", "<b>**b**</b> 💥 \u202e :red[x]", "٣", "a" * 5000):
        keys = ("sae", "generator", "form", "concept", "opacity", "q")
        app = open_page(full_lake, page, **dict.fromkeys(keys, value))
        assert not app.exception
        if value:
            assert "which is not here" in _texts(app)


def test_a_link_opens_its_concept_generator_and_form(open_page, full_lake):
    app = open_page(full_lake, "concept", concept="1", generator="tiny-suppressed", form="relative")
    assert not app.exception
    assert app.title[0].value == "stripes"
    assert app.selectbox(key="generator").value == "tiny-suppressed"
    assert "relative" in _texts(app)


def test_next_and_neighbours_move_the_address(open_page, full_lake):
    app = open_page(full_lake, "concept", concept="6")
    next(button for button in app.button if button.label == "Next").click().run()
    assert app.title[0].value == "concept 7"
    assert app.query_params["concept"] == "7"
    app.button(key="step-8").click().run()
    assert app.title[0].value == "concept 8"
    assert not app.exception


def test_a_number_that_is_typed_moves_the_address(open_page, full_lake):
    app = open_page(full_lake, "concept_map")
    app.number_input[0].set_value(3).run()
    assert app.query_params["concept"] == "3"
    app.number_input[0].set_value(None).run()
    assert "concept" not in app.query_params
    assert not app.exception


def test_search_lists_hits_and_narrows_the_table(open_page, full_lake):
    app = open_page(full_lake, "concept_map", q="stripes")
    assert "1 of 40 concepts" in _texts(app)
    app = open_page(full_lake, "concept_map", q="no such thing")
    assert "No concept has this" in _texts(app)


def test_the_map_rings_the_chosen_concept_and_stays_small(open_page, full_lake):
    app = open_page(full_lake, "concept_map", concept="3")
    assert _layers(app) == ["concepts", "chosen", "labels"]
    assert len(app.get("deck_gl_json_chart")[0].proto.json) < 4000


def _layers(app: AppTest) -> list[str]:
    assert not app.exception
    return [layer["id"] for layer in json.loads(app.get("deck_gl_json_chart")[0].proto.json)["layers"]]


def test_two_generators_share_the_map_page(open_page, full_lake):
    app = open_page(
        full_lake, "concept_map", concept="3", beside="tiny-suppressed", colour="label", size="effect"
    )
    left = ["concepts", "chosen", "labels"]
    assert _layers(app) == [*left, *(f"{layer}-beside" for layer in left)]
    assert [text.value for text in app.markdown[:2]] == ["**tiny\\-sd**", "**tiny\\-suppressed**"]


def test_a_narrowed_map_counts_what_it_shows(open_page, full_lake):
    differences = TableStore(full_lake).scan("energy_differences").collect()
    mine = differences.filter(pl.col("generator") == "tiny-sd")
    wanted = mine.filter(pl.col("label") == "suppressed")
    app = open_page(full_lake, "concept_map", label="suppressed")
    assert _layers(app) == ["ghosts", "concepts", "labels"]
    assert f"{wanted.height} of 40 concepts" in _texts(app)
    assert any(f"{wanted.height} of {wanted.height} suppressed" in badge.value for badge in app.markdown)
    table = app.dataframe[0].value
    assert sorted(table["concept"]) == wanted["concept_id"].to_list()
    distance = (table["difference"] - 0.5).abs().to_list()
    assert distance == sorted(distance, reverse=True)
    sure = open_page(full_lake, "concept_map", most="0.01", least="50%", region="region 2")
    n = mine.filter(
        pl.col("q") <= 0.01,
        pl.max_horizontal("n_fired_real", "n_fired_gen") / pl.col("n_pairs") >= 0.5,
        pl.col("concept_id") % 4 == 2,
    ).height
    assert f"{n} of 40 concepts" in _texts(sure)


def test_links_of_a_concept_are_drawn_to_its_partners(open_page, full_lake):
    app = open_page(full_lake, "concept_map", concept="2", links="together in real images")
    assert _layers(app) == ["links", "concepts", "chosen", "labels"]
    spec = json.loads(app.get("deck_gl_json_chart")[0].proto.json)
    pairs = TableStore(full_lake).scan("cooccurrences").filter(pl.col("source") == REAL).collect()
    n = pairs.filter((pl.col("concept_a") == 2) | (pl.col("concept_b") == 2)).height
    assert len(spec["layers"][0]["data"]) == min(n, 20) > 0
    assert not open_page(full_lake, "concept_map", concept="2", links="changed by the generator").exception


def test_foreign_text_is_never_read_as_markdown(open_page, full_lake):
    for page in PAGES:
        app = open_page(full_lake, page, concept="2")
        for element in [*app.markdown, *app.caption, *app.title, *app.header, *app.subheader]:
            assert "<script" not in element.value
            assert "<b>" not in element.value
            assert "](javascript" not in element.value
            assert not element.proto.allow_html if hasattr(element.proto, "allow_html") else True


def test_several_saes_can_be_chosen(open_page, full_lake, tmp_path):
    lake = tmp_path / "two"
    shutil.copytree(full_lake, lake)
    lakes.add_old_sae(str(lake))
    app = open_page(str(lake), "overview", sae=lakes.OLD_SAE)
    assert not app.exception
    assert set(app.selectbox(key="sae").options) == {lakes.SAE, lakes.OLD_SAE}
    assert app.selectbox(key="sae").value == lakes.OLD_SAE


def test_pages_write_nothing(open_page, full_lake):
    before = TableStore(full_lake).versions()
    for page in PAGES:
        open_page(full_lake, page)
    assert TableStore(full_lake).versions() == before
