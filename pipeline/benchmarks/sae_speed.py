"""How long encoding and a training step take, as ratios to the encoder product `x @ W.T` of the same shape.

Everything of one shape is timed in interleaved rounds in one process, and the fastest round of each counts,
so that a machine that slows down half way slows down all alike.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from pipeline.benchmarks import Row
from pipeline.benchmarks.sae_peers import peers
from sae_models import SAE, ArrayTokens, SAEConfig, TrainingConfig, train
from sae_models.training import make_optimiser, update

N_ROUNDS = 9
Task = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """Shapes that are timed; the defaults are those of the bars."""

    d_model: int = 384
    n_concepts: int = 4096
    k: int = 16
    batch: int = 4096  # tokens
    points: tuple[int, int] = (1024, 4096)  # of the archetypal dictionaries
    wide_d_model: int = 768  # as the published SAE
    wide_concepts: int = 32_000
    wide_batch: int = 1024
    wide_points: int = 2048


def fastest(tasks: dict[str, Task], n_rounds: int = N_ROUNDS) -> dict[str, float]:
    """Seconds of the fastest of n_rounds of every task, after one round that does not count."""
    best = dict.fromkeys(tasks, float("inf"))
    for round_ in range(n_rounds + 1):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if round_:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def speed_rows(sizes: Sizes | None = None, n_rounds: int = N_ROUNDS) -> list[Row]:
    """Encoding and training steps beside the peers, and encoding as the published SAE does."""
    sizes = sizes or Sizes()
    x = torch.randn(sizes.batch, sizes.d_model, generator=torch.Generator().manual_seed(0))
    few, many = (_trained_shape(sizes, n_points) for n_points in sizes.points)
    free = SAEConfig(sizes.d_model, sizes.n_concepts, k=sizes.k, dictionary="free", init="random")
    tasks: dict[str, Task] = {
        "product": _product(x, sizes.n_concepts),
        "encode": _encode(SAE(few), x),
        "step few": _step(few, x),
        "step many": _step(many, x),
        "step free": _step(free, x),
    }
    found, missing = peers(x, sizes.n_concepts, sizes.k, sizes.points)
    seconds = fastest(tasks | found, n_rounds)
    ratio = {name: value / seconds["product"] for name, value in seconds.items()}

    def beside(kind: str) -> str:
        shown = [f"{name.split(':')[0]} {ratio[name]:.2f}x" for name in found if name.endswith(f":{kind}")]
        return ", ".join(shown + missing)

    shape = f"{sizes.d_model} x {sizes.n_concepts:,}"
    rows = [
        Row(f"encode TopK, {shape}: x product", ratio["encode"], 1.4, False, beside("encode")),
        Row(
            f"train step, {sizes.points[0]:,} points: x product",
            ratio["step few"],
            2.0,
            False,
            beside("step"),
        ),
        Row(
            f"train step, {sizes.points[1]:,} points: x product",
            ratio["step many"],
            3.6,
            False,
            f"free TopK {ratio['step free']:.2f}x",
        ),
    ]
    for n_points, ours in zip(sizes.points, ("step few", "step many"), strict=True):
        theirs = seconds.get(f"overcomplete RATopK {n_points}:step")
        if theirs is not None:
            rows.append(Row(f"overcomplete RATopK / ours, {n_points:,} points", theirs / seconds[ours], 3.0))
    if (theirs := seconds.get("sparsify TopK:step")) is not None:
        rows.append(
            Row(f"sparsify TopK / ours, {sizes.points[0]:,} points", theirs / seconds["step few"], 1.15)
        )
    return [*rows, _folded_row(sizes, n_rounds)]


def memory_row(sizes: Sizes | None = None) -> Row:
    """Peak memory of a process that trains a wide archetypal SAE, with nearly all codes dead."""
    sizes = sizes or Sizes()
    with get_context("spawn").Pool(1) as pool:
        peak = pool.apply(_peak_gib, (sizes,))
    return Row(
        f"train {sizes.wide_d_model} x {sizes.wide_concepts:,}, {sizes.wide_points:,} points: peak GiB",
        peak,
        4.0,
        at_least=False,
    )


def _folded_row(sizes: Sizes, n_rounds: int) -> Row:
    """The encoder of the published SAE: LayerNorm folded away, one threshold, about 10 codes a token."""
    config = SAEConfig(
        sizes.wide_d_model,
        sizes.wide_concepts,
        k=10,
        activation="batchtopk",
        layer_norm=True,
        dictionary="free",
        init="random",
    )
    sae = SAE(config).eval()
    normal = torch.distributions.Normal(0.0, 1.0)
    sae.activation.threshold.fill_(normal.icdf(torch.tensor(1 - 10 / sizes.wide_concepts)))  # type: ignore[operator, union-attr]
    x = torch.randn(sizes.wide_batch, sizes.wide_d_model, generator=torch.Generator().manual_seed(1))
    seconds = fastest({"product": _product(x, sizes.wide_concepts), "encode": _encode(sae, x)}, n_rounds)
    what = f"encode folded, {sizes.wide_d_model} x {sizes.wide_concepts:,}: x product"
    return Row(what, seconds["encode"] / seconds["product"], 1.1, at_least=False)


def _trained_shape(sizes: Sizes, n_points: int) -> SAEConfig:
    return SAEConfig(sizes.d_model, sizes.n_concepts, k=sizes.k, n_points=n_points)


def _product(x: torch.Tensor, n_concepts: int) -> Task:
    weight = torch.randn(n_concepts, x.shape[1], generator=torch.Generator().manual_seed(2))
    return lambda: x @ weight.t()


def _encode(sae: SAE, x: torch.Tensor) -> Task:
    fused = sae.fuse()

    def encode() -> None:
        with torch.inference_mode():
            fused.encode(x)

    return encode


def _step(config: SAEConfig, x: torch.Tensor) -> Task:
    """What training does with a batch when no code is dead."""
    sae, training = SAE(config).train(), TrainingConfig(batch_size=len(x))
    optimiser = make_optimiser(sae, training)
    for group in optimiser.param_groups:
        group["lr"] = 1e-4 * group["share"]
    dead = torch.zeros(config.n_concepts, dtype=torch.bool)
    return lambda: update(sae, optimiser, x, dead, training)


def _peak_gib(sizes: Sizes) -> float:
    tokens = torch.randn(
        16 * sizes.wide_batch, sizes.wide_d_model, generator=torch.Generator().manual_seed(3)
    )
    config = SAEConfig(sizes.wide_d_model, sizes.wide_concepts, k=16, n_points=sizes.wide_points)
    training = TrainingConfig(n_steps=3, batch_size=sizes.wide_batch, dead_after=1, device="cpu")
    train(ArrayTokens(tokens), config, training, checkpoint_folder=None)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
