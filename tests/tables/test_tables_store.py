"""The store: once per shard, replacements, versions, status. Read back by polars and deltalake directly."""

import json
import multiprocessing
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.parquet import ParquetFile
from rows import frame, layout

from tables import TABLES, TableError, TableStore

HARD = "it's \"a\" \\' OR 1=1 -- /=%20 é"


def at(lake, name: str) -> str:
    return f"{lake}/tables/{name}"


def stored(lake, name: str = "layout") -> list[tuple]:
    return pl.read_delta(at(lake, name)).select("sae", "concept_id", "x").sort("sae", "concept_id").rows()


def append(lake, shard: str, rows: pl.DataFrame, run_id: str = "run") -> bool:
    return TableStore(lake).append("layout", rows, shard=shard, stage="layout", run_id=run_id)


def replace(lake, shard: str, sae: str, rows: pl.DataFrame, **where) -> bool:
    where = {"sae": sae, **where}
    return TableStore(lake).replace("layout", rows, where=where, shard=shard, stage="layout", run_id="run")


def test_a_shard_is_written_once_through_fresh_handles(tmp_path):
    assert append(tmp_path, "a", layout("s", 1))
    assert not append(tmp_path, "a", layout("s", 1))
    assert append(tmp_path, "b", layout("s", 2))
    assert stored(tmp_path) == [("s", 1, 0.0), ("s", 2, 0.0)]
    newest = DeltaTable(at(tmp_path, "layout")).history(1)[0]
    assert (newest["mlflow.run_id"], newest["stage"], newest["shard"]) == ("run", "layout", "b")


def test_an_empty_shard_is_recorded(tmp_path):
    assert append(tmp_path, "none", layout("s"))
    assert not append(tmp_path, "none", layout("s", 1))
    assert stored(tmp_path) == []
    assert DeltaTable(at(tmp_path, "layout")).transaction_version("none") is not None


def test_has_sees_what_others_commit(tmp_path):
    store = TableStore(tmp_path)
    assert not store.has("layout", "a")
    append(tmp_path, "a", layout("s", 1))
    assert store.has("layout", "a") and not store.has("layout", "b")
    append(tmp_path, "b", layout("s", 2))
    assert store.has("layout", "b")
    assert pickle.loads(pickle.dumps(store)).has("layout", "b")  # Ray sends stores to its workers


def run_together(work, jobs: list[tuple]) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=job) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * len(jobs)


def write_shards(lake: str, shards: list[str], concepts: list[int]) -> None:
    for shard, concept in zip(shards, concepts, strict=True):
        append(lake, shard, layout("s", concept))


def test_concurrent_writers_lose_and_repeat_nothing(tmp_path):
    # Four processes race for a table that is not there yet: 8 shards of their own each, 4 that all write.
    jobs = []
    for worker in range(4):
        own = range(worker * 8, worker * 8 + 8)
        shards = [f"common-{i}" for i in range(4)] + [f"own-{i}" for i in own]
        jobs.append((str(tmp_path), shards, [*range(100, 104), *own]))
    run_together(write_shards, jobs)
    assert [concept for _, concept, _ in stored(tmp_path)] == [*range(32), *range(100, 104)]


def test_replace_a_b_a(tmp_path):
    append(tmp_path, "other", layout("other", 1))
    assert replace(tmp_path, "A", "s", layout("s", 1, 2, x=1.0))
    assert not replace(tmp_path, "A", "s", layout("s", 1, 2, x=1.0))
    assert replace(tmp_path, "B", "s", layout("s", 3, x=2.0))
    assert stored(tmp_path) == [("other", 1, 0.0), ("s", 3, 2.0)]
    assert replace(tmp_path, "A", "s", layout("s", 1, 2, x=1.0))
    assert stored(tmp_path) == [("other", 1, 0.0), ("s", 1, 1.0), ("s", 2, 1.0)]


