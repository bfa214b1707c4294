"""Small helpers between NumPy and the tables' frames."""

from collections.abc import Iterable

import numpy as np
import polars as pl

from tables import TABLES


def list_column(name: str, parts: Iterable[np.ndarray], kind: type[pl.DataType]) -> pl.Series:
    """One list per row. Of arrays of one length polars would make a fixed-size column, which Delta lacks."""
    return pl.Series(name, [pl.Series(part, dtype=kind) for part in parts], dtype=pl.List(kind))


def schema_of(table: str) -> dict[str, pl.DataType]:
    """Columns that a stage gives to a table: all but the run's id."""
    return {name: kind for name, kind in TABLES[table].columns.items() if name != "run_id"}


def columns_of(table: str) -> list[str]:
    """Their names, in the table's order."""
    return list(schema_of(table))
