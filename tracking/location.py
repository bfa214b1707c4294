"""Where the runs of a lake are kept, and the MLflow client for that place."""

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "conceptual-blindspots"


@dataclass(frozen=True)
class Location:
    """`uri` is MLflow's tracking store. `folder` holds the database and the artifacts of an embedded store;
    it is None for a store that `MLFLOW_TRACKING_URI` names. `lake` tells lakes apart in a shared store."""

    uri: str
    folder: Path | None
    lake: str

    @property
    def artifacts(self) -> Path | None:
        """The artifact folder of an embedded store."""
        return self.folder / "artifacts" if self.folder else None

    @property
    def exists(self) -> bool:
        """Whether there is something to open; a named store is taken to be there."""
        return self.folder is None or (self.folder / "mlflow.db").is_file()


def locate(lake: str | Path) -> Location:
    """Find the store of a lake: `MLFLOW_TRACKING_URI`, else `<lake>/mlflow`.

    MLflow's embedded database needs a local folder, so for a lake in an object store it is `./mlflow`.
    """
    text = str(lake)
    if text.startswith("file://"):
        text = unquote(urlparse(text).path)
    remote = "://" in text
    lake_name = text.rstrip("/") if remote else str(Path(text).expanduser().resolve())
    named = os.environ.get("MLFLOW_TRACKING_URI")
    if named:
        return Location(named, None, lake_name)
    folder = (Path.cwd() if remote else Path(lake_name)) / "mlflow"
    return Location(f"sqlite:///{folder / 'mlflow.db'}", folder, lake_name)


def open_client(location: Location) -> "MlflowClient":
    """Return a client of the store, made on first use.

    MLflow is imported here, for it takes seconds and most callers of this package never start a run.
    """
    if location.folder:
        location.folder.mkdir(parents=True, exist_ok=True)
    from mlflow import MlflowClient

    # It announces the making of its tables, line by line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=location.uri, registry_uri=location.uri)


def artifact_folder(location: Location, run_id: str) -> Path | None:
    """Return the folder of a run's artifacts in an embedded store; None for a named store or no run id.

    Worked out from where the lake is now, for MLflow records where it was when the run was made.
    """
    if location.artifacts is None or not re.fullmatch(r"[0-9a-f]{32}", run_id):
        return None
    return location.artifacts / run_id / "artifacts"
