"""Energies of image sets as sparse matrices."""

import polars as pl
from scipy import sparse

from pipeline.workspace import Workspace


def energy_matrix(space: Workspace, source: str, images: pl.DataFrame) -> sparse.csr_array:
    """Energies (len(images), n_concepts), rows in the order of `images` (image_id)."""
    rows = images.select("image_id").with_row_index("row").with_columns(pl.lit(1.0).alias("share"))
    return _matrix(space, source, rows, len(images))


def pair_energies(
    space: Workspace, source: str, pairs: pl.DataFrame, seed_index: int | None = None
) -> sparse.csr_array:
    """Energies (len(pairs), n_concepts), rows in the order of `pairs` (pair_id).

    A pair with several images has their mean; `seed_index` takes those of one seed alone. A pair without
    an image has an empty row.
    """
    images = space.live_images(source)
    if seed_index is not None:
        chosen = space.images(source).filter(pl.col("seed_index") == seed_index).select("image_id")
        images = images.join(chosen.collect(), on="image_id", how="semi")
    rows = (
        images.join(pairs.select("pair_id").with_row_index("row"), on="pair_id", how="inner")
        .with_columns((1 / pl.len().over("pair_id")).alias("share"))
        .select("image_id", "row", "share")
    )
    return _matrix(space, source, rows, len(pairs))


def _matrix(space: Workspace, source: str, rows: pl.DataFrame, n_rows: int) -> sparse.csr_array:
    energies = (
        space.store.scan("energies")
        .filter((pl.col("sae") == space.sae) & (pl.col("source") == source))
        .join(rows.lazy(), on="image_id", how="inner")
        .select("row", "concept_id", pl.col("energy").cast(pl.Float64) * pl.col("share"))
        .collect()
        .sort("row", "concept_id")
    )
    place = (energies["row"].to_numpy(), energies["concept_id"].to_numpy())
    return sparse.csr_array((energies["energy"].to_numpy(), place), shape=(n_rows, space.n_concepts()))
