"""Train the sparse autoencoder that defines the concepts.

Reads: `images`. Writes: the SAE's folder `saes/<name>` (`cfg.json`, `sae_weights.safetensors`) and a version
in the MLflow model registry. Tokens of the images are cached on disk, shard by shard, while it trains; those
it was not trained on stay in `held-out/<name>`, for `sae-report`.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from tqdm import tqdm

from pipeline import figures
from pipeline.config import fingerprint
from pipeline.runners.local import run_shards
from pipeline.sources.backbones import Backbone, open_backbone
from pipeline.sources.images import decode
from pipeline.workspace import Shard, Workspace
from tables import OK
from tracking.registry import register_sae
from tracking.stage import Stage

if TYPE_CHECKING:
    from sae_models import SAE


def run(space: Workspace) -> str:
    """Train, or find out that it is trained or given."""
    config = space.config.sae
    if config.load:
        if not (Path(config.load) / "cfg.json").is_file():
            raise ValueError(
                f"there is no SAE in {config.load}: a folder with cfg.json is needed (sae.load)."
            )
        return f"nothing to do: the SAE of {config.load} is used"
    if (space.sae_folder / "cfg.json").is_file():
        return f"nothing to do: {space.sae} is trained"
    space.require_drawn(config.train_on)
    with space.stage("train-sae", config.model_dump(), ("images",), ()) as run:
        run.tag("sae", space.sae)
        backbone = open_backbone(space.config.backbone)
        tokens = _cache_tokens(space, backbone, run)
        report = _train(space, backbone, tokens, run)
    return f"{space.sae}: R2 {report['r2']:.3f} on held-out tokens, {report['dead']:.1%} dead"


def _cache_tokens(space: Workspace, backbone: Backbone, run: Stage) -> Path:
    """Tokens of all training images, on disk in bfloat16; a shard that is there is kept."""
    from sae_models import TokenWriter

    plan = [
        (source, shard)
        for source in space.config.sae.train_on
        for shard in space.pair_shards(space.claim_of(source))
    ]
    folder = space.folder / "tokens" / fingerprint(space.sae, backbone.fingerprint())
    writer = TokenWriter(folder, backbone.d_model, backbone=backbone.id, preprocessing=backbone.preprocessing)
    numbers = {shard.id: number for number, (_, shard) in enumerate(plan)}
    sources = {shard.id: source for source, shard in plan}
    pending = [shard for _, shard in plan if not writer.has(numbers[shard.id])]

    def work(shard: Shard) -> int:
        rows = space.images(sources[shard.id], shard).filter(pl.col("status") == OK)
        images = [decode(data) for data in rows.sort("image_id").select("image").collect()["image"]]
        if images:
            writer.write(numbers[shard.id], backbone.tokens(images).flatten(0, 1))
        return len(images)

    done = sum(shard.stop - shard.start for _, shard in plan if shard not in pending)
    run.log(token_images=run_shards(pending, work, title="tokens", unit="images", done=done))
    return folder


def _train(space: Workspace, backbone: Backbone, folder: Path, run: Stage) -> dict[str, float]:
    from sae_models import SAEConfig, ShardTokens, TokenWriter, TrainingConfig, report, train

    config = space.config.sae
    tokens = ShardTokens(folder)
    fields: dict[str, Any] = {name: getattr(config, name) for name in ("n_concepts", "k", "n_points", "seed")}
    about = {"backbone": backbone.id, "preprocessing": backbone.preprocessing, "d_model": backbone.d_model}
    schedule = {name: getattr(config, name) for name in ("n_steps", "batch_size", "learning_rate")}
    curve: list[dict[str, float]] = []

    def log(step: int, metrics: dict[str, float]) -> None:
        curve.append({"step": step, **metrics})
        run.log(metrics, step=step)

    with tqdm(total=config.n_steps, desc="train-sae", unit=" steps") as bar:

        def progress(step: int, n_steps: int) -> None:
            bar.update(step - bar.n)

        sae = train(
            tokens,
            SAEConfig.from_dict(fields | about | config.options),
            TrainingConfig.from_dict(schedule | config.training),
            checkpoint_folder=folder / "checkpoint",
            log=log,
            progress=progress,
        )
    held_out = tokens.held_out()
    figures_ = report(sae, held_out).scalars()
    run.log({f"held_out_{name}": value for name, value in figures_.items()})
    if curve:
        run.figure(figures.training_curve(curve), "training.png")
    writer = TokenWriter(
        held_out_folder(space.sae_folder),
        backbone.d_model,
        backbone=backbone.id,
        preprocessing=backbone.preprocessing,
    )
    writer.write(0, held_out)
    _publish(space, sae, figures_, run)
    shutil.rmtree(folder)
    return figures_


def held_out_folder(sae_folder: Path) -> Path:
    """Where the tokens lie that an SAE of a lake was not trained on."""
    return sae_folder.parent.parent / "held-out" / sae_folder.name


def _publish(space: Workspace, sae: "SAE", metrics: dict[str, float], run: Stage) -> None:
    """Put the finished SAE in its place in one move, and in the registry."""
    partial = space.sae_folder.with_name(f".{space.sae}.partial")
    sae.save(partial)
    register_sae(space.tracker, partial, space.sae, run.run_id, metrics)
    space.sae_folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, space.sae_folder)
