"""Names that users give: the newest holds, an empty one gives the found name back."""

import polars as pl
import pytest
from rows import frame

from tables import TableError, TableStore
from tables.edits import edited_names, edits_print, named_concepts, only_sae, rename


@pytest.fixture
def store(tmp_path) -> TableStore:
    """Three concepts of the SAE s, of which the second has no found name."""
    store = TableStore(tmp_path)
    names = enumerate(["red", None, "moon"])
    rows = frame(
        "concepts", *({"sae": "s", "concept_id": k, "name": name, "found_name": name} for k, name in names)
    )
    store.append("concepts", rows, shard="a", stage="name", run_id="run")
    return store


def names(store: TableStore) -> list[str | None]:
    return named_concepts(store, "s").collect()["name"].to_list()


def test_the_newest_name_holds_and_an_empty_one_restores(store):
    assert names(store) == ["red", None, "moon"]
    assert rename(store, "s", 1, "  bird\n feeder ") == "bird feeder"
    rename(store, "s", 0, "crimson")
    assert names(store) == ["crimson", "bird feeder", "moon"]
    rename(store, "s", 0, "scarlet")
    assert names(store) == ["scarlet", "bird feeder", "moon"]
    before = edits_print(store, "s")
    assert rename(store, "s", 0, " ") == ""
    rename(store, "s", 1, "")
    assert names(store) == ["red", None, "moon"]
    assert edits_print(store, "s") != before
    assert store.scan("name_edits").select(pl.len()).collect().item() == 5  # all of them are kept


def test_a_clock_that_goes_back_does_not_bring_back_an_old_name(store, monkeypatch):
    rename(store, "s", 0, "crimson")
    monkeypatch.setattr("tables.edits.time.time_ns", lambda: 0)
    rename(store, "s", 0, "scarlet")
    assert names(store)[0] == "scarlet"


def test_names_of_one_sae_do_not_touch_another(store):
    rename(store, "s", 0, "crimson")
    assert edited_names(store, "t").is_empty() and edited_names(store, "s").rows() == [(0, "crimson")]
    columns = named_concepts(store, "s").collect().columns
    assert columns == store.scan("concepts").collect_schema().names()


def test_what_cannot_be_named_is_refused_in_one_sentence(store):
    with pytest.raises(TableError, match="no concept 7 of 's'"):
        rename(store, "s", 7, "x")
    with pytest.raises(TableError, match="at most 80 characters, and this one has 81"):
        rename(store, "s", 0, "x" * 81)
    with pytest.raises(TableError, match="control character"):
        rename(store, "s", 0, "a\x1b[31mb")
    assert names(store) == ["red", None, "moon"]


def test_the_only_sae_of_a_lake(store, tmp_path):
    assert only_sae(store) == "s"
    store.append("concepts", frame("concepts", {"sae": "t"}), shard="b", stage="name", run_id="run")
    with pytest.raises(TableError, match="several SAEs, s, t"):
        only_sae(store)
    with pytest.raises(TableError, match="no named concepts yet"):
        only_sae(TableStore(tmp_path / "empty"))
