"""One MLflow run while it is going on: what a stage reports about itself."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from PIL.Image import Image

# MLflow's own limits: characters of a key, a parameter and a tag, and entries of one batch.
_KEY, _PARAM, _TAG = 250, 6000, 5000
_METRICS, _PARAMS = 1000, 100
_FLUSH_SECONDS = 5.0


class Stage:
    """A running MLflow run. Metrics are buffered, for one by one they cost 73 times as much."""

    def __init__(self, client: "MlflowClient", run_id: str, name: str):
        self.run_id = run_id
        self.name = name
        self._client = client
        self._metrics: list[tuple[str, float, int, int]] = []
        self._counts: dict[str, float] = defaultdict(float)
        self._started = self._flushed = time.monotonic()

    def log(self, metrics: Mapping[str, Any] | None = None, /, step: int | None = None, **more: Any) -> None:
        """Record metrics, as a mapping or by name, at `step` where there is one (else 0).
        None is left out; NaN is kept.

        Raises:
            ValueError: a value is not a number.
        """
        now = int(time.time() * 1000)
        for key, value in {**(metrics or {}), **more}.items():
            if value is not None:
                self._metrics.append((clean_key(key), _number(key, value), now, int(step or 0)))
        if len(self._metrics) >= _METRICS or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def rate(self, n: float, unit: str) -> None:
        """Count `n` more of `unit`; the run ends with the metrics `<unit>` and `<unit>_per_second`."""
        self._counts[unit] += n

    def read(self, table: str, version: int | None) -> None:
        """Note the version of a table that the stage reads; None (a missing table) is not noted."""
        if version is not None:
            self.tag(f"delta.{table}.read_version", version)

    def wrote(self, table: str, version: int | None) -> None:
        """Note the version of a table that the stage left behind."""
        if version is not None:
            self.tag(f"delta.{table}.version", version)

    def tag(self, key: str, value: Any) -> None:
        """Set a tag of the run, cut to MLflow's limit."""
        self._client.set_tag(self.run_id, clean_key(key), clean_tag(value))

    def params(self, params: dict[str, Any]) -> None:
        """Record parameters; nested ones get dotted names, and all are cut to MLflow's limits.

        A parameter cannot be changed: a second value for the same name is an error of MLflow.
        """
        from mlflow.entities import Param

        entries = [Param(clean_key(key), value[:_PARAM]) for key, value in flatten(params).items()]
        for start in range(0, len(entries), _PARAMS):
            self._client.log_batch(self.run_id, params=entries[start : start + _PARAMS])

    def figure(self, figure: "Figure", name: str) -> None:
        """Keep a matplotlib figure as the artifact `<name>.png`."""
        self._client.log_figure(self.run_id, figure, _suffixed(name, ".png"))

    def image(self, image: "Image", name: str) -> None:
        """Keep a PIL image as the artifact `<name>.png`."""
        self._client.log_image(self.run_id, image, _suffixed(name, ".png"))

    def text(self, text: str, name: str) -> None:
        """Keep a text as an artifact; a name without suffix gets `.txt`."""
        self._client.log_text(self.run_id, text, _suffixed(name, ".txt"))

    def artifacts(self, folder: str | Path, path: str | None = None) -> None:
        """Keep the files of a folder as artifacts, under `path`."""
        self._client.log_artifacts(self.run_id, str(folder), path)

    def flush(self) -> None:
        """Send the buffered metrics now."""
        from mlflow.entities import Metric

        self._flushed = time.monotonic()
        while self._metrics:
            batch = [Metric(*entry) for entry in self._metrics[:_METRICS]]
            self._client.log_batch(self.run_id, metrics=batch)
            del self._metrics[:_METRICS]

    def finish(self, status: str, error: BaseException | None = None) -> None:
        """Send what is left and end the run as FINISHED, FAILED or KILLED."""
        seconds = time.monotonic() - self._started
        rates = {f"{unit}_per_second": n / max(seconds, 1e-9) for unit, n in self._counts.items()}
        self.log({**self._counts, **rates, "seconds": seconds})
        self.flush()
        if error is not None:
            self.tag("error", f"{type(error).__name__}: {error}")
        self._client.set_terminated(self.run_id, status)


def flatten(params: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn nested parameters into dotted names and texts: `{"sae": {"k": 16}}` into `{"sae.k": "16"}`."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (dict, list, tuple)):
            flat[f"{prefix}{key}"] = json.dumps(value, default=str)
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def clean_key(key: str) -> str:
    """Replace what MLflow does not take in a key by `_`, and cut it to length."""
    return re.sub(r"[^\w\-. /]", "_", key, flags=re.ASCII)[:_KEY]


def clean_tag(value: Any) -> str:
    """Turn a tag's value into a text of a length that MLflow takes."""
    return str(value)[:_TAG]


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"metric {key!r} must be a number, not {value!r}.") from None


def _suffixed(name: str, suffix: str) -> str:
    return name if Path(name).suffix else name + suffix
