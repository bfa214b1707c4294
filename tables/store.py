"""The only door to the lake: Delta tables written once per shard, whatever was killed in between.

Every write names its shard. The shard is recorded in the same commit as its rows, so a stage that is run
again skips what is there, and two processes that write the same shard leave it once.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from tables.checks import check_where, checked, predicate
from tables.delta import (
    FILE_BYTES,
    check_writable,
    create_table,
    crowded_partitions,
    first_line,
    last_shard,
    locate,
    newest_commit,
    open_table,
)
from tables.errors import TableError
from tables.lock import writer_lock
from tables.schemas import TABLES, Table

# Object stores refuse a commit that lost a race; with the default of 15 retries 4 of 40 writers gave up.
_COMMIT_RETRIES = 200
_CONFLICT_RETRIES = 20
_READERS = 8  # threads
# The column that readers look rows up by, where ordering the files by it pays.
_ORDER = {"energies": "concept_id"}
# Rows that are read at once where rows are wide and a few of them are asked for: a concept's heat maps, the
# codes and images of some pairs. With the default of a million, all of a file is unpacked for one row.
_GROUPS = {
    name: WriterProperties(max_row_group_size=n)
    for name, n in {"top_images": 1024, "codes": 64, "images": 128}.items()
}

_STATUS = {
    "table": pl.String(),
    "rows": pl.Int64(),
    "files": pl.Int64(),
    "bytes": pl.Int64(),
    "version": pl.Int64(),
    "last_stage": pl.String(),
    "last_run": pl.String(),
    "updated": pl.Datetime("ms", "UTC"),
}


class TableStore:
    """The tables of one lake, at `<uri>/tables/<name>`.

    Args:
        uri: a local folder, or the URI of an object store such as `s3://bucket/lake` (as str, not Path).
        storage_options: credentials and endpoint of an object store, as deltalake takes them.

    Raises:
        TableError: the path holds a character that the table format cannot keep.
    """

    def __init__(self, uri: str | Path, storage_options: dict[str, str] | None = None):
        self.uri, self._local = locate(uri)
        self._options = storage_options
        self._seen: dict[str, DeltaTable] = {}
        self._read: dict[str, tuple[tuple[int, int], DeltaTable]] = {}

    def __reduce__(self):
        return TableStore, (self.uri, self._options)  # open tables do not travel to other processes

    def create(self) -> None:
        """Make every missing table, empty and partitioned; check the schema of those that are there."""
        if self._local:
            check_writable(self._local / "tables")
        for name in TABLES:
            self._open_or_create(name)

    def append(self, name: str, frame: pl.DataFrame, *, shard: str, stage: str, run_id: str) -> bool:
        """Add the rows of one shard, once.

        Args:
            name: the table.
            frame: the contract's columns without `run_id`. Without rows it still records the shard as done.
            shard: the id of this slice of work, unique within the table; take it from the plan, never from
                the contents. `replace` does not make a table forget it.
            stage: the stage that writes; it must be one of the table's writers.
            run_id: the MLflow run that writes.

        Returns:
            False if the shard was there before, and then nothing is written.

        Raises:
            TableError: the frame breaks the contract, or the table cannot be written.
        """
        rows = checked(_table(name), frame, stage=stage, run_id=run_id)
        _check_shard(name, shard)
        note = {"mlflow.run_id": run_id, "stage": stage, "shard": shard}
        return self._commit(name, rows, note, shard, lambda dt: dt.transaction_version(shard) is not None)

    def has(self, name: str, shard: str) -> bool:
        """Tell whether `append` has committed this shard. A missing table has none."""
        table = self._seen.get(name) or self._open(name)
        if table is None:
            return False
        if table.transaction_version(shard) is None:
            table.update_incremental()
        self._seen[name] = table
        return table.transaction_version(shard) is not None

    def replace(
        self,
        name: str,
        frame: pl.DataFrame,
        *,
        where: Mapping[str, str | int],
        shard: str,
        stage: str,
        run_id: str,
    ) -> bool:
        """Put `frame` in the place of exactly the rows that match `where`, in one commit.

        Args:
            where: equality on key or partition columns, such as `{"sae": "x", "generator": "y"}`. Every row
                of the frame must match it. Without rows in the frame the matching rows are deleted.
            shard: what these rows were made from, such as input versions and settings.
            name, frame, stage, run_id: as in `append`.

        Returns:
            False if the last commit that could touch these rows was this very replacement. When anything
            else was written there since, or the log no longer tells, the rows are written again.

        Raises:
            TableError: the frame or `where` breaks the contract, or the table cannot be written.
        """
        table = _table(name)
        condition = predicate(table, where)
        rows = checked(table, frame, stage=stage, run_id=run_id)
        check_where(table, rows, where)
        _check_shard(name, shard)
        place = json.dumps(where, sort_keys=True)
        note = {"mlflow.run_id": run_id, "stage": stage, "shard": shard, "where": place}
        return self._commit(
            name, rows, note, f"replace {place}", lambda dt: last_shard(dt, where) == shard, condition
        )

    def holds(self, name: str, where: Mapping[str, str | int], shard: str) -> bool:
        """Tell whether the rows that match `where` are those that `replace` put there for this shard."""
        predicate(_table(name), where)  # a `where` that replace refuses has nothing to hold
        table = self._open(name)
        return table is not None and last_shard(table, where) == shard

    def scan(self, name: str, *, version: int | None = None) -> pl.LazyFrame:
        """Return the table, pinned to `version` or to the newest one now; a missing table has no rows.

        Raises:
            TableError: another schema, or a version that does not exist.
        """
        table = self._current(name) if version is None else self._open(name, version)
        if table is None:
            if version is not None:
                raise TableError(
                    f"table {name} at {self._at(name)} does not exist, so it has no version {version}."
                )
            return pl.LazyFrame(schema=_table(name).columns)
        if self._local:
            return pl.scan_delta(table)
        # By address, so that polars looks up and renews the credentials itself.
        return pl.scan_delta(self._at(name), version=table.version(), storage_options=self._options)

    def version(self, name: str) -> int | None:
        """Return the newest version of a table, or None if it is missing."""
        table = self._open(name)
        return None if table is None else table.version()

    def versions(self) -> dict[str, int]:
        """Return the newest version of every table that is there; local ones are not opened for it."""
        found = {name: self._newest(name) for name in TABLES}
        return {name: version for name, version in found.items() if version is not None}

    def compact(self, name: str) -> bool:
        """Merge small files, and order those of `energies` by concept. Rows, shards and history stay.

        Returns:
            True if files were rewritten. The old files stay on disk, for older versions are read from them.
        """
        table = self._open(name)
        crowded = [] if table is None else crowded_partitions(table, _table(name).partitions)
        if table is None or not crowded:
            return False
        commit = CommitProperties(max_commit_retries=_COMMIT_RETRIES)
        for values in crowded:
            filters = [(column, "=", value) for column, value in values.items()]
            how: dict[str, Any] = {"commit_properties": commit, "writer_properties": _GROUPS.get(name)}
            if name in _ORDER:
                table.optimize.z_order([_ORDER[name]], filters, FILE_BYTES, **how)
            else:
                table.optimize.compact(filters, FILE_BYTES, **how)
        return True

    def status(self) -> pl.DataFrame:
        """Return one row per table of the contract, whether it is there or not.

        Columns: table, rows, files, bytes (of the newest version), version (null if missing), last_stage,
        last_run, updated (UTC; all three of the last write by a stage, null if there was none).
        """
        with ThreadPoolExecutor(_READERS) as pool:  # logs are small files, and there are many
            rows = list(pool.map(self._status, TABLES))
        return pl.DataFrame(rows, schema=_STATUS, orient="row")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer of a local lake for the length of the block.

        For an object store it does nothing: there, commits alone keep writers apart.

        Raises:
            TableError: another process holds the lock; the message names it.
        """
        if self._local is None:
            yield
            return
        with writer_lock(self._local):
            yield

    def _newest(self, name: str) -> int | None:
        if self._local is None:
            return self.version(name)
        newest = newest_commit(self._local / "tables" / name)
        return None if newest is None else newest[0]

    def _current(self, name: str) -> DeltaTable | None:
        """The newest version for reading; a local table is opened again only after a commit."""
        newest = newest_commit(self._local / "tables" / _table(name).name) if self._local else None
        if newest is None:
            return self._open(name)
        read = self._read.get(name)
        if read is None or read[0] != newest:
            table = self._open(name)
            if table is None:
                return None
            read = self._read[name] = newest, table
        return read[1]

    def _at(self, name: str) -> str:
        return f"{self.uri}/tables/{_table(name).name}"

    def _open(self, name: str, version: int | None = None) -> DeltaTable | None:
        return open_table(self._at(name), _table(name), self._options, version)

    def _open_or_create(self, name: str) -> DeltaTable:
        table = self._open(name)
        if table is not None:
            return table
        if self._local:
            check_writable(self._local / "tables")
        return create_table(self._at(name), _table(name), self._options)

    def _commit(
        self,
        name: str,
        rows: pl.DataFrame,
        note: dict[str, str],
        transaction: str,
        done: Callable[[DeltaTable], bool],
        condition: str | None = None,
    ) -> bool:
        for _ in range(_CONFLICT_RETRIES):
            table = self._open_or_create(name)
            if done(table):
                return False
            # Written through the handle that `done` has seen: a transaction committed after it is a conflict.
            commit = CommitProperties(
                app_transactions=[Transaction(transaction, table.version() + 1)],
                max_commit_retries=_COMMIT_RETRIES,
                custom_metadata=note,
            )
            try:
                how: dict[str, Any] = {"commit_properties": commit, "writer_properties": _GROUPS.get(name)}
                if condition is None:
                    write_deltalake(table, rows, mode="append", **how)
                else:
                    write_deltalake(table, rows, mode="overwrite", predicate=condition, **how)
                return True
            except CommitFailedError:
                continue
            except (DeltaError, OSError) as error:
                raise TableError(
                    f"cannot write table {name} at {self._at(name)}: {first_line(error)}."
                ) from error
        raise TableError(
            f"table {name} at {self._at(name)} is written by too many processes; run the stage again."
        )

    def _status(self, name: str) -> tuple:
        table = self._current(name)
        if table is None:
            return name, 0, 0, 0, None, None, None, None
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        last = next((commit for commit in table.history() if "shard" in commit), {})
        return (
            name,
            files["num_records"].sum(),
            files.height,
            files["size_bytes"].sum(),
            table.version(),
            last.get("stage"),
            last.get("mlflow.run_id"),
            last.get("timestamp"),
        )


def _table(name: str) -> Table:
    if name not in TABLES:
        raise TableError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}.")
    return TABLES[name]


def _check_shard(name: str, shard: str) -> None:
    if not shard:
        raise TableError(f"table {name}: a write needs a shard id, and this one is empty.")
