"""Turn images into concepts: the last stage that needs a GPU.

Reads: `images`, the SAE. Writes: `codes` (the sparse codes of every image), `energies` (their sums over
tokens, one row per concept that fires) and `embeddings` (the backbone's CLS token), for real and generated
images alike. A shard that lacks one of the three, as in lakes from before there were embeddings, is encoded
again and only what is missing is written.
"""

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.frames import columns_of, list_column
from pipeline.measures.energy import image_energies
from pipeline.runners.local import run_shards
from pipeline.sources.backbones import Backbone, open_backbone
from pipeline.sources.images import decode
from pipeline.workspace import Shard, Workspace
from tables import OK
from tracking.stage import Stage

if TYPE_CHECKING:
    import torch

    from sae_models import SAE


_WRITES = ("codes", "energies", "embeddings")


def run(space: Workspace) -> str:
    """Encode what is missing, image set by image set."""
    space.require_drawn(space.sources)
    plan = {source: space.encode_shards(source) for source in space.sources}
    pending = {source: [s for s in shards if not _is_done(space, s)] for source, shards in plan.items()}
    if not any(pending.values()):
        return f"nothing to do: {', '.join(plan)} are encoded with {space.sae}"
    if not (space.sae_folder / "cfg.json").is_file():
        raise ValueError(f"the SAE {space.sae} is not trained yet; run the stage train-sae first.")
    settings = {"sae": space.sae, "backbone": space.config.backbone.name}
    with space.stage("encode", settings, ("images",), _WRITES) as run:
        from sae_models import load

        backbone = open_backbone(space.config.backbone)
        run.params({"preprocessing": backbone.preprocessing})
        sae = load(space.sae_folder, backbone=backbone.id, preprocessing=backbone.preprocessing)
        n_images = 0
        for source, shards in pending.items():
            done = sum(s.stop - s.start for s in plan[source] if s not in shards)
            work = partial(_encode, space, backbone, sae, source, run)
            n_images += run_shards(shards, work, title=f"encode {source}", unit="pairs", done=done)
        run.rate(n_images, "images")
        run.rate(n_images * backbone.n_tokens, "tokens")
    return f"{n_images} images encoded with {space.sae}"


def _is_done(space: Workspace, shard: Shard) -> bool:
    return all(space.store.has(table, shard.id) for table in _WRITES)


def _encode(space: Workspace, backbone: Backbone, sae: "SAE", source: str, run: Stage, shard: Shard) -> int:
    rows = space.images(source, shard).filter(pl.col("status") == OK)
    images = rows.sort("image_id").select("image_id", "pair_id", "image").collect()
    who = {"sae": space.sae, "source": source}
    tokens = backbone.tokens([decode(data) for data in images["image"]])
    codes = nonzero_codes(backbone, sae, tokens)
    space.append("embeddings", _embedding_rows(images, tokens, backbone, who), shard, "encode", run)
    space.append("codes", _code_rows(images, codes, backbone, who), shard, "encode", run)
    space.append("energies", _energy_rows(images, codes, who), shard, "encode", run)
    return len(images)


Nonzeros = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # image row, token, concept, activation


def nonzero_codes(backbone: Backbone, sae: "SAE", tokens: "torch.Tensor") -> Nonzeros:
    """The nonzero codes of a block of images (n, n_tokens, d_model), ordered by image, token and concept."""
    if not len(tokens):
        return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    values, indices = (part.cpu().numpy() for part in sae.encode(tokens.flatten(0, 1)))
    row, slot = np.nonzero(values > 0)
    image, token = np.divmod(row, backbone.n_tokens)
    concept, activation = indices[row, slot], values[row, slot]
    order = np.lexsort((concept, token, image))
    return image[order], token[order].astype(np.int32), concept[order].astype(np.int32), activation[order]


def _embedding_rows(
    images: pl.DataFrame, tokens: "torch.Tensor", backbone: Backbone, who: dict
) -> pl.DataFrame:
    whole = tokens[:, 0] if backbone.n_prefix else tokens.mean(1)
    return images.select(
        pl.lit(who["sae"]).alias("sae"),
        pl.lit(who["source"]).alias("source"),
        "image_id",
        "pair_id",
        list_column("embedding", whole.cpu().numpy(), pl.Float32),
    )


def _code_rows(images: pl.DataFrame, codes: Nonzeros, backbone: Backbone, who: dict) -> pl.DataFrame:
    image, *parts = codes
    bounds = np.searchsorted(image, np.arange(len(images) + 1))
    kinds = {"token": pl.Int32, "concept": pl.Int32, "activation": pl.Float32}
    lists = [
        list_column(name, (part[a:b] for a, b in pairwise(bounds)), kind)
        for (name, kind), part in zip(kinds.items(), parts, strict=True)
    ]
    return images.select(
        pl.lit(who["sae"]).alias("sae"),
        pl.lit(who["source"]).alias("source"),
        "image_id",
        "pair_id",
        pl.lit(backbone.n_tokens, pl.Int32).alias("n_tokens"),
        pl.lit(backbone.n_prefix, pl.Int32).alias("n_prefix"),
        *lists,
    )


def _energy_rows(images: pl.DataFrame, codes: Nonzeros, who: dict) -> pl.DataFrame:
    found = image_energies(*codes)
    frame = pl.DataFrame(
        {
            "concept_id": found.concept,
            "image_id": images["image_id"].to_numpy()[found.image],
            "pair_id": images["pair_id"].to_numpy()[found.image],
            "energy": found.energy,
            "peak": found.peak,
            "peak_token": found.peak_token,
        }
    )
    frame = frame.with_columns(pl.lit(who["sae"]).alias("sae"), pl.lit(who["source"]).alias("source"))
    return frame.select(columns_of("energies")).sort("concept_id", "image_id")
