"""Sample a captioned dataset.

Reads: the dataset. Writes: `pairs` (every row tried, with its status) and `images` (source `real`).
An image that cannot be had is a row with a status and a sentence. Spare rows, where the dataset offers
them, are tried until the wanted number of pairs is live.
"""

import polars as pl
from tqdm import tqdm

from pipeline.frames import schema_of
from pipeline.sources.datasets import Dataset, fetch_images, open_dataset
from pipeline.sources.download import Fetched
from pipeline.sources.images import STORED_CODECS, ImageError, codec_of, decode, encode, sha256
from pipeline.workspace import Shard, Workspace
from tables import OK, REAL, image_id
from tracking.stage import Stage

MISSING, UNREADABLE = "missing", "unreadable"


def run(space: Workspace) -> str:
    """Sample until the wanted number of pairs is live or the dataset is at its end."""
    config = space.config.dataset
    space.check_claim("pairs", REAL, f"a dataset {config.name!r}")
    live = len(space.pairs())
    if config.n_pairs and live >= config.n_pairs:
        return f"nothing to do: {live} live pairs of {config.name!r} are there"
    dataset = open_dataset(config)
    manifest = dataset.rows()
    if manifest.is_empty():
        raise ValueError(f"the dataset {config.name!r} has no rows; check its path and columns.")
    wanted = config.n_pairs or len(manifest)
    shards = [
        shard for shard in space.shards(space.claim_of(REAL), len(manifest)) if not _is_done(space, shard)
    ]
    if not shards:
        return f"nothing to do: all {len(manifest)} rows of {config.name!r} were tried, {live} pairs are live"
    with space.stage("sample", config.model_dump(), (), ("pairs", "images")) as run:
        space.claim("pairs", REAL, "sample", run)
        with tqdm(total=wanted, initial=live, desc="sample", unit=" pairs") as bar:
            for shard in shards:
                _sample(space, dataset, manifest, shard, run)
                now = len(space.pairs())
                bar.update(now - live)
                live = now
                if live >= wanted:
                    break
        run.log(live_pairs=live, failed_pairs=_n_failed(space))
        run.rate(live, "images")
    failed = _n_failed(space)
    return f"{live} live pairs of {config.name!r}" + (
        f", {failed} rows failed (see pairs.error)" if failed else ""
    )


def _is_done(space: Workspace, shard: Shard) -> bool:
    return space.store.has("pairs", shard.id) and space.store.has("images", shard.id)


def _n_failed(space: Workspace) -> int:
    rows = space.store.scan("pairs").filter(pl.col("dataset") == space.config.dataset.name)
    return rows.filter(pl.col("status") != OK).select(pl.len()).collect().item()


def _sample(space: Workspace, dataset: Dataset, manifest: pl.DataFrame, shard: Shard, run: Stage) -> None:
    rows = manifest.slice(shard.start, shard.stop - shard.start)
    workers = space.config.dataset.download.workers
    fetched = fetch_images(dataset, rows["uri"].to_list(), workers)
    images = pl.DataFrame(
        [
            _image_row(space.config.dataset.name, pair_id, got)
            for pair_id, got in zip(rows["pair_id"].to_list(), fetched, strict=True)
        ],
        schema=schema_of("images"),
    )
    pairs = rows.join(images.select("pair_id", "status", "error"), on="pair_id", maintain_order="left")
    pairs = pairs.select(pl.lit(space.config.dataset.name).alias("dataset"), pl.all())
    space.append("images", images, shard, "sample", run)
    space.append("pairs", pairs, shard, "sample", run)


def _image_row(dataset: str, pair_id: int, fetched: Fetched) -> dict:
    row = {
        "dataset": dataset,
        "source": REAL,
        "image_id": image_id(dataset, REAL, pair_id),
        "pair_id": pair_id,
        "seed_index": 0,
        "status": OK,
    }
    if fetched.data is None:
        return row | {"status": MISSING, "error": fetched.error}
    try:
        image = decode(fetched.data)
    except ImageError as error:
        return row | {"status": UNREADABLE, "error": str(error)}
    codec = codec_of(fetched.data)
    data = fetched.data if codec in STORED_CODECS else encode(image)
    return row | {
        "image": data,
        "codec": codec_of(data),
        "width": image.width,
        "height": image.height,
        "sha256": sha256(data),
    }
