"""The dashboard's way into a lake: which one, its tables and their versions, its runs and SAEs. Read-only."""

import functools
import json
import logging
import math
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import polars as pl
import streamlit as st

from dashboard import pictures
from tables import TableStore
from tables.schemas import TABLES
from tracking import queries as tracked

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

FIGURE = 900  # pixels of the longer side of a run's figure
VERSIONS_SECONDS = 2.0  # how long a look at the table versions is good for
_LAST_LOOK: dict[str, tuple[float, dict[str, int | None]]] = {}  # by lake: when, and what was seen


@st.cache_resource(show_spinner=False, max_entries=8)
def store(lake: str) -> TableStore:
    """The tables of a lake; opened once."""
    return TableStore(lake)


def lake_address(arguments: Sequence[str]) -> str:
    """The lake asked for: `--lake PATH`, else BLINDSPOTS_LAKE, else `lake`."""
    for at, argument in enumerate(arguments):
        if argument == "--lake" and at + 1 < len(arguments):
            return arguments[at + 1]
        if argument.startswith("--lake="):
            return argument.removeprefix("--lake=")
    return os.environ.get("BLINDSPOTS_LAKE") or "lake"


def lake_exists(lake: str) -> bool:
    """Whether there is anything at a local address; remote ones are taken to exist."""
    return "://" in lake or (Path(lake) / "tables").is_dir()


def versions(lake: str) -> dict[str, int | None]:
    """The version of each table, None where it was never written; not older than VERSIONS_SECONDS."""
    looked, found = _LAST_LOOK.get(lake, (-math.inf, {}))
    now = time.monotonic()
    if now - looked >= VERSIONS_SECONDS:
        there = store(lake).versions()
        found = {name: there.get(name) for name in TABLES}
        _LAST_LOOK[lake] = now, found
    return found


def look_again() -> None:
    """Look at the table versions anew at the next question, after a table was written from here."""
    _LAST_LOOK.clear()


def status(lake: str) -> pl.DataFrame:
    """Rows, version and last write of every table."""
    return store(lake).status()


def by_version(*tables: str, max_entries: int = 64) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep results of a function whose first argument is the lake until one of `tables` changes.

    All sessions get the same object, not copies, so what it returns must never be changed in place.
    """

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def keyed(seen: tuple[int | None, ...], *args: P.args, **kwargs: P.kwargs) -> T:
            return function(*args, **kwargs)

        kept = st.cache_resource(show_spinner=False, max_entries=max_entries)(keyed)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            now = versions(cast("str", args[0]))
            return kept(tuple(now[name] for name in tables), *args, **kwargs)

        return call

    return wrap


@st.cache_data(show_spinner=False, ttl=15.0, max_entries=8)
def runs(lake: str) -> pl.DataFrame:
    """The recorded runs of the lake, newest first; empty where there is none or the records are unreadable.

    The first call imports MLflow, which takes seconds: a page should ask for it last.
    """
    try:
        return tracked.runs(lake)
    except Exception as problem:  # the pages serve without their runs
        _LOG.warning("the runs of %s cannot be read: %s", lake, problem)
        return pl.DataFrame(schema=tracked.RUNS)


def run_address(experiment_id: str, run_id: str) -> str | None:
    """Where MLflow's own pages show a run; None unless its records are behind an http address."""
    return tracked.run_address(experiment_id, run_id)


def mlflow_command(lake: str) -> str | None:
    """The command that opens MLflow's pages on records inside a local lake; None where they are elsewhere."""
    if os.environ.get("MLFLOW_TRACKING_URI") or "://" in lake:
        return None
    records = shlex.quote(f"sqlite:///{lake}/mlflow/mlflow.db")
    return f"mlflow server --backend-store-uri {records} --host 127.0.0.1 --port 5000 --workers 1"


@st.cache_data(show_spinner=False, ttl=60.0, max_entries=16)
def run_figures(lake: str, run_id: str, limit: int = 8) -> list[tuple[str, str]]:
    """The first PNG figures that a run kept, each with the address of a smaller WebP file."""
    found = []
    try:
        names = [name for name in tracked.artifacts(lake, run_id) if name.lower().endswith(".png")]
        for name in names[:limit]:
            file = tracked.artifact_path(lake, run_id, name)
            picture = pictures.decode(file.read_bytes()) if file else None
            if picture is not None:
                picture.thumbnail((FIGURE, FIGURE))
                found.append((name, pictures.address(pictures.webp(picture, 88))))
    except Exception as problem:  # the page serves without figures
        _LOG.warning("the figures of run %s cannot be read: %s", run_id, problem)
    return found


@dataclass(frozen=True)
class SAEFacts:
    """What an SAE was made for: its backbone's name, and the centred share of the shorter side it sees."""

    backbone: str | None = None
    crop: float = 1.0


@st.cache_data(show_spinner=False, ttl=60.0, max_entries=32)
def sae_facts(lake: str, sae: str) -> SAEFacts:
    """Facts from the SAE's checkpoint beside the tables; defaults where it is not on this machine."""
    folder = Path("lake-files" if "://" in lake else lake) / "saes"
    file = folder / sae / "cfg.json"
    if not file.resolve().is_relative_to(folder.resolve()):
        return SAEFacts()
    try:
        metadata = json.loads(file.read_text())["metadata"]
        seen = metadata["preprocessing"]
        return SAEFacts(str(metadata["backbone"]), min(1.0, float(seen["crop"]) / float(seen["resize"])))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return SAEFacts()


def tables(lake: str) -> pl.DataFrame:
    """`status`, kept until a table is written."""
    return _tables(lake, tuple(versions(lake).values()))


@st.cache_data(show_spinner=False, max_entries=8)
def _tables(lake: str, seen: tuple[int | None, ...]) -> pl.DataFrame:
    return status(lake)


def last_written(lake: str) -> datetime | None:
    """When a table of the lake was last written (UTC)."""
    return cast("datetime | None", tables(lake)["updated"].max())
