"""The state of a training run: one safetensors file, written atomically, whose header holds JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sae_models.config import SAEConfig, TrainingConfig
from sae_models.sae import SAE
from sae_models.tokens import TokenSource, write_atomically

STATE_FILE = "training_state.safetensors"
_SCHEMA = 1
# What a resumed run may change: where and how often it reports, not what it computes.
_FREE_FIELDS = ("device", "mixed_precision", "log_every", "evaluate_every", "checkpoint_every")


@dataclass(frozen=True)
class TrainingState:
    """Everything a run needs to go on: the step it has reached, and tensors by name."""

    step: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, step: int, sae: SAE, optimiser: torch.optim.Optimizer, since_fired: Tensor) -> TrainingState:
        """The state after `step` steps."""
        tensors = {f"sae.{name}": value for name, value in sae.state_dict().items()}
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        return cls(step, tensors | {"since_fired": since_fired})

    def restore(self, sae: SAE, optimiser: torch.optim.Optimizer, since_fired: Tensor) -> None:
        """Copies the state into the parts of a new run."""
        sae.load_state_dict(_under(self.tensors, "sae."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(self.tensors, "optimiser.").items():
            index, _, field = name.partition(".")
            moments.setdefault(int(index), {})[field] = value
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        since_fired.copy_(self.tensors["since_fired"])

    def write(
        self, folder: str | Path, config: SAEConfig, training: TrainingConfig, tokens: TokenSource
    ) -> None:
        """Replaces the state in `folder`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        about = _about(config, training, tokens) | {"step": self.step}
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.tensors.items()}
        write_atomically(Path(folder) / STATE_FILE, tensors, {"training": json.dumps(about, sort_keys=True)})

    @classmethod
    def find(
        cls, folder: str | Path, config: SAEConfig, training: TrainingConfig, tokens: TokenSource
    ) -> TrainingState | None:
        """The state in `folder`, or None. Raises ValueError if it is broken or of a different run."""
        path = Path(folder) / STATE_FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["training"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{path} is not a whole training state ({error}); delete it to start anew"
            ) from error
        step = about.pop("step")
        # Through JSON, so that tuples and lists compare equal.
        wanted = json.loads(json.dumps(_about(config, training, tokens)))
        differing = [key for key in wanted if about.get(key) != wanted[key]]
        if differing:
            raise ValueError(
                f"{path} belongs to a different run ({', '.join(differing)} differ); give another "
                "checkpoint_folder, or delete the file to start anew"
            )
        return cls(step, tensors)


def _about(config: SAEConfig, training: TrainingConfig, tokens: TokenSource) -> dict:
    """What must be the same for a run to go on."""
    kept = {name: value for name, value in training.to_dict().items() if name not in _FREE_FIELDS}
    return {"schema": _SCHEMA, "sae": config.to_dict(), "training": kept, "n_tokens": len(tokens)}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
