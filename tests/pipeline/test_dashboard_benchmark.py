"""The benchmark of the dashboard on a small lake of its maker: tables agree, and every page is sound."""

import numpy as np
import polars as pl
import pytest

from pipeline.benchmarks.dashboard import PAGES, click_row, crowd_row, page_rows
from pipeline.benchmarks.dashboard_lake import made
from pipeline.benchmarks.dashboard_session import Session, served
from pipeline.benchmarks.dashboard_tables import Sizes
from tables import REAL, TableStore

SIZES = Sizes(
    n_concepts=300,
    n_pairs=60,
    n_generators=2,
    n_fired=40,
    n_partners=4,
    n_top=6,
    n_topics=8,
    n_pictures=6,
    grid=4,
    n_reruns=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "lake"
    made(folder, SIZES)
    return folder


@pytest.fixture(scope="module")
def lake(folder) -> TableStore:
    return TableStore(str(folder))


@pytest.fixture(scope="module")
def server(folder):
    with served(str(folder)) as server:
        yield server


def test_every_table_of_the_pages_has_its_rows(lake):
    rows = dict(lake.status().select("table", "rows").iter_rows())
    expected = {
        "pairs": 60,
        "images": 60 * 3,  # real and two generators
        "codes": 60 * 3,
        "concept_stats": 300 * 3,
        "energy_differences": 300 * 2,
        "datapoints": 60 * 2,
        "nulls": 2 * 3 * 40,  # generators, forms, bins
        "agreements": 4,  # one pair of generators, four figures
        "concepts": 300,
        "layout": 300,
        "communities": 300,
        "regions": 8,
        "map_clusters": 2 * 6,  # two spaces, three kinds
    }
    assert {name: rows[name] for name in expected} == expected
    for name in ("distributions", "funnel", "caption_differences", "advice", "cooccurrences"):
        assert rows[name] > 0
    per_image = rows["energies"] / 180
    assert 25 < per_image < 55  # 40 concepts fire in an image; generators shift a few


def test_energies_are_the_sums_of_the_codes(lake):
    codes = lake.scan("codes").select("image_id", "concept", "activation").collect()
    sums = (
        codes.explode("concept", "activation")
        .group_by("image_id", pl.col("concept").alias("concept_id"))
        .agg(pl.col("activation").sum().alias("total"), pl.col("activation").max().alias("top"))
    )
    both = lake.scan("energies").collect().join(sums, on=["image_id", "concept_id"], how="full")
    assert both["energy"].null_count() == both["total"].null_count() == 0
    np.testing.assert_allclose(both["energy"], both["total"], rtol=1e-5)
    np.testing.assert_allclose(both["peak"], both["top"], rtol=1e-5)


def test_numbers_follow_from_the_energies(lake):
    energies = lake.scan("energies").filter(pl.col("source") == REAL).collect()
    dense = np.zeros((60, 300))
    dense[energies["pair_id"], energies["concept_id"]] = energies["energy"]
    rows = lake.scan("energy_differences").filter(pl.col("generator") == "generator-1").collect()
    rows = rows.sort("concept_id")
    np.testing.assert_allclose(rows["energy_real"], dense.mean(0), rtol=1e-5, atol=1e-9)
    assert rows["n_fired_real"].to_list() == (dense > 0).sum(0).tolist()
    known = rows.filter(pl.col("ratio").is_not_null())
    ratio = known["energy_gen"] / (known["energy_gen"] + known["energy_real"])
    np.testing.assert_allclose(known["ratio"], ratio, rtol=1e-9)
    best = lake.scan("top_images").filter(pl.col("source") == REAL, pl.col("rank") == 0).collect()
    assert best.height == (dense > 0).any(0).sum()
    for concept_id, pair_id in best.select("concept_id", "pair_id").iter_rows():
        assert dense[pair_id, concept_id] == dense[:, concept_id].max()
    assert lake.scan("top_images").select(pl.col("rank").max()).collect().item() == 5


def test_company_is_counted_on_the_same_images(lake):
    fired = lake.scan("energies").group_by("source", "concept_id").agg(pl.len().alias("n")).collect()
    rows = lake.scan("cooccurrences").collect()
    assert (rows["concept_a"] < rows["concept_b"]).all()
    assert rows.select("source", "concept_a", "concept_b").is_unique().all()
    for end in "ab":
        both = rows.join(
            fired, left_on=["source", f"concept_{end}"], right_on=["source", "concept_id"], how="left"
        )
        assert both[f"n_{end}"].to_list() == both["n"].fill_null(0).to_list()
    assert (rows["n_images"] <= rows.select(pl.min_horizontal("n_a", "n_b")).to_series()).all()


def test_a_kept_lake_is_used_again_and_nothing_else_is_overwritten(folder, lake, tmp_path):
    before = lake.versions()
    assert made(folder, SIZES) == str(folder)
    assert TableStore(str(folder)).versions() == before
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match=r"holds something else .* name an empty folder"):
        made(tmp_path, SIZES)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_every_page_is_sound_and_the_map_is_small(server):
    for page, query in PAGES.values():
        with Session(server) as session:
            visit = session.visit(page, query)
        assert visit.errors == () and visit.n_bytes > 1_000
        assert page != "concept_map" or visit.n_bytes < 100_000


def test_figures_are_held_against_the_bars(server):
    few = {name: PAGES[name] for name in ("concept map", "runs")}
    rows = [*page_rows(server, few), click_row(server, SIZES), crowd_row(server)]
    bars = {row.what: row.bar for row in rows}
    assert bars == {
        "concept map: cold, s": 1.0,
        "concept map: warm, s": 0.3,
        "concept map: a rerun, kB": 100,
        "runs: cold, s": 1.0,
        "runs: warm, s": 0.3,
        "click to concept: server, s": 1.0,
        "10 sessions at once: median, s": 1.0,
    }
    assert all(row.figure > 0 and not row.at_least for row in rows)


def test_an_error_on_a_page_is_seen(tmp_path):
    with served(str(tmp_path / "nowhere")) as server, Session(server) as session:
        assert session.visit("overview").errors == ("There is no lake here yet",)
    assert server.peak > 0.01  # GB, known once it has ended
