"""The contract itself, and that Delta Lake keeps every type in it."""

import math

import polars as pl
import pytest
from deltalake import DeltaTable
from rows import frame, row

from tables import TABLES, TableError, TableStore, image_id
from tables.checks import checked

# The table of DESIGN.md, read off by hand.
DESIGN = {
    "pairs": ("dataset pair_id", "dataset", "sample"),
    "images": ("image_id", "dataset source", "sample probe generate"),
    "codes": ("sae image_id", "sae source", "encode"),
    "energies": ("sae image_id concept_id", "sae source", "encode"),
    "concept_stats": ("sae source concept_id", "sae", "compare"),
    "energy_differences": ("sae generator concept_id", "sae", "compare"),
    "top_images": ("sae source concept_id rank", "sae source", "compare"),
    "cooccurrences": ("sae source concept_a concept_b", "sae source", "cooccur"),
    "datapoints": ("sae generator pair_id", "sae generator", "datapoints"),
    "concepts": ("sae concept_id", "sae", "name"),
    "layout": ("sae concept_id", "sae", "layout"),
    "probes": ("sae generator concept_id", "sae", "probe"),
}
# What stands beside the differences, and the benchmark's own table.
BESIDE = {
    "embeddings": ("sae image_id", "sae source", "encode"),
    "nulls": ("sae generator kind form bin", "sae", "compare"),
    "distributions": ("sae generator form statistic", "sae", "compare"),
    "funnel": ("sae generator form bin", "sae", "compare"),
    "agreements": ("sae generator_a generator_b statistic", "sae", "compare"),
    "sae_agreements": ("sae other_sae generator", "sae", "compare"),
    "caption_differences": ("sae generator concept_id", "sae", "compare"),
    "name_edits": ("sae concept_id edited", "sae", "rename"),
    "regions": ("sae region", "sae", "layout"),
    "map_clusters": ("sae generator space kind", "sae", "layout"),
    "advice": ("sae generator concept_id", "sae", "advise"),
    "communities": ("sae concept_id", "sae", "cooccur"),
    "planted": ("seed family value direction rate n_pairs rule", "", "benchmark"),
}


def test_the_tables_are_those_of_the_design():
    found = {
        name: (" ".join(table.key), " ".join(table.partitions), " ".join(table.writers))
        for name, table in TABLES.items()
    }
    assert found == DESIGN | BESIDE


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_keys_and_partitions_are_columns_that_are_never_null(table):
    keyed = set(table.key) | set(table.partitions)
    assert keyed <= set(table.columns) and table.nullable <= set(table.columns)
    assert not keyed & table.nullable
    assert all(table.columns[column] == pl.String for column in table.partitions)
    assert all(table.columns[column] in (pl.String, pl.Int32, pl.Int64) for column in table.key)
    assert list(table.columns)[-1] == "run_id"


def test_every_table_comes_back_as_it_was_written(tmp_path):
    store = TableStore(tmp_path)
    store.create()
    for name, table in TABLES.items():
        assert store.append(name, frame(name, {}), shard="0", stage=table.writers[0], run_id="run")
        at = f"{tmp_path}/tables/{name}"
        stored = pl.scan_delta(at).collect()
        assert stored.to_dicts() == [{**row(name), "run_id": "run"}]
        assert dict(stored.schema) == table.columns
        assert DeltaTable(at).metadata().partition_columns == list(table.partitions)


def test_create_opens_every_table_empty_and_again_changes_nothing(tmp_path):
    store = TableStore(tmp_path / "my lake é")
    store.create()
    store.create()
    assert store.versions() == dict.fromkeys(TABLES, 0)
    for name, table in TABLES.items():
        assert store.scan(name).collect().schema == pl.Schema(table.columns)


def test_image_id_is_pinned():
    # The first 63 bits of "coco\x1freal\x1f7\x1f0" through `b2sum -l 64`; old lakes need it to stay.
    assert image_id("coco", "real", 7) == int("204a5cea731a28c8", 16) >> 1
    assert image_id("coco", "real", 7) != image_id("coco", "real", 7, 1)


def check(name: str, data: pl.DataFrame, stage: str | None = None) -> pl.DataFrame:
    return checked(TABLES[name], data, stage=stage or TABLES[name].writers[0], run_id="run")


def test_the_door_casts_only_without_loss():
    narrow = frame("layout", {"region": None}).with_columns(
        pl.col("concept_id").cast(pl.UInt8), pl.lit(None).alias("region")
    )
    rows = check("layout", narrow.select(reversed(narrow.columns)))
    assert dict(rows.schema) == TABLES["layout"].columns and rows["concept_id"].to_list() == [7]
    wide = frame("codes", {}).with_columns(pl.col("token").cast(pl.List(pl.Int64)), concept=pl.lit([]))
    assert check("codes", wide)["token"].to_list() == [[1, 2]]
    with pytest.raises(TableError, match="concept_id: a value of type Int64 does not fit Int32"):
        check("layout", frame("layout", {}).with_columns(pl.lit(2**31).alias("concept_id")))
    with pytest.raises(TableError, match="column x: expected Float32, found Float64"):
        check("layout", frame("layout", {}).with_columns(pl.col("x").cast(pl.Float64)))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("layout", [{"x": None}], "column x: 1 values are null"),
        ("layout", [{"x": math.nan}], "column x: 1 values are NaN"),
        ("layout", [{"sae": ""}], "column sae: a value is empty"),
        ("layout", [{}, {}, {"concept_id": 8}], "2 rows share a key, such as sae 'text', concept_id 7"),
        ("codes", [{"activation": [1.0, math.nan]}], "column activation: 1 values are NaN"),
        ("codes", [{"token": [1, None, 2]}], "column token: 1 list elements are null"),
    ],
)
def test_the_door_refuses_bad_values(name, changes, message):
    with pytest.raises(TableError, match=message):
        check(name, frame(name, *changes))


def test_the_door_refuses_strangers():
    good = frame("layout", {})
    with pytest.raises(TableError, match="stage 'name' may not write table layout: only layout may"):
        check("layout", good, stage="name")
    with pytest.raises(TableError, match="lacks x and has z, run_id too many"):
        check("layout", good.rename({"x": "z"}).with_columns(run_id=pl.lit("r")))
    with pytest.raises(TableError, match="there is no table 'atoms'"):
        TableStore("unused").version("atoms")


def test_empty_lists_and_empty_frames_pass_the_door():
    assert check("codes", frame("codes", {"token": [], "concept": [], "activation": []})).height == 1
    assert check("codes", frame("codes")).height == 0
