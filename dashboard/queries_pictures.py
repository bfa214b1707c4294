"""What the cards ask of a lake: the best images of concepts, small files, captions, codes on patches.

Only the rows of a few images are read from the large tables; cached like `queries`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import polars as pl

from dashboard import pictures
from dashboard.access import by_version, store
from tables.schemas import REAL


def _of(lake: str, table: str, sae: str) -> pl.LazyFrame:
    return store(lake).scan(table).filter(pl.col("sae") == sae)


def _first_drawn(lake: str, generator: str, pair_ids: Sequence[int]) -> pl.DataFrame:
    """What a generator drew for a few captions, the first seed of each: pair_id, drawn (an image id)."""
    rows = (
        store(lake)
        .scan("images")
        .filter(pl.col("source") == generator, pl.col("pair_id").is_in(list(pair_ids)))
    )
    return (
        rows.select("pair_id", "image_id", "seed_index")
        .sort("pair_id", "seed_index")
        .collect()
        .unique("pair_id", keep="first", maintain_order=True)
        .select("pair_id", drawn="image_id")
    )


@by_version("top_images", "images", max_entries=256)
def top_images(
    lake: str, sae: str, source: str, concept_id: int, generator: str, limit: int = 12
) -> pl.DataFrame:
    """The best images of a concept on one side, each with its twin.

    On the real side the twin is what `generator` drew for the same caption (its first seed), on the generated
    side the real image. Columns of `top_images` plus `twin_source`.
    """
    best = (
        _of(lake, "top_images", sae)
        .filter(pl.col("source") == source, pl.col("concept_id") == concept_id, pl.col("rank") < limit)
        .drop("sae", "run_id", "source", "concept_id")
        .sort("rank")
        .collect()
    )
    if source != REAL:
        return best.with_columns(twin_source=pl.lit(REAL))
    twins = _first_drawn(lake, generator, best["pair_id"].to_list()).rename({"drawn": "twin_image_id"})
    found = best.drop("twin_image_id").join(twins, on="pair_id", how="left", maintain_order="left")
    return found.with_columns(twin_source=pl.lit(generator))


@by_version("top_images", "images")
def row_images(lake: str, sae: str, generator: str, sides: Sequence[tuple[int, str]]) -> pl.DataFrame:
    """The image that shows each concept best on the side named, and its twin of the same caption.

    `sides` are concept ids, each with `real` or the generator. Columns: concept_id, pair_id, real_image_id,
    gen_image_id (null where it was not drawn).
    """
    wanted = pl.DataFrame(sides, schema={"concept_id": pl.Int32, "source": pl.String}, orient="row")
    best = (
        _of(lake, "top_images", sae)
        .filter(
            pl.col("source").is_in([REAL, generator]),
            pl.col("rank") == 0,
            pl.col("concept_id").is_in(wanted["concept_id"].to_list()),
        )
        .select("concept_id", "source", "pair_id", "image_id", "twin_image_id")
        .collect()
        .join(wanted, on=["concept_id", "source"], how="semi")
    )
    drawn = _first_drawn(lake, generator, best["pair_id"].to_list())
    is_real = pl.col("source") == REAL
    return best.join(drawn, on="pair_id", how="left").select(
        "concept_id",
        "pair_id",
        pl.when(is_real).then("image_id").otherwise("twin_image_id").alias("real_image_id"),
        pl.when(is_real).then("drawn").otherwise("image_id").alias("gen_image_id"),
    )


Wanted = Sequence[tuple[str, Sequence[int], Sequence[int] | None]]  # source, image ids, pair ids if known


def _few(
    rows: pl.LazyFrame, source: str, image_ids: Sequence[int], pairs: Sequence[int] | None
) -> pl.LazyFrame:
    """The rows of a few images. They lie in the order of pairs: with their ids only a part is read."""
    mine = rows.filter(pl.col("source") == source, pl.col("image_id").is_in(list(image_ids)))
    return mine if pairs is None else mine.filter(pl.col("pair_id").is_in(list(pairs)))


def thumbnails(
    lake: str, source: str, image_ids: Sequence[int], size: int = pictures.THUMBNAIL
) -> dict[int, bytes]:
    """`thumbnails_of` images of one source."""
    return thumbnails_of(lake, ((source, image_ids, None),), size)


@by_version("images", max_entries=128)
def thumbnails_of(lake: str, wanted: Wanted, size: int = pictures.THUMBNAIL) -> dict[int, bytes]:
    """Small WebP files of a few images; images that are missing or unreadable are left out."""
    images = store(lake).scan("images")
    plans = [_few(images, *each).select("image_id", "image") for each in wanted]
    rows = pl.concat(pl.collect_all(plans))
    with ThreadPoolExecutor() as pool:  # decoders and encoders leave other threads free
        small = list(pool.map(pictures.thumbnail, rows["image"], repeat(size)))
    return {key: file for key, file in zip(rows["image_id"], small, strict=True) if file}


@by_version("pairs", max_entries=256)
def captions(lake: str, pair_ids: Sequence[int]) -> dict[int, str]:
    """The captions of a few pairs."""
    rows = (
        store(lake).scan("pairs").filter(pl.col("pair_id").is_in(list(pair_ids))).select("pair_id", "caption")
    )
    return dict(rows.collect().iter_rows())


@by_version("codes", max_entries=256)
def patch_codes(lake: str, sae: str, concept_id: int, wanted: Wanted) -> dict[int, list[float]]:
    """One concept's code on every patch of a few images, row by row; an image without codes is left out."""
    codes = _of(lake, "codes", sae)
    columns = ["image_id", "n_tokens", "n_prefix", "token", "concept", "activation"]
    rows = pl.concat(pl.collect_all([_few(codes, *each).select(columns) for each in wanted]))
    sizes = rows.select("image_id", (pl.col("n_tokens") - pl.col("n_prefix")).clip(lower_bound=0))
    maps = {image: [0.0] * n_patches for image, n_patches in sizes.iter_rows()}
    patch = pl.col("token") - pl.col("n_prefix")
    fired = rows.explode("token", "concept", "activation").filter(
        pl.col("concept") == concept_id, patch >= 0, pl.col("token") < pl.col("n_tokens")
    )
    for image, at, activation in fired.select("image_id", patch, "activation").iter_rows():
        maps[image][at] = activation
    return maps