def test_replacements_elsewhere_do_not_matter_and_overlapping_ones_do(tmp_path):
    replace(tmp_path, "A", "s", layout("s", 1, 2))
    replace(tmp_path, "A", "t", layout("t", 1))
    TableStore(tmp_path).compact("layout")
    assert not replace(tmp_path, "A", "s", layout("s", 1, 2))
    assert replace(tmp_path, "one", "s", layout("s", 2, x=9.0), concept_id=2)
    assert stored(tmp_path) == [("s", 1, 0.0), ("s", 2, 9.0), ("t", 1, 0.0)]
    assert replace(tmp_path, "A", "s", layout("s", 1, 2))
    assert replace(tmp_path, "one", "s", layout("s", 2, x=9.0), concept_id=2)
    append(tmp_path, "more", layout("s", 5))
    assert replace(tmp_path, "one", "s", layout("s", 2, x=9.0), concept_id=2)
    DeltaTable(at(tmp_path, "layout")).delete("sae = 's'")
    assert replace(tmp_path, "A", "s", layout("s", 1, 2))
    assert stored(tmp_path) == [("s", 1, 0.0), ("s", 2, 0.0), ("t", 1, 0.0)]


def test_holds_tells_what_replace_would_do(tmp_path):
    store, where = TableStore(tmp_path), {"sae": "s"}
    assert not store.holds("layout", where, "A")
    replace(tmp_path, "A", "s", layout("s", 1))
    assert store.holds("layout", where, "A") and not store.holds("layout", where, "B")
    assert not store.holds("layout", {"sae": "t"}, "A")
    append(tmp_path, "A", layout("s", 2))
    assert not store.holds("layout", where, "A")
    with pytest.raises(TableError, match="say which rows"):
        store.holds("layout", {}, "A")


def test_replace_by_nothing_deletes(tmp_path):
    replace(tmp_path, "A", "s", layout("s", 1, 2))
    replace(tmp_path, "A", "t", layout("t", 1))
    assert replace(tmp_path, "B", "s", layout("s"))
    assert stored(tmp_path) == [("t", 1, 0.0)]
    assert not replace(tmp_path, "B", "s", layout("s"))


def test_replace_keeps_its_hands_off_other_rows(tmp_path):
    append(tmp_path, "all", pl.concat([layout("s", 1), layout(HARD, 1, 2)]))
    assert replace(tmp_path, "A", HARD, layout(HARD, 7))
    assert stored(tmp_path) == sorted([("s", 1, 0.0), (HARD, 7, 0.0)])
    with pytest.raises(TableError, match="1 rows have sae 'x', outside the sae 's' to replace"):
        replace(tmp_path, "B", "s", layout("x", 1))
    for where, message in [
        ({}, "say which rows to replace, by one or more of sae, concept_id"),
        ({"x": 1}, "rows are replaced by sae, concept_id, not by 'x'"),
        ({"concept_id": "1 OR 1=1"}, "'1 OR 1=1' names no rows; give a int that does"),
        ({"sae": ""}, "'' names no rows"),
        ({"concept_id": True}, "True names no rows"),
    ]:
        with pytest.raises(TableError, match=message):
            TableStore(tmp_path).replace(
                "layout", layout("s"), where=where, shard="C", stage="layout", run_id="r"
            )
    assert stored(tmp_path) == sorted([("s", 1, 0.0), (HARD, 7, 0.0)])


@settings(max_examples=30, deadline=None)
@given(value=st.text(min_size=1, max_size=12), other=st.text(min_size=1, max_size=12))
def test_any_value_names_its_own_rows_alone(tmp_path_factory, value, other):
    lake = tmp_path_factory.mktemp("lake")
    append(lake, "all", pl.concat([layout(value, 1), layout(other, 2)]))
    assert replace(lake, "A", value, layout(value))
    assert stored(lake) == ([] if value == other else [(other, 2, 0.0)])


