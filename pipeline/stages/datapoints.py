"""Compare every pair: how alike are the real image and its generated twin?

Reads: `energies`, `images`. Writes: `datapoints`, one row per pair and generator.
"""

import polars as pl
from scipy import sparse

from pipeline.energies import energy_matrix
from pipeline.frames import columns_of
from pipeline.measures import datapoints as measures
from pipeline.workspace import Workspace
from tables import REAL


def run(space: Workspace) -> str:
    """Score the pairs of every generator whose rows are missing or stand on other energies."""
    space.require_encoded()
    names = [generator.name for generator in space.generators]
    shards = {name: space.derived_shard("datapoints", REAL, name) for name in names}
    pending = [
        name
        for name in names
        if not space.store.holds("datapoints", {"sae": space.sae, "generator": name}, shards[name])
    ]
    if not pending:
        return f"nothing to do: the pairs of {', '.join(names)} are scored"
    with space.stage("datapoints", {}, ("energies", "images"), ("datapoints",)) as run:
        real_images = space.live_images(REAL)
        real = energy_matrix(space, REAL, real_images)
        for name in pending:
            rows = _rows(space, name, real_images, real)
            where = {"sae": space.sae, "generator": name}
            space.store.replace(
                "datapoints", rows, where=where, shard=shards[name], stage="datapoints", run_id=run.run_id
            )
            run.log({f"{name}_mean_similarity": rows["similarity"].mean()})
    return f"scored the pairs of {', '.join(pending)}"


def _rows(
    space: Workspace, generator: str, real_images: pl.DataFrame, real: sparse.csr_array
) -> pl.DataFrame:
    """One row per pair; of several seeds the first."""
    images = space.images(generator).filter(pl.col("seed_index") == 0).select("image_id").collect()
    images = space.live_images(generator).join(images, on="image_id", how="semi").sort("pair_id")
    twins = real_images.with_row_index("real_row").rename({"image_id": "real_image_id"})
    pairs = images.join(twins, on="pair_id", how="inner", maintain_order="left")
    gen = energy_matrix(space, generator, pairs)
    real = real[pairs["real_row"].to_numpy()]
    frame = pairs.select("pair_id", "image_id", "real_image_id").with_columns(
        pl.Series("paper_score", measures.paper_score(real, gen)),
        pl.Series("distance", measures.distance(real, gen)),
        pl.Series("similarity", measures.similarity(real, gen)),
        pl.lit(space.sae).alias("sae"),
        pl.lit(generator).alias("generator"),
        *(pl.lit(None, pl.Float64).alias(name) for name in ("memorisation", "p", "q")),
        pl.lit(None, pl.String).alias("verdict"),
    )
    return frame.select(columns_of("datapoints"))
