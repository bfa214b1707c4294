"""One run's configuration: a TOML file checked field by field.

The settings of a source, of the SAE or of a stage live with their owner; here they are put together,
overridden by `--set key=value`, and every mistake becomes one sentence.
"""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.sources.backbones import BackboneConfig
from pipeline.sources.datasets import DatasetConfig
from pipeline.sources.generators import GeneratorConfig
from pipeline.stages.settings import (
    AdviceConfig,
    CompareConfig,
    CooccurConfig,
    DatapointsConfig,
    LayoutConfig,
    NameConfig,
    ProbeConfig,
    SAEStageConfig,
)
from tables.schemas import PROBE

PRESETS = Path(__file__).parent / "presets"


class ConfigError(ValueError):
    """What is wrong with a configuration, in one sentence."""


class RunConfig(BaseModel):
    """Everything that a run needs to know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="run", min_length=1)  # of the MLflow run
    lake: str = "lake"  # folder or URI of the tables
    seed: int = Field(default=0, ge=0)  # of the generated images
    shard_size: int = Field(default=128, ge=1)  # pairs per commit
    dataset: DatasetConfig
    generators: list[GeneratorConfig] = Field(min_length=1)
    backbone: BackboneConfig
    sae: SAEStageConfig = SAEStageConfig()
    compare: CompareConfig = CompareConfig()
    cooccur: CooccurConfig = CooccurConfig()
    datapoints: DatapointsConfig = DatapointsConfig()
    name_concepts: NameConfig = NameConfig()
    layout: LayoutConfig = LayoutConfig()
    advice: AdviceConfig = AdviceConfig()
    probe: ProbeConfig = ProbeConfig()

    @model_validator(mode="after")
    def _distinct_names(self) -> "RunConfig":
        names = [generator.name for generator in self.generators]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two generators are called {name!r}; give each its own name")
            if name == "real":
                raise ValueError("a generator cannot be called 'real', for that is the real images' name")
        for name in (self.dataset.name, *names):
            if name.endswith(PROBE):
                raise ValueError(
                    f"the name {name!r} ends in {PROBE!r}, which marks images of prompt probes; change it"
                )
        for name in self.sae.train_on:
            if name not in ("real", *names):
                known = ", ".join(("real", *names))
                raise ValueError(f"sae.train_on names {name!r}, which is none of {known}")
        return self


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a TOML file, or of a preset by its name, with `key=value` overrides applied.

    Raises ConfigError in one sentence that names the file and the key.
    """
    path = _find(source)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    for override in overrides:
        _override(values, override)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(path, error)) from error


def fingerprint(*parts: Any) -> str:
    """Twelve hexadecimal digits that stand for JSON-able settings."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    preset = PRESETS / f"{source}.toml"
    if preset.is_file():
        return preset
    presets = ", ".join(sorted(file.stem for file in PRESETS.glob("*.toml")))
    raise ConfigError(
        f"there is no configuration file {source}; write a path to a TOML file, or one of {presets}."
    )


def _override(values: dict[str, Any], override: str) -> None:
    """Apply one `a.b=value`; a list is entered by index or by the `name` of its entry."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r} is not key=value; write for example --set sae.k=8.")
    *path, last = key.strip().split(".")
    place: Any = values
    for step in path:
        place = _enter(place, step, key)
    if not isinstance(place, dict):
        raise ConfigError(f"--set {key}: {'.'.join(path)} holds no settings to change.")
    place[last] = _toml_value(text.strip())


def _enter(place: Any, step: str, key: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(step, {})
    if isinstance(place, list):
        for index, entry in enumerate(place):
            if step == str(index) or (isinstance(entry, dict) and entry.get("name") == step):
                return entry
        names = ", ".join(
            str(entry.get("name", i)) for i, entry in enumerate(place) if isinstance(entry, dict)
        )
        raise ConfigError(f"--set {key}: there is no entry {step!r}; the entries are {names}.")
    raise ConfigError(f"--set {key}: {step!r} leads nowhere.")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a plain word is a string


def _sentence(path: Path, error: ValidationError) -> str:
    """The first mistake of a configuration, for people."""
    # A misspelt key comes first: it is often the reason why another one is missing.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}" if near else f"the keys here are {', '.join(known)}"
        return (
            f"{path}: unknown key {where!r}; {hint}?" if near else f"{path}: unknown key {where!r}; {hint}."
        )
    if first["type"] == "missing":
        return f"{path}: {where!r} is missing; add it."
    if first["type"] == "value_error":
        prefix = f"{where}: " if where else ""
        return f"{path}: {prefix}{first['ctx']['error']}."
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{path}: {where} = {first['input']!r} is wrong: {message}."


def _fields_at(location: Sequence[int | str]) -> list[str]:
    """Names of the settings that are allowed at a place of the configuration."""
    kind: Any = RunConfig
    for step in location:
        if isinstance(step, int):
            continue
        kind = kind.model_fields[step].annotation
        kind = next((arg for arg in get_args(kind) if hasattr(arg, "model_fields")), kind)
    return sorted(kind.model_fields)
