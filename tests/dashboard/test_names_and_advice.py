"""Names that are given on the concept page, and what would help."""

import polars as pl
import pytest

from tables import TableError, TableStore
from tables.edits import edited_names
from tests.dashboard import lakes

SUPPRESSED = lakes.GENERATORS[-1]


def _keep(app, concept: int, name: str):
    app.text_input(key=f"name-{concept}").set_value(name)
    return next(button for button in app.button if button.label == "Keep").click().run()


def test_a_name_is_kept_shown_at_once_and_taken_back(open_page, tmp_path):
    lake = lakes.full_lake(tmp_path / "lake")
    app = open_page(lake, "concept", concept="1")
    assert app.title[0].value == "stripes"
    app = _keep(app, 1, "  zebra   <b>lines</b> ")
    assert not app.exception
    assert app.title[0].value.replace("\\", "").replace("\u2060", "") == "zebra <b>lines</b>"
    assert edited_names(TableStore(lake), lakes.SAE).rows() == [(1, "zebra <b>lines</b>")]
    assert "from now on" in app.toast[0].value
    app = _keep(app, 1, "")
    assert app.title[0].value == "stripes"
    assert edited_names(TableStore(lake), lakes.SAE).is_empty()


def test_a_lake_that_cannot_be_written_says_so(open_page, tmp_path, monkeypatch):
    lake = lakes.full_lake(tmp_path / "lake")

    def refuse(*_):
        raise TableError("cannot write table name_edits at <b>here</b>: read-only.")

    monkeypatch.setattr("dashboard.renaming.rename", refuse)
    app = _keep(open_page(lake, "concept", concept="1"), 1, "zebra")
    assert not app.exception
    assert app.title[0].value == "stripes"
    assert "was not kept" in app.error[0].value
    assert "<b>" not in app.error[0].value


def test_a_mistake_of_ours_is_not_taken_for_a_locked_lake(open_page, tmp_path, monkeypatch):
    lake = lakes.full_lake(tmp_path / "lake")

    def broken(*_):
        raise KeyError("ours")

    monkeypatch.setattr("dashboard.renaming.rename", broken)
    assert _keep(open_page(lake, "concept", concept="1"), 1, "zebra").exception


@pytest.mark.parametrize(("concept", "advice"), lakes.ADVICE.items())
def test_a_concept_says_what_would_help(open_page, full_lake, concept, advice):
    app = open_page(full_lake, "concept", concept=str(concept), generator=SUPPRESSED)
    assert any(advice in badge.value for badge in app.markdown)
    assert any("of its 6 strongest images" in text.value for text in app.text)
    other = open_page(full_lake, "concept", concept=str(concept), generator=lakes.GENERATORS[0])
    assert not any("of its 6 strongest images" in text.value for text in other.text)


def test_advice_on_all_blindspots_is_a_table_the_furthest_first(open_page, full_lake):
    app = open_page(full_lake, "blindspots", generator=SUPPRESSED)
    table = next(frame.value for frame in app.dataframe if "advice" in frame.value.columns)
    assert table["concept"].to_list() == [0, 2, 1]  # 0.48 from aligned twice, then 0.47
    captions = " ".join(caption.value for caption in app.caption)
    assert "not drawn (1)" in captions and "badly captioned (1)" in captions
    none = open_page(full_lake, "blindspots", generator=lakes.GENERATORS[0])
    assert "asks for advice" in " ".join(caption.value for caption in none.caption)


def test_the_overview_shows_every_filled_table_with_its_run(open_page, full_lake):
    app = open_page(full_lake, "overview")
    shown = next(frame.value for frame in app.dataframe if "MLflow run" in frame.value.columns)
    status = TableStore(full_lake).status().filter(pl.col("rows") > 0)
    assert shown["table"].to_list() == status["table"].to_list()
    assert shown["rows"].to_list() == status["rows"].to_list()
    assert set(shown["MLflow run"]) == {"run-1"}
