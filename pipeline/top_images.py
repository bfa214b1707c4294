"""The best images of every concept, with the concept's codes on their patches."""

import numpy as np
import polars as pl

from pipeline.frames import columns_of, list_column
from pipeline.workspace import Workspace
from tables import REAL


def top_images(space: Workspace, source: str) -> pl.DataFrame:
    """The images in which each concept has most energy, with its codes on the patches."""
    mine = (pl.col("sae") == space.sae) & (pl.col("source") == source)
    ranked = (
        space.store.scan("energies")
        .filter(mine)
        .join(space.live_images(source).lazy().select("image_id"), on="image_id", how="semi")
        .select("concept_id", "image_id", "pair_id", "energy")
        .collect()
        .sort(["concept_id", "energy", "image_id"], descending=[False, True, False])
        .with_columns(pl.int_range(pl.len(), dtype=pl.Int32).over("concept_id").alias("rank"))
        .filter(pl.col("rank") < space.config.compare.n_top_images)
    )
    needed = ranked.lazy().select("image_id").unique()
    codes = space.store.scan("codes").filter(mine).join(needed, on="image_id", how="semi").collect()
    maps = heatmaps(ranked.select("concept_id", "image_id"), codes)
    twins = space.live_images(REAL).select("pair_id", pl.col("image_id").alias("twin_image_id"))
    rows = ranked.with_columns(maps).join(twins, on="pair_id", how="left", maintain_order="left")
    if source == REAL:
        rows = rows.with_columns(pl.lit(None, pl.Int64).alias("twin_image_id"))
    rows = rows.with_columns(pl.lit(space.sae).alias("sae"), pl.lit(source).alias("source"))
    return rows.select(columns_of("top_images"))


def heatmaps(wanted: pl.DataFrame, codes: pl.DataFrame) -> list[pl.Series]:
    """Columns heatmap, grid_height, grid_width for every (concept_id, image_id) of `wanted`."""
    grids: dict[int, tuple] = {}
    for row in codes.iter_rows(named=True):
        token, concept = np.asarray(row["token"], int), np.asarray(row["concept"], int)
        grids[row["image_id"]] = (
            token - row["n_prefix"],
            concept,
            np.asarray(row["activation"], np.float32),
            row,
        )
    maps, heights, widths = [], [], []
    for concept_id, image_id in wanted.iter_rows():
        patch, concept, activation, row = grids[image_id]
        n_patches = row["n_tokens"] - row["n_prefix"]
        side = round(n_patches**0.5)
        here = (concept == concept_id) & (patch >= 0)
        heat = np.zeros(n_patches, np.float32)
        heat[patch[here]] = activation[here]
        maps.append(heat)
        heights.append(side)
        widths.append(n_patches // side)
    return [
        list_column("heatmap", maps, pl.Float32),
        pl.Series("grid_height", heights, dtype=pl.Int32),
        pl.Series("grid_width", widths, dtype=pl.Int32),
    ]
