"""Runs: one MLflow run per stage, nested in the run of the whole command."""

import getpass
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracking.location import EXPERIMENT, locate, open_client
from tracking.stage import Stage, clean_key, clean_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)


class Tracker:
    """The MLflow runs of one lake.

    They are kept in `MLFLOW_TRACKING_URI` if that is set, else in `<lake>/mlflow` (for a lake in an object
    store: `./mlflow`, with a warning). MLflow itself is loaded when the first run starts.

    Args:
        lake: the lake's folder or URI.
        experiment: the MLflow experiment of the runs.
    """

    def __init__(self, lake: str | Path, experiment: str = EXPERIMENT):
        self.location = locate(lake)
        self.experiment = experiment
        self._parent: str | None = None
        if self.location.folder and "://" in self.location.lake:
            _log.warning(
                "The lake %s is not local, so its MLflow runs are kept in %s; set MLFLOW_TRACKING_URI to keep"
                " them elsewhere.",
                self.location.lake,
                self.location.folder,
            )

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client of this lake's store."""
        return open_client(self.location)

    @contextmanager
    def run(self, name: str, params: Mapping[str, Any] | None = None) -> Iterator[Stage]:
        """Run a whole command; the stages inside the block become children of its run."""
        with self._started(name, params, {"stage": name}) as parent:
            outer, self._parent = self._parent, parent.run_id
            try:
                yield parent
            finally:
                self._parent = outer

    @contextmanager
    def stage(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        reads: Mapping[str, int | None] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Iterator[Stage]:
        """Run one stage. The run ends FAILED with an `error` tag if the block raises, KILLED on Ctrl-C.

        Args:
            name: the stage, also kept as the tag `stage`.
            params: its parameters, nested as they come.
            reads: the version of every table it reads.
            tags: further tags.
        """
        versions = {f"delta.{table}.read_version": v for table, v in (reads or {}).items() if v is not None}
        with self._started(name, params, {**(tags or {}), **versions, "stage": name}) as stage:
            yield stage

    @contextmanager
    def _started(
        self, name: str, params: Mapping[str, Any] | None, tags: Mapping[str, Any]
    ) -> Iterator[Stage]:
        stage = self._start(name, {**tags, **_origin(), "lake": self.location.lake})
        try:
            stage.params(dict(params or {}))
            yield stage
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            try:
                stage.finish("KILLED" if stopped else "FAILED", None if stopped else error)
            except Exception:  # the error of the stage matters more than that of its diary
                _log.exception("Run %s could not be ended in MLflow.", stage.run_id)
            raise
        stage.finish("FINISHED")

    def _start(self, name: str, tags: dict[str, Any]) -> Stage:
        experiment = self._experiment_id
        if self._parent:
            tags["mlflow.parentRunId"] = self._parent
        texts = {clean_key(key): clean_tag(value) for key, value in tags.items()}
        run = self.client.create_run(experiment, tags=texts, run_name=name)
        return Stage(self.client, run.info.run_id, name)

    @cached_property
    def _experiment_id(self) -> str:
        """The experiment, made where missing; on first use, runs that died with their process are ended."""
        artifacts = self.location.artifacts.as_uri() if self.location.artifacts else None
        found = self.client.get_experiment_by_name(self.experiment)
        if found and artifacts and found.artifact_location != artifacts:
            # The lake was moved, and MLflow would go on writing to its old place.
            moved = f"{self.experiment} (until it was moved, {found.experiment_id})"
            self.client.rename_experiment(found.experiment_id, moved)
            self._end_orphans(found.experiment_id)
            found = None
        if found is None:
            return self.client.create_experiment(self.experiment, artifact_location=artifacts)
        self._end_orphans(found.experiment_id)
        return found.experiment_id

    def _end_orphans(self, experiment: str) -> None:
        for run in self.client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            host, _, process = run.data.tags.get("process", "").partition(" ")
            if host == socket.gethostname() and process != _process(int(process.split()[0])):
                self.client.set_tag(run.info.run_id, "error", "its process died without ending the run")
                self.client.set_terminated(run.info.run_id, "KILLED")


def _origin() -> dict[str, str]:
    """Tags that tell where a run comes from, under MLflow's own names where it has one."""
    commit, dirty = git_commit(Path(__file__).parent)
    tags = {
        "process": f"{socket.gethostname()} {_process(os.getpid())}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": sys.argv[0] or "python",
        "mlflow.user": _user(),
    }
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}
    return tags


def _process(pid: int) -> str:
    """`<pid> <start>`, which a later process with the same number does not share; empty if it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return f"{pid} unknown"
    return "" if fields[0] == "Z" else f"{pid} {fields[19]}"


@lru_cache(maxsize=1)
def git_commit(folder: Path) -> tuple[str, bool]:
    """Return the commit of a checkout and whether files differ from it; an empty commit outside git."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(  # noqa: S603
            describe, cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "", False
    commit, _, dirty = answer.stdout.strip().partition("-")
    return commit, bool(dirty)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
