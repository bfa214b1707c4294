"""What the pages ask of a lake."""

import json

import polars as pl
import pytest

from dashboard import access, queries, queries_map, queries_pictures
from dashboard.rankings import Narrowing
from tables import REAL, TableStore, image_id
from tables.edits import rename
from tests.dashboard import lakes

SAE, GENERATOR = lakes.SAE, lakes.GENERATORS[0]


@pytest.mark.parametrize(
    ("arguments", "variable", "expected"),
    [
        (["--lake", "here"], None, "here"),
        (["--lake=there"], "elsewhere", "there"),
        ([], "elsewhere", "elsewhere"),
        (["--lake"], None, "lake"),
        ([], None, "lake"),
    ],
)
def test_the_lake_is_named_by_option_then_variable_then_default(monkeypatch, arguments, variable, expected):
    monkeypatch.delenv("BLINDSPOTS_LAKE", raising=False)
    if variable:
        monkeypatch.setenv("BLINDSPOTS_LAKE", variable)
    assert access.lake_address(arguments) == expected


def test_counts_add_up(full_lake):
    assert queries.saes(full_lake) == [SAE]
    assert queries.generators(full_lake, SAE) == list(lakes.GENERATORS)
    assert queries.datasets(full_lake).row(0) == (lakes.DATASET, lakes.N_PAIRS, lakes.N_PAIRS)
    failed = dict(queries.image_counts(full_lake).select("source", "n_failed").iter_rows())
    assert failed == {REAL: 0, **{generator: 1 for generator in lakes.GENERATORS}}
    counts = queries.label_counts(full_lake, SAE)
    assert counts.group_by("generator").agg(pl.col("n").sum())["n"].to_list() == [lakes.N_CONCEPTS] * 2


def test_planted_concepts_lead_the_lists(full_lake):
    frame = queries.compared(full_lake, SAE, GENERATOR)
    assert frame["concept_id"].to_list() == list(range(lakes.N_CONCEPTS))
    assert set(queries.striking(frame, "ratio", "suppressed", 2)["concept_id"]) == {0, 2}
    assert set(queries.striking(frame, "ratio", "exaggerated", 2)["concept_id"]) == {1, 4}


@pytest.mark.parametrize(
    ("text", "first", "n"),
    [
        ("0", 0, None),
        ("concept 17", 17, 1),
        ("#3", 3, None),
        ("RED TRI", 0, 1),
        ("background", 1, 1),
        ("**x**", 2, 1),
        ("مثلث", 4, 1),
        ("(", 5, 1),
        ("  ", None, 0),
        ("no such thing", None, 0),
    ],
)
def test_search_takes_text_literally(full_lake, text, first, n):
    hits = queries.search(queries.concepts(full_lake, SAE), text)
    assert first is None or hits["concept_id"][0] == first
    assert n is None or hits.height == n


def test_twins_share_the_caption_on_both_sides(full_lake):
    real = queries_pictures.top_images(full_lake, SAE, REAL, 1, GENERATOR, 6)
    for pair, twin, source in real.select("pair_id", "twin_image_id", "twin_source").iter_rows():
        assert (twin, source) == (image_id(lakes.DATASET, GENERATOR, pair), GENERATOR)
    drawn = queries_pictures.top_images(full_lake, SAE, GENERATOR, 1, GENERATOR, 3)
    assert drawn.height == 3
    for pair, twin in drawn.select("pair_id", "twin_image_id").iter_rows():
        assert twin == image_id(lakes.DATASET, REAL, pair)


def test_codes_of_an_image_give_the_stored_heat_map(full_lake):
    best = queries_pictures.top_images(full_lake, SAE, GENERATOR, 1, GENERATOR, 2)
    ids = best["image_id"].to_list(), best["pair_id"].to_list()
    maps = queries_pictures.patch_codes(full_lake, SAE, 1, ((GENERATOR, *ids),))
    for key, stored in best.select("image_id", "heatmap").iter_rows():
        assert maps[key] == pytest.approx(stored)


