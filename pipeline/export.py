"""Small tables as files for other programs."""

import json
from pathlib import Path

import polars as pl

from pipeline.sources.registry import find
from tables import TABLES, TableStore

_LARGE = {"images", "codes", "energies", "embeddings"}
_FORMULA = r"^[=+\-@\t\r]"  # how a cell begins that a spreadsheet would run


def export(lake: str, table: str, to: Path) -> str:
    """Write all rows of a table to a `.csv` or `.parquet` file, by key.

    In CSV a list is written as JSON, and text that a spreadsheet would take for a formula begins with an
    apostrophe. Raises ValueError in one sentence for an unknown or large table, one without rows, and another
    ending.
    """
    rule = find(TABLES, table, "table")
    if table in _LARGE:
        raise ValueError(
            f"the table {table} is large; open {lake}/tables/{table} with polars.scan_delta instead."
        )
    if to.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{to} is neither .csv nor .parquet; give the file one of these endings.")
    rows = TableStore(lake).scan(table).collect().sort(rule.key)
    if rows.is_empty():
        raise ValueError(f"the table {table} of {lake} is empty; run the stage {rule.writers[-1]} first.")
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.suffix == ".parquet":
        rows.write_parquet(to)
    else:
        rows.with_columns(_cell(rows[name]) for name in rows.columns).write_csv(to)
    return f"{len(rows):,} rows of {table} in {to}"


def _cell(values: pl.Series) -> pl.Series:
    """A column as CSV can hold it."""
    if isinstance(values.dtype, pl.List):
        cells = [None if row is None else json.dumps(row.to_list(), ensure_ascii=False) for row in values]
        return pl.Series(values.name, cells, dtype=pl.String)
    if values.dtype == pl.String:
        risky = values.str.contains(_FORMULA)
        return pl.select(pl.when(risky).then("'" + values).otherwise(values).alias(values.name)).to_series()
    return values
