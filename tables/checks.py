"""What the door of the lake checks: a frame, a `where` and a stored schema against the contract."""

from collections.abc import Mapping

import polars as pl

from tables.errors import TableError
from tables.schemas import Table


def checked(table: Table, frame: pl.DataFrame, *, stage: str, run_id: str) -> pl.DataFrame:
    """Return `frame` as rows of `table`: contract order, exact types, with the `run_id` column added.

    Integers of another width and columns of type Null are cast where every value fits; nothing else is.

    Raises:
        TableError: wrong stage, column or type, a null or NaN where none may be, or a repeated key.
    """
    if stage not in table.writers:
        raise TableError(
            f"stage {stage!r} may not write table {table.name}: only {_names(table.writers)} may."
        )
    if not run_id:
        raise TableError(
            f"table {table.name}: a row needs the id of the run that wrote it, and run_id is empty."
        )
    _check_columns(table, frame, stage)
    rows = frame.with_columns(pl.lit(run_id).alias("run_id"))
    rows = pl.DataFrame([_cast(table, rows[column], stage) for column in table.columns])
    for column in table.columns:
        _check_values(table, rows[column])
    _check_key(table, rows)
    return rows


def predicate(table: Table, where: Mapping[str, str | int]) -> str:
    """Return `where`, an equality on key or partition columns, as a SQL condition with its values quoted.

    Only these columns are allowed because they are never null: SQL neither keeps nor drops a null reliably.

    Raises:
        TableError: no column, a column outside key and partitions, or a value of another type.
    """
    allowed = dict.fromkeys((*table.partitions, *table.key))
    if not where:
        raise TableError(
            f"table {table.name}: say which rows to replace, by one or more of {_names(allowed)}."
        )
    return " AND ".join(_equality(table, column, value, allowed) for column, value in where.items())


def check_where(table: Table, rows: pl.DataFrame, where: Mapping[str, str | int]) -> None:
    """Raise a TableError unless every row of `rows` is one of those that `where` replaces."""
    for column, value in where.items():
        strays = rows.filter(pl.col(column) != value)
        if strays.height:
            raise TableError(
                f"table {table.name}: {strays.height} rows have {column} {strays[column][0]!r}, outside the"
                f" {column} {value!r} to replace; write these rows with their own `where`."
            )


def schema_difference(table: Table, columns: pl.Schema, partitions: list[str]) -> str:
    """Say how a stored table differs from the contract, or return an empty string."""
    missing = [f"{column} is missing" for column in table.columns if column not in columns]
    unknown = [f"{column} is unknown" for column in columns if column not in table.columns]
    changed = [
        f"{column} is {columns[column]} instead of {dtype}"
        for column, dtype in table.columns.items()
        if column in columns and columns[column] != dtype
    ]
    split = [] if tuple(partitions) == table.partitions else [f"it is partitioned by {_names(partitions)}"]
    return ", ".join(missing + unknown + changed + split)


def _names(names) -> str:
    return ", ".join(names) or "nothing"


def _check_columns(table: Table, frame: pl.DataFrame, stage: str) -> None:
    expected = [column for column in table.columns if column != "run_id"]
    missing = [column for column in expected if column not in frame.columns]
    extra = [column for column in frame.columns if column not in expected]
    if missing or extra:
        raise TableError(
            f"table {table.name}: stage {stage!r} gave a frame that lacks {_names(missing)} and has"
            f" {_names(extra)} too many; give it exactly {_names(expected)}."
        )


def _cast(table: Table, values: pl.Series, stage: str) -> pl.Series:
    found, expected = values.dtype, table.columns[values.name]
    if found == expected:
        return values
    if _may_cast(found, expected):
        try:
            return values.cast(expected)
        except pl.exceptions.InvalidOperationError as error:
            raise TableError(
                f"table {table.name}, column {values.name}: a value of type {found} does not fit {expected};"
                f" look for an overflow in stage {stage!r}."
            ) from error
    raise TableError(
        f"table {table.name}, column {values.name}: expected {expected}, found {found};"
        f" cast it in stage {stage!r}."
    )


def _may_cast(found: pl.DataType, expected: pl.DataType) -> bool:
    if isinstance(found, pl.List) and isinstance(expected, pl.List):
        return found.inner == expected.inner or _may_cast(_instance(found.inner), _instance(expected.inner))
    return found == pl.Null or (found.is_integer() and expected.is_integer())


def _instance(dtype) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def _check_values(table: Table, values: pl.Series) -> None:
    place = f"table {table.name}, column {values.name}"
    if values.null_count() and values.name not in table.nullable:
        raise TableError(
            f"{place}: {values.null_count()} values are null, and no value of this column may be."
        )
    if values.name in table.partitions and (values == "").any():
        # Delta Lake stores an empty partition value as null.
        raise TableError(f"{place}: a value is empty, and the rows are filed by it; give it a name.")
    if isinstance(values.dtype, pl.List):
        values = values.explode(empty_as_null=False, keep_nulls=False)
        if values.null_count():
            raise TableError(f"{place}: {values.null_count()} list elements are null; leave them out.")
    if values.dtype.is_float() and values.is_nan().any():
        raise TableError(
            f"{place}: {values.is_nan().sum()} values are NaN; write null for what was not measured."
        )


def _check_key(table: Table, rows: pl.DataFrame) -> None:
    key = rows.select(table.key)
    repeated = key.filter(key.is_duplicated())
    if repeated.height:
        example = ", ".join(f"{column} {value!r}" for column, value in repeated.row(0, named=True).items())
        raise TableError(
            f"table {table.name}: {repeated.height} rows share a key, such as {example}; a key names one row."
        )


def _equality(table: Table, column: str, value: str | int, allowed) -> str:
    if column not in allowed:
        raise TableError(f"table {table.name}: rows are replaced by {_names(allowed)}, not by {column!r}.")
    expected = str if table.columns[column] == pl.String else int
    if type(value) is not expected or value == "":
        raise TableError(
            f"table {table.name}, column {column}: {value!r} names no rows;"
            f" give a {expected.__name__} that does."
        )
    quoted = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
    return f'"{column}" = {quoted}'
