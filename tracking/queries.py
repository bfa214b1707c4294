"""Read-only questions about runs, answered as polars frames. A store that is not there has no runs."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import polars as pl

from tracking.location import EXPERIMENT, Location, artifact_folder, locate, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VERSIONS = pl.List(pl.Struct({"table": pl.String, "version": pl.Int64}))

RUNS = pl.Schema(
    {
        "run_id": pl.String(),
        "experiment_id": pl.String(),
        "parent_id": pl.String(),  # null for a run that is no child
        "name": pl.String(),
        "stage": pl.String(),
        "status": pl.String(),  # RUNNING, FINISHED, FAILED or KILLED
        "started": pl.Datetime("ms", "UTC"),
        "seconds": pl.Float64(),  # null while it runs
        "git_commit": pl.String(),
        "error": pl.String(),
        "params": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
        "metrics": pl.List(pl.Struct({"key": pl.String, "value": pl.Float64})),  # last values
        "read": _VERSIONS,
        "wrote": _VERSIONS,
    }
)
HISTORY = pl.Schema({"step": pl.Int64(), "value": pl.Float64()})


def runs(lake: str | Path, experiment: str = EXPERIMENT) -> pl.DataFrame:
    """Return one row per run of a lake, newest first, in the columns of `RUNS`."""
    location = locate(lake)
    if not location.exists:
        return pl.DataFrame(schema=RUNS)
    client = _client(location)
    # A moved lake keeps its older runs in an experiment with a longer name.
    found = client.search_experiments(filter_string=f"name LIKE '{experiment}%'")
    mark = '"' if "'" in location.lake else "'"
    mine = "" if location.folder else f"tags.lake = {mark}{location.lake}{mark}"
    rows, token = [], None
    while found:
        page = client.search_runs([e.experiment_id for e in found], mine, max_results=1000, page_token=token)
        rows += [_row(run) for run in page]
        token = page.token
        if not token:
            break
    return pl.DataFrame(rows, schema=RUNS, orient="row").sort("started", descending=True)


def metric_history(lake: str | Path, run_id: str, key: str) -> pl.DataFrame:
    """Return step and value of one metric of one run, by step; empty where there is none."""
    location = locate(lake)
    if not location.exists:
        return pl.DataFrame(schema=HISTORY)
    points = _known(lambda: _client(location).get_metric_history(run_id, key)) or []
    points = sorted(points, key=lambda point: (point.step, point.timestamp))
    return pl.DataFrame([(point.step, point.value) for point in points], schema=HISTORY, orient="row")


def artifacts(lake: str | Path, run_id: str) -> list[str]:
    """Return the paths of a run's artifacts below its artifact folder, sorted; empty where there are none."""
    location = locate(lake)
    if not location.exists:
        return []
    if location.folder:
        folder = artifact_folder(location, run_id)
        if folder is None:
            return []
        return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return sorted(_known(lambda: _remote_files(_client(location), run_id)) or [])


def artifact_path(lake: str | Path, run_id: str, name: str) -> Path | None:
    """Return a local file with one artifact, downloaded if need be; None if `artifacts` has no such name."""
    if name not in artifacts(lake, run_id):
        return None
    location = locate(lake)
    folder = artifact_folder(location, run_id)
    return folder / name if folder else Path(_client(location).download_artifacts(run_id, name))


def run_address(experiment_id: str, run_id: str) -> str | None:
    """Return where MLflow's own pages show a run; None unless `MLFLOW_TRACKING_URI` is an http address.

    A name and a password in that address are left out.
    """
    store = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if store.scheme not in ("http", "https") or not store.netloc:
        return None
    host = store.netloc.rpartition("@")[2]
    where = f"experiments/{quote(experiment_id, safe='')}/runs/{quote(run_id, safe='')}"
    return f"{store.scheme}://{host}{store.path.rstrip('/')}/#/{where}"


@lru_cache(maxsize=4)
def _client(location: Location) -> "MlflowClient":
    return open_client(location)


def _known(ask) -> Any:
    """The answer, or None where the run or the metric does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _remote_files(client: "MlflowClient", run_id: str, path: str | None = None) -> list[str]:
    files = []
    for entry in client.list_artifacts(run_id, path):
        files += _remote_files(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return files


def _row(run) -> tuple:
    info, tags = run.info, run.data.tags
    return (
        info.run_id,
        info.experiment_id,
        tags.get("mlflow.parentRunId"),
        info.run_name,
        tags.get("stage"),
        info.status,
        info.start_time,
        (info.end_time - info.start_time) / 1000 if info.end_time else None,
        tags.get("mlflow.source.git.commit"),
        tags.get("error"),
        _pairs(run.data.params),
        _pairs(run.data.metrics),
        _versions(tags, "read_version"),
        _versions(tags, "version"),
    )


def _pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in sorted(values.items())]


def _versions(tags: dict[str, str], kind: str) -> list[dict[str, Any]]:
    found = [(re.fullmatch(rf"delta\.(\w+)\.{kind}", tag), value) for tag, value in sorted(tags.items())]
    return [{"table": match[1], "version": int(value)} for match, value in found if match]
