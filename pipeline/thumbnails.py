"""Small pictures of the images in the lake, for comparing pixels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
from PIL import Image, ImageOps

from pipeline.measures.pixels import SIDE
from pipeline.sources.images import ImageError, decode
from pipeline.workspace import Workspace


def thumbnails(space: Workspace, source: str, images: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails (n, SIDE, SIDE, 3) uint8 of `images` (image_id), in their order, and which could be decoded.

    The centre square, averaged over fields of equal size. Bytes are read shard by shard, so that those of a
    whole image set are never in memory at once.
    """
    places = {image: row for row, image in enumerate(images["image_id"])}
    small = np.zeros((len(images), SIDE, SIDE, 3), np.uint8)
    decoded = np.zeros(len(images), bool)
    with ThreadPoolExecutor() as pool:
        for shard in space.pair_shards(source):
            rows = space.images(source, shard).select("image_id", "image").drop_nulls().collect()
            rows = rows.filter(pl.col("image_id").is_in(list(places)))
            for image_id, thumbnail in zip(
                rows["image_id"], pool.map(_thumbnail, rows["image"]), strict=True
            ):
                if thumbnail is not None:
                    small[places[image_id]], decoded[places[image_id]] = thumbnail, True
    return small, decoded


def _thumbnail(data: bytes) -> np.ndarray | None:
    try:
        image = decode(data)
    except ImageError:
        return None
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BOX))