def test_missing_and_broken_images_are_left_out(full_lake):
    ids = [image_id(lakes.DATASET, GENERATOR, pair) for pair in range(lakes.N_PAIRS)]
    found = queries_pictures.thumbnails(full_lake, GENERATOR, ids)
    assert len(found) == lakes.N_PAIRS - 2
    assert ids[3] not in found  # truncated
    assert ids[5] not in found  # never drawn


def test_cooccurrence_is_found_from_both_ends(full_lake):
    partners = queries.cooccurring(full_lake, SAE, 5, REAL)
    assert sorted(partners["partner"]) == [k for k in range(12) if k != 5]
    assert partners["strength"].is_sorted(descending=True)


def test_new_rows_appear_without_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "VERSIONS_SECONDS", 0)
    lake = lakes.full_lake(tmp_path / "lake")
    assert queries.saes(lake) == [SAE]
    lakes.add_old_sae(lake)
    assert set(queries.saes(lake)) == {SAE, lakes.OLD_SAE}
    assert queries.concepts(lake, lakes.OLD_SAE).height == 16


def test_a_name_that_a_user_gives_is_shown_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(access, "VERSIONS_SECONDS", 0)
    lake = lakes.full_lake(tmp_path / "lake")

    def name() -> str:
        return queries.concepts(lake, SAE).row(by_predicate=pl.col("concept_id") == 1, named=True)["name"]

    assert name() == "stripes"
    rename(TableStore(lake), SAE, 1, "zebra")
    assert name() == "zebra"
    assert b"zebra" in _points(lake, SAE, GENERATOR)
    rename(TableStore(lake), SAE, 1, "")
    assert name() == "stripes"


def _points(lake: str, sae: str, generator: str | None, narrowing: Narrowing | None = None) -> bytes:
    look = ("label", "equal")
    return queries_map.points(
        lake, sae, generator, "ratio", "light", look, narrowing or Narrowing(), generator
    )


def test_a_narrowed_map_has_the_concepts_that_pass(full_lake):
    frame = queries.differences(full_lake, SAE, GENERATOR)
    wanted = frame.filter(pl.col("label") == "suppressed")["concept_id"].to_list()
    points = json.loads(_points(full_lake, SAE, GENERATOR, Narrowing(labels=("suppressed",))))
    assert [point["i"] for point in points] == wanted
    assert len(json.loads(queries_map.ghosts(full_lake, SAE))) == lakes.N_CONCEPTS


def test_an_empty_lake_answers_with_nothing(empty_lake):
    assert queries.saes(empty_lake) == []
    assert queries.compared(empty_lake, "x", None).is_empty()
    assert queries.concept_numbers(empty_lake, "x", 0).is_empty()
    assert queries_pictures.top_images(empty_lake, "x", REAL, 0, "y").is_empty()
    assert queries_pictures.thumbnails(empty_lake, REAL, [1]) == {}
    assert _points(empty_lake, "x", None) == b"[]"
    assert queries_map.labels(empty_lake, "x") == queries_map.ghosts(empty_lake, "x") == b"[]"
    assert queries_map.clusters(empty_lake, "x", "y").is_empty()
    assert access.runs(empty_lake).is_empty()
    assert access.last_written(empty_lake) is None


def test_facts_of_an_sae_come_from_its_checkpoint_or_default(tmp_path):
    folder = tmp_path / "lake" / "saes" / "good"
    folder.mkdir(parents=True)
    text = '{"metadata": {"backbone": "dino", "preprocessing": {"resize": 256, "crop": 224}}}'
    (folder / "cfg.json").write_text(text)
    lake = str(tmp_path / "lake")
    assert access.sae_facts(lake, "good") == access.SAEFacts("dino", 0.875)
    (folder / "cfg.json").write_text("not json")
    access.sae_facts.clear()
    for name in ("good", "absent", "../../../etc"):
        assert access.sae_facts(lake, name) == access.SAEFacts()


def test_reading_makes_nothing(empty_lake):
    before = TableStore(empty_lake).versions()
    queries.saes(empty_lake)
    access.runs(empty_lake)
    assert TableStore(empty_lake).versions() == before
