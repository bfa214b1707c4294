"""Energies of image sets as sparse matrices."""

from dataclasses import dataclass

import polars as pl
from scipy import sparse

from pipeline.workspace import Workspace
from tables import REAL


@dataclass(frozen=True)
class Sides:
    """Energies of the same pairs on both sides."""

    pairs: pl.DataFrame  # pair_id, caption
    real: sparse.csr_array  # (n_pairs, n_concepts)
    gen: sparse.csr_array


def energy_matrix(space: Workspace, source: str, images: pl.DataFrame) -> sparse.csr_array:
    """Energies (len(images), n_concepts), rows in the order of `images` (image_id)."""
    rows = images.select("image_id").with_row_index("row").with_columns(pl.lit(1.0).alias("share"))
    return _matrix(space, source, rows, len(images))


def pair_energies(
    space: Workspace,
    source: str,
    pairs: pl.DataFrame,
    seed_index: int | None = None,
    sae: str | None = None,
) -> sparse.csr_array:
    """Energies (len(pairs), n_concepts), rows in the order of `pairs` (pair_id).

    A pair with several images has their mean; `seed_index` takes those of one seed alone. A pair without
    an image has an empty row. `sae` is another SAE of the lake than this run's.
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
    return _matrix(space, source, rows, len(pairs), sae)


def common_pairs(space: Workspace, *sources: str) -> pl.DataFrame:
    """The live pairs (pair_id, caption) that have an image of every source."""
    pairs = space.pairs()
    for source in sources:
        pairs = pairs.join(space.live_images(source), on="pair_id", how="semi", maintain_order="left")
    return pairs


def sides_of(space: Workspace, generator: str) -> Sides:
    """Real and generated energies of the pairs that have an image on both sides, in the pairs' order."""
    pairs = common_pairs(space, REAL, generator)
    if pairs.is_empty():
        raise ValueError(
            f"no pair has both a real image and one of {generator}; look at the status and error columns of"
            " the images table."
        )
    return Sides(pairs, pair_energies(space, REAL, pairs), pair_energies(space, generator, pairs))


def _matrix(
    space: Workspace, source: str, rows: pl.DataFrame, n_rows: int, sae: str | None = None
) -> sparse.csr_array:
    energies = (
        space.store.scan("energies")
        .filter((pl.col("sae") == (sae or space.sae)) & (pl.col("source") == source))
        .join(rows.lazy(), on="image_id", how="inner")
        .select("row", "concept_id", pl.col("energy").cast(pl.Float64) * pl.col("share"))
        .collect()
        .sort("row", "concept_id")
    )
    place = (energies["row"].to_numpy(), energies["concept_id"].to_numpy())
    n_concepts = int(place[1].max(initial=-1)) + 1 if sae else space.n_concepts()
    return sparse.csr_array((energies["energy"].to_numpy(), place), shape=(n_rows, n_concepts))
