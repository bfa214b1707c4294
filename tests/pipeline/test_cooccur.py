"""The stage on hand-made codes: what it writes, what a rerun touches, and sides that are not whole."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.stages import cooccur
from pipeline.stages.settings import CooccurConfig
from tables import REAL, TABLES, TableStore

SAE, N_TOKENS, N_CONCEPTS = "sae", 4, 12


class Space:
    """A workspace whose images and codes are made here: `worlds` holds (n_images, N_CONCEPTS) presences.

    Image i belongs to pair i; an image that is None is missing.
    """

    sae = SAE

    def __init__(self, folder, worlds: dict[str, list[np.ndarray | None]], **settings):
        self.store = TableStore(folder)
        self.store.create()
        self.worlds = worlds
        self.config = SimpleNamespace(cooccur=CooccurConfig(**{"least_images": 1, **settings}))
        self.sources = list(worlds)
        for source, world in worlds.items():
            rows = [
                row
                for i, image in enumerate(world)
                if image is not None
                for row in [_codes(source, i, image)]
            ]
            frame = pl.DataFrame(
                rows, schema={k: v for k, v in TABLES["codes"].columns.items() if k != "run_id"}
            )
            self.store.append("codes", frame, shard=source, stage="encode", run_id="run")

    def require_encoded(self) -> None:
        pass

    def n_concepts(self) -> int:
        return N_CONCEPTS

    def pairs(self) -> pl.DataFrame:
        ids = np.arange(len(self.worlds[REAL]))
        return pl.DataFrame({"pair_id": ids, "caption": [f"caption {i}" for i in ids]})

    def live_images(self, source: str) -> pl.DataFrame:
        live = [i for i, image in enumerate(self.worlds[source]) if image is not None]
        ids = {"image_id": [_id(source, i) for i in live], "pair_id": live}
        return pl.DataFrame(ids, schema={"image_id": pl.Int64, "pair_id": pl.Int64})

    def derived_shard(self, settings, *sources: str) -> str:
        return f"{settings}{sources}"

    @contextmanager
    def stage(self, *_):
        yield SimpleNamespace(run_id="run", log=lambda **_: None)

    def rows(self, table: str = "cooccurrences") -> pl.DataFrame:
        return self.store.scan(table).collect().sort(TABLES[table].key)


def _id(source: str, i: int) -> int:
    return 1000 * (1 + sum(source.encode()) % 50) + 7 * i % 1000


def _codes(source: str, i: int, fires: np.ndarray) -> dict:
    """Concept c fires on token c modulo N_TOKENS, with 1 + c / 2."""
    concepts = np.flatnonzero(fires)
    return {
        "sae": SAE, "source": source, "image_id": _id(source, i), "pair_id": i, "n_tokens": N_TOKENS,
        "n_prefix": 0, "token": (concepts % N_TOKENS).tolist(), "concept": concepts.tolist(),
        "activation": (1 + concepts / 2).tolist(),
    }  # fmt: skip


def world(seed: int, n: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    fires = rng.random((n, N_CONCEPTS)) < 0.3
    fires[:, 8] = fires[:, 4]  # 4 and 8 share their token and always go together
    fires[:, 11] = False
    return fires


def apart() -> np.ndarray:
    """Another drawing of the same world in which 4 and 8 have nothing to do with each other."""
    fires = world(0)
    fires[:, 8] = np.random.default_rng(9).permutation(fires[:, 8])
    return fires


@pytest.fixture
def space(tmp_path):
    return Space(
        tmp_path / "lake", {REAL: list(world(0)), "faithful": list(world(0)), "apart": list(apart())}
    )


def test_the_pair_that_is_broken_apart_comes_first(space):
    report = cooccur.run(space)
    assert report.endswith("pairs of concepts in real, faithful, apart")
    rows = space.rows()
    found = rows.filter(pl.col("source") == "apart").sort("sure")
    assert found.select("concept_a", "concept_b", "kept").row(0) == (4, 8, "real")
    assert found["sure"][0] < -0.3 and found["q"][0] < 0.01
    assert found["sure"].abs().arg_max() == 0
    kept = rows.filter(pl.col("source") == "faithful")
    assert (kept["sure"].drop_nulls() == 0).all() and kept["difference"].abs().max() < 1e-6
    nothing = rows.filter(pl.col("source") == REAL).select("difference", "low", "high", "p", "q", "sure")
    assert nothing.null_count().row(0) == (nothing.height,) * 6


def test_rows_hold_what_was_counted_on_both_sides(space):
    cooccur.run(space)
    rows, real, drawn = space.rows(), world(0), apart()
    for row in rows.filter(pl.col("source") == "apart").iter_rows(named=True):
        a, b = row["concept_a"], row["concept_b"]
        for prefix, fires in (("", drawn), ("real_", real)):
            both = (fires[:, a] & fires[:, b]).sum()
            assert row[f"{prefix}n_images"] == both
            assert (row[f"{prefix}n_a"], row[f"{prefix}n_b"]) == (fires[:, a].sum(), fires[:, b].sum())
            strength = both * (1 + a / 2) * (1 + b / 2) / 80 if a % N_TOKENS == b % N_TOKENS else 0
            assert row[f"{prefix}strength"] == pytest.approx(strength)
    asked = rows.filter(pl.col("source") == REAL).select("concept_a", "concept_b")
    for source in ("faithful", "apart"):
        mine = rows.filter(pl.col("source") == source, pl.col("kept") == "real")
        assert_frame_equal(mine.select("concept_a", "concept_b"), asked)


def test_company_that_only_the_generator_knows_is_kept_too(tmp_path):
    real = world(1)
    real[:, 9] &= ~real[:, 10]
    drawn = real.copy()
    drawn[:, 9] = drawn[:, 10]
    space = Space(tmp_path, {REAL: list(real), "new": list(drawn)}, n_partners=1)
    cooccur.run(space)
    last = space.rows().filter(pl.col("source") == "new").sort("sure").tail(1).to_dicts()[0]
    assert (last["concept_a"], last["concept_b"], last["kept"]) == (9, 10, "generated")
    assert last["real_n_images"] == 0 and last["sure"] > 0.3


def test_a_new_generator_touches_only_its_own_rows(space, tmp_path):
    cooccur.run(space)
    before, communities = space.rows(), space.rows("communities")
    versions = space.store.versions()
    assert cooccur.run(space) == "nothing to do: real, faithful, apart are counted"
    assert space.store.versions() == versions
    again = Space(space.store.uri, {**space.worlds, "late": list(world(3))})
    assert cooccur.run(again).endswith("in late")
    rows = again.rows()
    assert_frame_equal(rows.filter(pl.col("source") != "late"), before)
    assert_frame_equal(again.rows("communities"), communities)
    fresh = Space(tmp_path / "fresh", again.worlds)
    cooccur.run(fresh)
    assert_frame_equal(fresh.rows(), rows)
    assert_frame_equal(fresh.rows("communities"), communities)


def test_communities_cover_all_concepts(space):
    cooccur.run(space)
    rows = space.rows("communities")
    assert rows["concept_id"].to_list() == list(range(N_CONCEPTS))
    assert rows["community"][4] == rows["community"][8]
    assert rows["community"][11] is None and rows.row(11, named=True)["n_members"] == 1
    sizes = rows.group_by("community").agg(pl.len(), pl.col("n_members").first()).drop_nulls()
    assert sizes["len"].to_list() == sizes["n_members"].to_list()


def test_pairs_without_one_side_are_left_out_of_the_change_alone(tmp_path):
    real, drawn = list(world(0)), list(apart())
    whole = Space(tmp_path / "whole", {REAL: real[:60], "apart": drawn[:60]})
    holes = Space(
        tmp_path / "holes",
        {REAL: [*real[:60], *real[60:70], *[None] * 10], "apart": [*drawn[:60], *[None] * 10, *drawn[70:]]},
    )
    key = ["concept_a", "concept_b"]
    for space in (whole, holes):
        cooccur.run(space)
    one, two = (space.rows().filter(pl.col("source") == "apart") for space in (whole, holes))
    both = one.join(two, on=key)
    assert both.height > 30
    assert np.allclose(both["difference"], both["difference_right"])
    assert np.allclose(both["p"], both["p_right"])


@pytest.mark.parametrize("fires", [0, 1])
def test_one_image(tmp_path, fires):
    image = np.full(N_CONCEPTS, bool(fires))
    space = Space(tmp_path, {REAL: [image], "one": [image], "none": [None]}, n_partners=20)
    cooccur.run(space)
    rows = space.rows()
    n_pairs = fires * N_CONCEPTS * (N_CONCEPTS - 1) // 2
    assert rows.filter(pl.col("source") == "one", pl.col("sure") != 0).is_empty()
    # In one image nothing goes together more often than chance; what is kept shares a token.
    assert 0 <= rows.filter(pl.col("source") == REAL).height <= n_pairs
    assert (
        rows.filter(pl.col("source") == "none")["difference"].null_count()
        == rows.filter(pl.col("source") == "none").height
    )
