"""Training: a stream of tokens in, an SAE out; killed anywhere and started again, it ends with the same
weights.

No random stream lives across steps: batches are a function of (seed, step) and nothing else is drawn after
the start, so a checkpoint is parameters, moments, the step and the dead-code counters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sae_models.activations import BatchTopK
from sae_models.config import SAEConfig, TrainingConfig
from sae_models.dictionaries import ArchetypalDictionary
from sae_models.initialise import initialise, sample_tokens
from sae_models.loss import StepLoss, step_loss
from sae_models.memory import check_memory, training_bytes
from sae_models.metrics import reconstruction_report
from sae_models.resume import TrainingState
from sae_models.revive import resample
from sae_models.sae import SAE
from sae_models.sparse import Codes
from sae_models.tokens import TokenSource, checked

Log = Callable[[int, dict[str, float]], None]
Progress = Callable[[int, int], None]


def train(
    tokens: TokenSource,
    config: SAEConfig,
    training: TrainingConfig,
    *,
    checkpoint_folder: str | Path | None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> SAE:
    """Trains an SAE and returns it in eval mode, on the device of training.

    checkpoint_folder: where the state of the run is kept; a run that finds its own state there goes on from
    it, a finished one returns at once. None keeps nothing. log(step, metrics): called every `log_every` steps
    with "loss", "r2", "auxiliary", "sparsity", "l0", "dead", "learning_rate", "gradient_norm",
    "tokens_per_second", and after each held-out measurement with "held_out/r2", "held_out/l0",
    "held_out/dead". progress(step, n_steps): after each step.

    Raises ValueError on tokens of the wrong width or with NaN, on fewer tokens than points, on more concepts
    than memory allows (before allocation), and on a checkpoint_folder that holds the state of a different
    run.
    """
    device = _device(training.device)
    _check_width(tokens, config)
    check_memory(training_bytes(config, training), device, f"training {config.n_concepts:,} concepts")
    state = (
        None if checkpoint_folder is None else TrainingState.find(checkpoint_folder, config, training, tokens)
    )
    run = _Run(tokens, config, training, device, state)
    for step in range(run.first_step, training.n_steps):
        metrics = run.step(step)
        done = step + 1
        if log and metrics:
            log(done, metrics)
        last = done == training.n_steps
        if log and (last or (training.evaluate_every and done % training.evaluate_every == 0)):
            log(done, run.held_out_metrics())
        if checkpoint_folder is not None and (last or done % training.checkpoint_every == 0):
            run.state(done).write(checkpoint_folder, config, training, tokens)
        if progress:
            progress(done, training.n_steps)
    return run.sae.eval()


class _Run:
    """One run: the SAE, its optimiser, its counters and its stream."""

    def __init__(
        self,
        tokens: TokenSource,
        config: SAEConfig,
        training: TrainingConfig,
        device: torch.device,
        state: TrainingState | None,
    ) -> None:
        self.tokens, self.training, self.device = tokens, training, device
        self.sae = SAE(config)
        if state is None:
            n_points = config.n_points if config.uses_points else 0
            n_sample = min(len(tokens), max(training.n_sample, 8 * n_points))
            initialise(self.sae, sample_tokens(tokens, n_sample, config.seed_of_points))
        self.sae.to(device).train()
        self.optimiser = make_optimiser(self.sae, training)
        self.since_fired = torch.zeros(config.n_concepts, dtype=torch.int64, device=device)  # in tokens
        self.first_step = 0
        if state is not None:
            state.restore(self.sae, self.optimiser, self.since_fired)
            self.first_step = state.step
        self._batches = tokens.batches(training.batch_size, config.seed, self.first_step)
        self._clock = time.perf_counter()

    def step(self, step: int) -> dict[str, float]:
        """One batch; returns metrics at the steps that are logged, else nothing."""
        training = self.training
        rate = learning_rate(step, training)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        x = checked(next(self._batches), self.tokens.d_model).to(self.device, non_blocking=True)
        loss, norm = update(self.sae, self.optimiser, x, self.since_fired >= training.dead_after, training)
        self._count_fired(loss.codes)
        self._resample(step + 1, x)
        return self._metrics(loss, rate, norm) if (step + 1) % training.log_every == 0 else {}

    def held_out_metrics(self) -> dict[str, float]:
        """R2, L0 and dead share of the held-out tokens."""
        held_out = self.tokens.held_out()
        if not len(held_out):
            return {}
        self.sae.eval()
        report = reconstruction_report(self.sae, held_out)
        self.sae.train()
        return {"held_out/r2": report.r2, "held_out/l0": report.l0_mean, "held_out/dead": report.dead}

    def state(self, step: int) -> TrainingState:
        return TrainingState.of(step, self.sae, self.optimiser, self.since_fired)

    def _resample(self, step: int, x: Tensor) -> None:
        """Dead codes start again, so that the last steps only settle."""
        training = self.training
        if not training.resample_every or step % training.resample_every:
            return
        dead = self.since_fired >= training.dead_after
        if step <= training.resample_until * training.n_steps and bool(dead.any()):
            resample(self.sae, self.optimiser, x, dead)
            self.since_fired[dead] = 0

    @torch.no_grad()
    def _count_fired(self, codes: Codes) -> None:
        self.since_fired += codes.values.shape[0]
        self.since_fired[codes.indices[codes.values > 0]] = 0

    def _metrics(self, loss: StepLoss, rate: float, norm: Tensor) -> dict[str, float]:
        now = time.perf_counter()
        n_tokens = self.training.batch_size * self.training.log_every
        speed, self._clock = n_tokens / (now - self._clock), now
        return {
            "loss": float(loss.total.detach()),
            "r2": 1 - float(loss.reconstruction.detach()),
            "auxiliary": float(loss.auxiliary.detach()),
            "sparsity": float(loss.sparsity.detach()),
            "l0": float((loss.codes.values > 0).sum(1).float().mean()),
            "dead": float((self.since_fired >= self.training.dead_after).float().mean()),
            "learning_rate": rate,
            "gradient_norm": float(norm),
            "tokens_per_second": speed,
        }


def update(
    sae: SAE, optimiser: torch.optim.Optimizer, x: Tensor, dead: Tensor, training: TrainingConfig
) -> tuple[StepLoss, Tensor]:
    """One step of the optimiser on tokens x (n, d_model), at the learning rate it has.

    dead: (n_concepts,) bool, codes to revive. Returns the loss and the norm of its gradient before clipping.
    """
    mixed = training.mixed_precision and x.device.type == "cuda"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
        loss = step_loss(sae, x, dead, training)
    loss.total.backward()
    norm = _clip(sae, training.gradient_clip or math.inf)
    optimiser.step()
    if isinstance(sae.atoms, ArchetypalDictionary):
        sae.atoms.recycle()
    optimiser.zero_grad()
    sae.constrain()
    if isinstance(sae.activation, BatchTopK):
        sae.activation.remember(loss.codes, training.threshold_memory)
    return loss, norm


def _clip(sae: SAE, longest: float) -> Tensor:
    """Shortens the gradient to `longest` where it is longer; its length before.

    As torch's clip_grad_norm_, but on a CPU a short gradient is not multiplied by one.
    """
    parameters = [parameter for parameter in sae.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if norm.device.type != "cpu" or not bool(norm <= longest):
        nn.utils.clip_grads_with_norm_(parameters, longest, norm)
    return norm


def learning_rate(step: int, training: TrainingConfig) -> float:
    """AdamW's rate at a step from 0: linear warm-up, then half a cosine down to final_learning_rate."""
    top, bottom = training.learning_rate, training.final_learning_rate
    n_warmup = round(training.warmup * training.n_steps)
    if step < n_warmup:
        return top * (step + 1) / n_warmup
    share = (step - n_warmup) / max(1, training.n_steps - n_warmup - 1)
    return bottom + (top - bottom) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def make_optimiser(sae: SAE, training: TrainingConfig) -> torch.optim.AdamW:
    """Fused AdamW; the archetypal weights, of which an atom has thousands, move at their own slower rate."""
    slow = [sae.atoms.weights] if isinstance(sae.atoms, ArchetypalDictionary) else []
    rest = [p for p in sae.parameters() if all(p is not q for q in slow)]
    groups = [{"params": rest, "share": 1.0}] + [{"params": slow, "share": training.weights_rate}] * bool(
        slow
    )
    return torch.optim.AdamW(
        groups,
        lr=training.learning_rate,
        betas=(0.9, training.second_moment),
        weight_decay=training.weight_decay,
        fused=True,
    )


def _check_width(tokens: TokenSource, config: SAEConfig) -> None:
    if tokens.d_model != config.d_model:
        raise ValueError(
            f"tokens are {tokens.d_model} wide and config.d_model is {config.d_model}; write the same"
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
