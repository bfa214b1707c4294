"""Names that users give to concepts: kept apart from the names that are found, and stronger than them."""

import hashlib
import json
import time
import unicodedata

import polars as pl

from tables.errors import TableError
from tables.store import TableStore

LONGEST = 80  # characters of a name


def rename(store: TableStore, sae: str, concept_id: int, name: str) -> str:
    """Give a concept a name, from now on and in every rerun; an empty one brings back the found name.

    Returns the name as it is kept: one line, without spaces around it.

    Raises:
        TableError: no such concept in the table `concepts`, or a name that is too long.
    """
    kept = " ".join(unicodedata.normalize("NFC", name).split())
    if len(kept) > LONGEST:
        raise TableError(
            f"a name has at most {LONGEST} characters, and this one has {len(kept)}; shorten it."
        )
    if any(unicodedata.category(letter) == "Cc" for letter in kept):
        raise TableError("the name holds a control character; write it with letters that can be seen.")
    there = store.scan("concepts").filter((pl.col("sae") == sae) & (pl.col("concept_id") == concept_id))
    if there.select("concept_id").head(1).collect().is_empty():
        raise TableError(
            f"there is no concept {concept_id} of {sae!r} in {store.uri}; take its number from the dashboard,"
            " or run the stage name first."
        )
    before = _edits(store, sae).filter(pl.col("concept_id") == concept_id)["edited"].to_list()
    edited = max(
        [time.time_ns() // 1000, *(when + 1 for when in before)]
    )  # later is newer, whatever the clock
    row = pl.DataFrame(
        {"sae": [sae], "concept_id": [concept_id], "name": [kept], "edited": [edited]},
        schema_overrides={"concept_id": pl.Int32, "edited": pl.Int64},
    )
    shard = f"{sae}/{concept_id}/{edited}"
    store.append("name_edits", row, shard=shard, stage="rename", run_id="user")
    return kept


def only_sae(store: TableStore) -> str:
    """The SAE of a lake with one. TableError where it has none or several; the message names them."""
    names = sorted(store.scan("concepts").select("sae").unique().collect()["sae"])
    if len(names) != 1:
        found = f"has several SAEs, {', '.join(names)}; say which" if names else "has no named concepts yet"
        raise TableError(f"the lake {store.uri} {found}.")
    return names[0]


def edited_names(store: TableStore, sae: str) -> pl.DataFrame:
    """The users' names of one SAE: concept_id, name; without those that were emptied again."""
    newest = _edits(store, sae).unique("concept_id", keep="last", maintain_order=True)
    return newest.filter(pl.col("name") != "").select("concept_id", "name").sort("concept_id")


def edits_print(store: TableStore, sae: str) -> str:
    """Twelve hexadecimal digits that stand for the users' names of one SAE."""
    names = json.dumps(edited_names(store, sae).rows())
    return hashlib.sha256(names.encode()).hexdigest()[:12]


def with_edits(concepts: pl.LazyFrame | pl.DataFrame, edits: pl.DataFrame) -> pl.LazyFrame:
    """Rows with concept_id and found_name, and as `name` the one in `edits`, or else the found one."""
    mine = edits.lazy().select("concept_id", pl.col("name").alias("_edit"))
    named = (
        concepts.lazy()
        .drop("name", strict=False)
        .join(mine, on="concept_id", how="left", maintain_order="left")
    )
    return named.with_columns(pl.coalesce("_edit", "found_name").alias("name")).drop("_edit")


def named_concepts(store: TableStore, sae: str) -> pl.LazyFrame:
    """The table `concepts` of one SAE by id, with edits that are newer than the last run of `name`."""
    rows = store.scan("concepts").filter(pl.col("sae") == sae).sort("concept_id")
    columns = rows.collect_schema().names()
    return with_edits(rows, edited_names(store, sae)).select(columns).sort("concept_id")


def _edits(store: TableStore, sae: str) -> pl.DataFrame:
    return store.scan("name_edits").filter(pl.col("sae") == sae).sort("edited").collect()
