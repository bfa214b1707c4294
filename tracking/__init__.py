"""What happened: the MLflow run of a stage, the SAE registry and read-only queries of both."""

import os

# Before anything imports mlflow: it reports its use to its makers unless told not to.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

from tracking.registry import find_sae, register_sae
from tracking.runs import Stage, Tracker

__all__ = ["Stage", "Tracker", "find_sae", "register_sae"]
