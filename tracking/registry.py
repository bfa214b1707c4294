"""The SAE registry: a trained SAE by name and version, in MLflow's model registry."""

from pathlib import Path
from typing import Any

from tracking.location import artifact_folder
from tracking.runs import Tracker
from tracking.stage import clean_key

_NEWEST = "latest"  # MLflow's own word for the highest version, never set by hand


def register_sae(
    tracker: Tracker,
    folder: str | Path,
    name: str,
    run_id: str,
    metrics: dict[str, Any],
    alias: str = _NEWEST,
) -> int:
    """Copy a checkpoint folder into a run's artifacts and register it as the next version of `name`.

    Args:
        tracker: the lake's tracker.
        folder: the checkpoint, safetensors and json.
        name: the SAE's name, without `/` and `:`.
        run_id: the run that trained it.
        metrics: kept as the version's tags.
        alias: a name for this version; `latest` is always the newest one and needs no naming.

    Returns:
        The version, counted from 1.

    Raises:
        ValueError: there is no such folder, or MLflow cannot take the name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no checkpoint folder {folder}; train the SAE first.")
    if not name or set(name) & set("/:"):
        raise ValueError(f"an SAE cannot be named {name!r}; use a name without '/' and ':'.")
    client = tracker.client
    path = f"sae/{name}"
    client.log_artifacts(run_id, str(folder), path)
    _make_model(tracker, name)
    source = f"{client.get_run(run_id).info.artifact_uri}/{path}"
    tags = {clean_key(key): str(value) for key, value in metrics.items()}
    version = client.create_model_version(name, source, run_id, tags=tags, await_creation_for=0).version
    if alias != _NEWEST:
        client.set_registered_model_alias(name, alias, str(version))
    return int(version)


def find_sae(tracker: Tracker, name: str, alias: str = _NEWEST) -> dict[str, Any] | None:
    """Look an SAE up by name and alias (or `latest`).

    Returns:
        version (int), run_id, source (MLflow's URI), tags (dict of str), folder (a local Path, or None
        where `MLFLOW_TRACKING_URI` keeps the artifacts); or None if there is no such SAE.
    """
    from mlflow.exceptions import MlflowException

    if not tracker.location.exists:
        return None
    try:
        found = tracker.client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    run_id, source = found.run_id or "", found.source or ""
    artifacts = artifact_folder(tracker.location, run_id)
    return {
        "version": int(found.version),
        "run_id": run_id,
        "source": source,
        "tags": dict(found.tags),
        "folder": artifacts / "sae" / name if artifacts else None,
    }


def _make_model(tracker: Tracker, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        tracker.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
