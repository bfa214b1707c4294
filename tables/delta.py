"""Delta Lake as the store needs it: finding, opening and making a table, and reading its log."""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from tables.checks import schema_difference
from tables.errors import TableError
from tables.schemas import Table

# A file larger than this is left alone; several smaller ones of a partition are merged.
FILE_BYTES = 100 * 2**20
# deltalake or polars cannot read a table back from a local path with one of these characters.
_BAD_IN_PATH = re.compile(r"[=%\[\]\\^|]")
_COMMIT = re.compile(r"\d{20}\.json")
# Commits that move rows between files, or nothing at all.
_ROWS_UNCHANGED = {"CREATE TABLE", "OPTIMIZE", "VACUUM START", "VACUUM END"}


class LocatedTable(DeltaTable):
    """A table whose file names are real paths: deltalake gives `my%20lake`, which polars cannot open."""

    def file_uris(self, *args, **kwargs) -> list[str]:
        uris = super().file_uris(*args, **kwargs)
        if not self.table_uri.startswith("file://"):
            return uris
        encoded = self.table_uri.removeprefix("file://")
        return [unquote(encoded) + uri.removeprefix(encoded) for uri in uris]


def locate(uri: str | Path) -> tuple[str, Path | None]:
    """Return the lake's address without a trailing slash, and its folder if it is a local one.

    Raises:
        TableError: the address is garbled, or holds a character that cannot be used.
    """
    text = str(uri)
    if re.match(r"[a-z0-9]+:/[^/]", text):
        raise TableError(f"the lake {text} has lost a slash, as an address does in a Path; give it as a str.")
    if "://" in text and not text.startswith("file://"):
        return text.rstrip("/"), None
    local = Path(unquote(urlparse(text).path) if text.startswith("file://") else text).expanduser().resolve()
    bad = _BAD_IN_PATH.search(str(local))
    if bad:
        raise TableError(
            f"the lake {local} cannot be used: its path has a {bad[0]!r}; choose a folder without."
        )
    return str(local), local


def check_writable(folder: Path) -> None:
    """Make `folder` and try a file in it; raise a TableError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TableError(
            f"the lake folder {folder} cannot be written ({error.strerror}); choose one you may write to."
        ) from error


def open_table(
    at: str, contract: Table, options: dict[str, str] | None, version: int | None = None
) -> DeltaTable | None:
    """Open the table at an address, or return None where there is none.

    Raises:
        TableError: it cannot be read, has no such version, or has another schema than the contract.
    """
    try:
        table = LocatedTable(at, version=version, storage_options=options)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        which = "" if version is None else f" version {version} of"
        raise TableError(f"cannot open{which} table {contract.name} at {at}: {first_line(error)}.") from error
    stored = pl.Schema(table.schema())
    difference = schema_difference(contract, stored, table.metadata().partition_columns)
    if difference:
        raise TableError(
            f"table {contract.name} at {at} has another schema: {difference}; another release wrote it,"
            " so use a new lake folder or move this table away."
        )
    return table


def create_table(at: str, contract: Table, options: dict[str, str] | None) -> DeltaTable:
    """Make an empty table and open it; open it as well where another process made it at the same time.

    Raises:
        TableError: it can be neither made nor opened.
    """
    failure = None
    try:
        DeltaTable.create(
            at,
            schema=pl.Schema(contract.columns),
            mode="ignore",
            partition_by=list(contract.partitions),
            name=contract.name,
            description=contract.row,
            storage_options=options,
        )
    except (DeltaError, OSError) as error:
        failure = error
    table = open_table(at, contract, options)
    if table is None:
        reason = first_line(failure) if failure else "it vanished while it was made"
        raise TableError(f"cannot create table {contract.name} at {at}: {reason}.") from failure
    return table


def newest_commit(folder: Path) -> tuple[int, int] | None:
    """Return the version of a local table by the names in its log, and when that file was written (ns).

    None where there is no table.
    """
    try:
        newest = max(name for name in os.listdir(folder / "_delta_log") if _COMMIT.fullmatch(name))
        return int(newest[:20]), (folder / "_delta_log" / newest).stat().st_mtime_ns
    except (OSError, ValueError):  # what is wrong there is said when the table is opened
        return None


def last_shard(table: DeltaTable, where: Mapping[str, str | int]) -> str | None:
    """Return the shard that last replaced the rows of `where`, or None if something else touched them since.

    Looked up in the log and not in the transactions, for only the log tells of overlapping writes.
    """
    for commit in table.history():
        if commit["operation"] in _ROWS_UNCHANGED:
            continue
        other = json.loads(commit.get("where", "{}"))
        if any(other.get(column, value) != value for column, value in where.items()):
            continue  # it replaced rows that `where` does not match
        return commit["shard"] if other == where else None
    return None


def crowded_partitions(table: DeltaTable, partitions: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the values of the partitions that hold more files than their bytes call for."""
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    if files.is_empty():
        return []
    files = files.rename({f"partition.{column}": column for column in partitions})
    sizes = files.group_by(partitions).agg(pl.len().alias("n"), pl.col("size_bytes").sum().alias("total"))
    return (
        sizes.filter(pl.col("n") > 1 + 2 * (pl.col("total") // FILE_BYTES))
        .select(partitions)
        .rows(named=True)
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without its full stop."""
    return str(error).strip().split("\n")[0].rstrip(".")
