"""Draw an image for every caption with every generator.

Reads: `pairs`. Writes: `images`, one row per pair, generator and seed, with the seed; a picture that could
not be drawn is a row with a status and a sentence.
"""

import polars as pl
from PIL import Image

from pipeline.frames import schema_of
from pipeline.runners.local import run_shards
from pipeline.sources.generators import Drawn, Generator, GeneratorConfig, image_seed, open_generator
from pipeline.sources.images import codec_of, decode, encode, sha256
from pipeline.workspace import Shard, Workspace
from tables import OK, REAL, image_id
from tracking.stage import Stage

SHEET = 36  # pictures on the sample sheet


def run(space: Workspace) -> str:
    """Draw what is missing, generator by generator."""
    pairs = space.pairs()
    space.require_drawn([])
    reports = [_run_generator(space, generator, pairs) for generator in space.generators]
    return "; ".join(reports)


def _run_generator(space: Workspace, config: GeneratorConfig, pairs: pl.DataFrame) -> str:
    space.check_claim("images", config.name, f"images of a generator {config.name!r}")
    shards = space.pair_shards(space.claim_of(config.name))
    pending = [shard for shard in shards if not space.store.has("images", shard.id)]
    if not pending:
        return f"nothing to do for {config.name}: all {len(pairs)} pairs are drawn"
    with space.stage("generate", {"generator": config.model_dump()}, ("pairs",), ("images",)) as run:
        generator = open_generator(config)
        run.params({"settings": generator.settings, "seed": space.config.seed})
        space.claim("images", config.name, "generate", run)

        def work(shard: Shard) -> int:
            rows = pairs.filter(pl.col("pair_id").is_between(shard.start, shard.stop, closed="left"))
            return _draw(space, generator, config, rows, shard, run)

        done = sum(shard.stop - shard.start for shard in shards if shard not in pending)
        drawn = run_shards(pending, work, title=f"generate {config.name}", unit="pairs", done=done)
        run.rate(drawn, "images")
        failed = space.images(config.name).filter(pl.col("status") != OK).select(pl.len()).collect().item()
        run.log(failed_images=failed)
        run.image(_sample_sheet(space, config.name), "samples.png")
    return f"{config.name}: {drawn} images" + (f", {failed} failed (see images.error)" if failed else "")


def _draw(
    space: Workspace,
    generator: Generator,
    config: GeneratorConfig,
    rows: pl.DataFrame,
    shard: Shard,
    run: Stage,
) -> int:
    """Draw and commit one shard; the number of images drawn."""
    wanted = [
        (pair_id, caption, index)
        for pair_id, caption in rows.select("pair_id", "caption").iter_rows()
        for index in range(config.seeds_per_caption)
    ]
    ids, captions, indices = map(list, zip(*wanted, strict=True)) if wanted else ([], [], [])
    seeds = [
        image_seed(space.config.seed, pair_id, index) for pair_id, index in zip(ids, indices, strict=True)
    ]
    drawn = generator.draw(captions, seeds, ids) if wanted else []
    dataset = space.config.dataset.name
    images = [
        {
            "dataset": dataset,
            "source": config.name,
            "image_id": image_id(dataset, config.name, pair_id, index),
            "pair_id": pair_id,
            "seed_index": index,
            "seed": seed if generator.seeded else None,
            **picture_columns(picture),
        }
        for pair_id, index, seed, picture in zip(ids, indices, seeds, drawn, strict=True)
    ]
    schema = schema_of("images")
    space.append("images", pl.DataFrame(images, schema=schema), shard, "generate", run)
    return len(images)


def picture_columns(drawn: Drawn) -> dict:
    """What a row of `images` says of one picture: its bytes, or why there is none."""
    if drawn.image is None:
        return {"status": drawn.status, "error": drawn.error}
    data = drawn.data or encode(drawn.image)
    return {
        "image": data,
        "codec": codec_of(data),
        "width": drawn.image.width,
        "height": drawn.image.height,
        "sha256": sha256(data),
        "status": drawn.status,
        "error": drawn.error,
    }


def _sample_sheet(space: Workspace, source: str) -> Image.Image:
    """The first pictures of a source, real ones above the generated ones of the same captions."""

    def pictures(name: str) -> pl.DataFrame:
        rows = space.images(name).filter((pl.col("seed_index") == 0) & (pl.col("status") == OK))
        return rows.sort("pair_id").head(SHEET).select("pair_id", "image").collect()

    both = pictures(REAL).join(pictures(source), on="pair_id", suffix="_gen")
    side, columns = 128, 12
    n_rows = max(1, -(-len(both) // columns))
    sheet = Image.new("RGB", (columns * side, 2 * n_rows * side), "white")
    for index, (_, *pair) in enumerate(both.iter_rows()):
        for below, data in enumerate(pair):
            picture = decode(data)
            picture.thumbnail((side, side))
            sheet.paste(picture, (index % columns * side, (2 * (index // columns) + below) * side))
    return sheet