def replace_often(lake: str, worker: int) -> None:
    for i in range(5):
        x = float(10 * worker + i)
        replace(lake, f"{worker}-{i}", "s", layout("s", 1, 2, x=x))
        replace(lake, f"{worker}-{i}", f"own-{worker}", layout(f"own-{worker}", 1, x=x))


def test_concurrent_replacements_leave_one_generation(tmp_path):
    run_together(replace_often, [(str(tmp_path), worker) for worker in range(3)])
    rows = stored(tmp_path)
    assert rows[:3] == [("own-0", 1, 4.0), ("own-1", 1, 14.0), ("own-2", 1, 24.0)]
    assert [row[:2] for row in rows[3:]] == [("s", 1), ("s", 2)]
    assert rows[3][2] == rows[4][2] and rows[3][2] in (4.0, 14.0, 24.0)


def test_versions_can_be_read_again(tmp_path):
    store = TableStore(tmp_path)
    assert store.version("layout") is None and store.versions() == {}
    assert store.scan("layout").collect().schema == pl.Schema(TABLES["layout"].columns)
    append(tmp_path, "a", layout("s", 1))
    before = store.version("layout")
    pinned = store.scan("layout")
    append(tmp_path, "b", layout("s", 2))
    assert store.versions() == {"layout": before + 1}
    assert pinned.collect().height == 1
    assert store.scan("layout", version=before).collect()["concept_id"].to_list() == [1]
    assert store.scan("layout").collect().height == 2
    with pytest.raises(TableError, match="version 99 of table layout"):
        store.scan("layout", version=99)
    with pytest.raises(TableError, match=r"table pairs .* has no version 3"):
        store.scan("pairs", version=3)


def test_compact_keeps_rows_shards_and_history(tmp_path):
    store = TableStore(tmp_path)
    write = {"stage": "encode", "run_id": "run"}
    for i, concepts in enumerate([(3, 1), (2, 1), (5, 4)]):
        rows = [{"sae": HARD, "image_id": i, "concept_id": concept} for concept in concepts]
        store.append("energies", frame("energies", *rows), shard=str(i), **write)
    store.append("energies", frame("energies", {"sae": "lone"}), shard="lone", **write)
    before = pl.read_delta(at(tmp_path, "energies"))
    version = store.version("energies")
    assert store.compact("energies")
    assert not store.compact("energies") and not store.compact("layout")
    table = DeltaTable(at(tmp_path, "energies"))
    after = pl.read_delta(at(tmp_path, "energies"))
    assert len(table.file_uris()) == 2  # one per partition
    assert after.sort("image_id", "concept_id").equals(before.sort("image_id", "concept_id"))
    assert after.filter(sae=HARD)["concept_id"].to_list() == [1, 1, 2, 3, 4, 5]
    assert store.scan("energies", version=version).collect().height == 7
    assert TableStore(tmp_path).has("energies", "1")
    assert not store.append("energies", frame("energies"), shard="1", **write)


def test_status_has_a_row_for_each_table(tmp_path):
    start = datetime.now(UTC)
    append(tmp_path, "a", layout("s", 1, 2), run_id="first")
    append(tmp_path, "b", layout("t", 1), run_id="second")
    TableStore(tmp_path).compact("layout")
    status = TableStore(tmp_path).status()
    assert status["table"].to_list() == list(TABLES)
    row = status.row(by_predicate=pl.col("table") == "layout", named=True)
    log = (tmp_path / "tables/layout/_delta_log").glob("*.json")
    adds = [json.loads(line)["add"] for path in log for line in path.open() if line.startswith('{"add"')]
    assert (row["rows"], row["files"], row["version"]) == (3, 2, 2)
    assert row["bytes"] == sum(add["size"] for add in adds)
    assert (row["last_stage"], row["last_run"]) == ("layout", "second")
    assert -1 < (row["updated"] - start).total_seconds() < 60
    missing = status.row(by_predicate=pl.col("table") == "pairs", named=True)
    nothing = {"version": None, "last_stage": None, "last_run": None, "updated": None}
    assert missing == {"table": "pairs", "rows": 0, "files": 0, "bytes": 0, **nothing}


