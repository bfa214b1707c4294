"""Hand-made rows for the lake's tests."""

import polars as pl

from tables import TABLES

SAMPLES = {
    pl.String(): "text",
    pl.Int32(): 7,
    pl.Int64(): 2**40,
    pl.Float32(): 0.5,
    pl.Float64(): -0.125,
    pl.Boolean(): True,
    pl.Binary(): b"\x89PNG\x00\xff",
    pl.List(pl.Int32): [1, 2],
    pl.List(pl.Int64): [2**40],
    pl.List(pl.Float32): [0.5, 0.25],
    pl.List(pl.String): ["bird", "feeder"],
}


def row(name: str) -> dict:
    """One row with a value in every column of a table but `run_id`."""
    return {column: SAMPLES[dtype] for column, dtype in TABLES[name].columns.items() if column != "run_id"}


def frame(name: str, *rows: dict) -> pl.DataFrame:
    """`rows` over the sample row, in the exact types of the table."""
    schema = {column: dtype for column, dtype in TABLES[name].columns.items() if column != "run_id"}
    return pl.DataFrame([row(name) | changes for changes in rows], schema=schema)


def layout(sae: str, *concepts: int, x: float = 0.0) -> pl.DataFrame:
    """One row of `layout` per concept."""
    return frame("layout", *({"sae": sae, "concept_id": concept, "x": x} for concept in concepts))
