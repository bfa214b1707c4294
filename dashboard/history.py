"""Runs as frames for people: the list, and two runs side by side; pure functions of `access.runs`.

A run is a row of `tracking.queries.RUNS` as a dict; its parameters, metrics and table versions are lists.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from dashboard import theme

Run = Mapping[str, Any]


def listed(runs: pl.DataFrame) -> pl.DataFrame:
    """One readable row per run: stage, status, started, took, rate, read, wrote, commit, run."""
    rows = [
        {
            "stage": theme.one_line(run["stage"] or run["name"] or "–", 40),
            "status": (run["status"] or "–").lower(),
            "started": run["started"],
            "took": duration(run["seconds"]),
            "rate": rate(run),
            "read": versions(run["read"]),
            "wrote": versions(run["wrote"]),
            "commit": theme.one_line(run["git_commit"] or "–", 40)[:8],
            "run": run["run_id"],
        }
        for run in runs.iter_rows(named=True)
    ]
    kinds = dict.fromkeys(("stage", "status", "took", "rate", "read", "wrote", "commit", "run"), pl.String)
    return pl.DataFrame(rows, schema_overrides={**kinds, "started": pl.Datetime("ms", "UTC")})


def title(run: Run) -> str:
    """What a run is called where one is chosen: stage, what it was about, when."""
    about = values(run["params"]).get("generator.name")
    when = f"{run['started']:%d %b %Y %H:%M:%S}" if run["started"] else "never started"
    name = run["stage"] or run["name"] or "run"
    return theme.one_line(" · ".join(filter(None, [name, about, when])), 90)


def duration(seconds: float | None) -> str:
    """How long a run took; it has no end while it goes on."""
    if seconds is None:
        return "still running"
    if seconds < 60:
        return f"{theme.number(float(seconds), 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def rate(run: Run) -> str:
    """The first of a run's rates, such as `262 images/s`; a dash where it counts nothing."""
    for key, value in values(run["metrics"]).items():
        if key.endswith("_per_second"):
            return f"{theme.number(value)} {theme.one_line(key.removesuffix('_per_second'), 30)}/s"
    return "–"


def versions(tables: Iterable[Mapping[str, Any]] | None) -> str:
    """Tables with their versions, such as `images 29, pairs 6`."""
    return ", ".join(f"{each['table']} {each['version']}" for each in tables or ()) or "–"


def values(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    """Parameters or metrics by key."""
    return {each["key"]: each["value"] for each in entries or ()}


def beside(one: Mapping[str, Any], other: Mapping[str, Any] | None) -> pl.DataFrame:
    """Two runs' values by key: key, one, other (null where a run has no such key), differs.

    Without another run nothing differs and `other` is null. What differs comes first.
    """
    keys = sorted({*one, *(other or {})})
    rows = [(key, one.get(key), (other or {}).get(key)) for key in keys]
    texts = [(key, _text(a), _text(b), other is not None and not _same(a, b)) for key, a, b in rows]
    kinds = {"key": pl.String, "one": pl.String, "other": pl.String, "differs": pl.Boolean}
    frame = pl.DataFrame(texts, schema=kinds, orient="row")
    return frame.sort(pl.col("differs").not_(), "key")


def metric_changes(one: Mapping[str, float], other: Mapping[str, float] | None) -> pl.DataFrame:
    """`beside` for metrics, with `change`: the other's value less the one's, as a signed text."""
    frame = beside(one, other)
    moved = []
    for key in frame["key"]:
        a, b = one.get(key), (other or {}).get(key)
        by = b - a if a is not None and b is not None else 0.0
        moved.append(f"{'+' if by > 0 else ''}{theme.number(by)}" if by and by == by else "")
    return frame.with_columns(pl.Series("change", moved, dtype=pl.String))


def table_versions(run: Run) -> dict[str, str]:
    """Versions of the tables of a run, under keys such as `images, read`."""
    return {
        f"{each['table']}, {how}": str(each["version"])
        for how in ("read", "wrote")
        for each in run[how] or ()
    }


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        return theme.number(int(value))
    return theme.number(value, 4) if isinstance(value, (int, float)) else theme.one_line(str(value), 400)


def _same(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)  # NaN is NaN