def test_a_foreign_schema_is_named(tmp_path):
    foreign = pl.DataFrame({"sae": ["s"], "concept_id": [1], "x": [0.5], "hue": ["red"]})
    write_deltalake(at(tmp_path, "layout"), foreign)
    store = TableStore(tmp_path)
    for use in (store.create, lambda: store.scan("layout"), lambda: append(tmp_path, "a", layout("s", 1))):
        with pytest.raises(TableError) as caught:
            use()
        for part in ("table layout", "y is missing", "hue is unknown", "x is Float64 instead of Float32",
                     "partitioned by nothing", "use a new lake folder"):  # fmt: skip
            assert part in str(caught.value)
    assert pl.read_delta(at(tmp_path, "layout")).equals(foreign)


def test_a_lake_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for lake in (tmp_path / "file" / "lake", "/proc/lake"):
        store = TableStore(lake)
        with pytest.raises(TableError, match=r"lake folder .* cannot be written \(.*\); choose one"):
            store.create()
        with pytest.raises(TableError, match="cannot be written"):
            append(lake, "a", layout("s", 1))
        with pytest.raises(TableError, match="cannot be locked"), store.lock():
            pass
        assert store.versions() == {} and not store.has("layout", "a")
        assert store.scan("layout").collect().height == 0


def test_addresses(tmp_path):
    assert TableStore("s3://bucket/lake/").uri == "s3://bucket/lake"
    assert TableStore(f"file://{tmp_path}/my%20lake").uri == f"{tmp_path}/my lake"
    with pytest.raises(TableError, match="lost a slash"):
        TableStore(Path("s3://bucket/lake"))
    with pytest.raises(TableError, match="its path has a '='"):
        TableStore(tmp_path / "run=3")
    with TableStore("s3://bucket/lake").lock():
        pass  # nothing to lock, nothing contacted


def test_a_store_that_was_read_before_sees_commits_and_a_table_that_was_made_anew(tmp_path):
    store = TableStore(tmp_path)
    append(tmp_path, "a", layout("s", 1))
    assert store.scan("layout").collect()["concept_id"].to_list() == [1]
    append(tmp_path, "b", layout("s", 2))
    assert sorted(store.scan("layout").collect()["concept_id"]) == [1, 2]
    version = store.version("layout")
    shutil.rmtree(at(tmp_path, "layout"))
    assert store.scan("layout").collect().is_empty() and store.versions() == {}
    append(tmp_path, "a", layout("t", 3))
    append(tmp_path, "b", layout("t", 4))
    assert store.version("layout") == version == store.versions()["layout"]
    assert sorted(store.scan("layout").collect()["concept_id"]) == [3, 4]


def test_wide_rows_lie_in_small_groups(tmp_path):
    pairs = range(300)
    rows = {"pair_id": pairs, "image_id": pairs, "sae": "s", "source": "real", "n_tokens": 5, "n_prefix": 1}
    codes = pl.DataFrame(rows).with_columns(
        pl.col("n_tokens", "n_prefix").cast(pl.Int32),
        token=pl.lit([1], dtype=pl.List(pl.Int32)),
        concept=pl.lit([0], dtype=pl.List(pl.Int32)),
        activation=pl.lit([1.0], dtype=pl.List(pl.Float32)),
    )
    store = TableStore(tmp_path)
    for part in range(2):
        half = codes.slice(150 * part, 150)
        store.append("codes", half, shard=str(part), stage="encode", run_id="run")
    sizes = [[64, 64, 22]] * 2  # at most 64 rows
    for expected in (sizes, [[64, 64, 64, 64, 44]]):
        files = [ParquetFile(file) for file in DeltaTable(at(tmp_path, "codes")).file_uris()]
        groups = [[f.metadata.row_group(k).num_rows for k in range(f.num_row_groups)] for f in files]
        assert groups == expected
        store.compact("codes")
