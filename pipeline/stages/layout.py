"""Lay the concepts out on a map: UMAP of the dictionary's atoms by cosine.

Reads: the SAE. Writes: `layout`, the same map for all generators.
"""

import numpy as np
import polars as pl

from pipeline.config import fingerprint
from pipeline.frames import columns_of
from pipeline.workspace import Workspace


def run(space: Workspace) -> str:
    """Lay out the SAE's atoms, where that is not done."""
    settings = space.config.layout
    shard, where = fingerprint(settings.model_dump(), space.sae), {"sae": space.sae}
    if space.store.holds("layout", where, shard):
        return f"nothing to do: {space.sae} has its map"
    if not (space.sae_folder / "cfg.json").is_file():
        raise ValueError(f"the SAE {space.sae} is not trained yet; run the stage train-sae first.")
    with space.stage("layout", settings.model_dump(), (), ("layout",)) as run:
        from sae_models import load

        positions = umap_positions(load(space.sae_folder).dictionary().detach().numpy(), settings)
        rows = pl.DataFrame(
            {
                "concept_id": np.arange(len(positions), dtype=np.int32),
                "x": positions[:, 0],
                "y": positions[:, 1],
            }
        ).with_columns(
            pl.lit(space.sae).alias("sae"),
            pl.lit(None, pl.Int32).alias("region"),
            pl.lit(None, pl.String).alias("region_name"),
        )
        rows = rows.select(columns_of("layout"))
        space.store.replace("layout", rows, where=where, shard=shard, stage="layout", run_id=run.run_id)
    return f"{len(rows)} concepts on the map"


def umap_positions(dictionary: np.ndarray, settings) -> np.ndarray:
    """Two coordinates per atom, (n_concepts, 2) float32; the same seed gives the same map."""
    import warnings

    from umap import UMAP

    # A seed means one thread, which UMAP says every time.
    warnings.filterwarnings("ignore", message="n_jobs value")
    mapper = UMAP(
        n_neighbors=min(settings.n_neighbors, len(dictionary) - 1),
        min_dist=settings.min_dist,
        metric="cosine",
        random_state=settings.seed,
    )
    return np.asarray(mapper.fit_transform(dictionary), np.float32)
