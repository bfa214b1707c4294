"""One training loop for every part of the embedded world: seeded, checkpointed, resumable.

The batch of a step depends on (seed, step) only, so that a run that was killed goes on where it was.
Checkpoints are safetensors; nothing is pickled.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    steps: int
    lr: float  # peak learning rate of AdamW
    seed: int = 0
    warmup: int = 100  # steps
    decay: float = 0.3  # share of the steps, at the end, over which the rate falls to zero
    weight_decay: float = 0.01
    ema: float = 0.999  # decay of the weight average that is kept
    every: int = 250  # steps between checkpoints

    def rate(self, step: int) -> float:
        """Learning rate at `step`: linear warm-up, constant, linear decay to zero."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return self.lr * min(rise, fall)


Loss = Callable[[int, torch.Generator], tuple[torch.Tensor, dict[str, float]]]


def fit(module: nn.Module, loss: Loss, schedule: Schedule, folder: Path, name: str) -> nn.Module:
    """Train `module` in place and leave it with its averaged weights.

    `loss(step, generator)` gives the scalar to minimise and figures to report; all of its randomness
    must come from `generator`. State goes to `folder/name.*` every `schedule.every` steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=schedule.lr, betas=(0.9, 0.98), weight_decay=schedule.weight_decay, fused=True
    )
    average = {key: value.detach().clone() for key, value in module.state_dict().items()}
    start = _restore(module, optimiser, average, folder / f"{name}.safetensors")
    module.train()
    bar = tqdm(range(start, schedule.steps), initial=start, total=schedule.steps, desc=name, mininterval=10)
    for step in bar:
        generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        value, figures = loss(step, generator)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        _update_average(average, module, min(schedule.ema, (1 + step) / (10 + step)))
        if step % 50 == 0:
            bar.set_postfix({"loss": f"{value.item():.4f}", **{k: f"{v:.3f}" for k, v in figures.items()}})
        if (step + 1) % schedule.every == 0 or step + 1 == schedule.steps:
            _save(module, optimiser, average, folder / f"{name}.safetensors", step + 1)
            _note(folder / f"{name}.jsonl", step + 1, value.item(), figures)
    module.load_state_dict(average)
    return module.eval()


def _update_average(average: dict[str, torch.Tensor], module: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)


def _save(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
    file: Path,
    step: int,
) -> None:
    tensors = {f"now.{k}": v.clone() for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v.clone() for k, v in average.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v.clone() for k, v in state.items()}
    partial = file.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata={"step": str(step)})
    os.replace(partial, file)


def _restore(
    module: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor], file: Path
) -> int:
    if not file.exists():
        return 0
    tensors = load_file(file)
    module.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("now.")})
    for key in average:
        average[key].copy_(tensors[f"average.{key}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, field = key.split(".", 2)
            state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return step_of(file)


def step_of(file: Path) -> int:
    """Steps done in a checkpoint, 0 where there is none."""
    if not file.exists():
        return 0
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return int(opened.metadata()["step"])


def averaged(file: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of a checkpoint, also of an unfinished one."""
    return {k[8:]: v for k, v in load_file(file).items() if k.startswith("average.")}


def _note(file: Path, step: int, value: float, figures: dict[str, float]) -> None:
    with file.open("a") as out:
        out.write(json.dumps({"step": step, "loss": value, "time": time.time(), **figures}) + "\n")
