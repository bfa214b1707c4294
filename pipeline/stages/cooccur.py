"""Which concepts go together, in the real images and in each generator's.

Reads: `codes`. Writes: `cooccurrences`: for every concept its strongest partners in the real images, and the
same pairs in every generator with the difference to real.
"""

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.frames import columns_of
from pipeline.measures.cooccurrence import Cooccurrence, cooccurrence, top_partners
from pipeline.workspace import Workspace
from tables import REAL


def run(space: Workspace) -> str:
    """Count the image sets that are missing or stand on other codes."""
    space.require_encoded()
    settings = space.config.cooccur
    shards = {source: space.derived_shard(settings.model_dump(), REAL, source) for source in space.sources}
    pending = [
        source
        for source in space.sources
        if not space.store.holds("cooccurrences", {"sae": space.sae, "source": source}, shards[source])
    ]
    if not pending:
        return f"nothing to do: {', '.join(space.sources)} are counted"
    with space.stage("cooccur", settings.model_dump(), ("codes",), ("cooccurrences",)) as run:
        real = _count(space, REAL)
        kept = top_partners(real, settings.n_partners, settings.least_images)
        for source in pending:
            pairs = real if source == REAL else _count(space, source)
            rows = _rows(space, source, pairs, kept, real)
            where = {"sae": space.sae, "source": source}
            space.store.replace(
                "cooccurrences", rows, where=where, shard=shards[source], stage="cooccur", run_id=run.run_id
            )
        run.log(pairs=len(kept))
    return f"{len(kept)} pairs of concepts in {', '.join(pending)}"


def _count(space: Workspace, source: str) -> Cooccurrence:
    codes = (
        space.store.scan("codes")
        .filter((pl.col("sae") == space.sae) & (pl.col("source") == source))
        .join(space.live_images(source).lazy().select("image_id"), on="image_id", how="semi")
        .select("image_id", "n_tokens", "token", "concept", "activation")
        .collect()
        .sort("image_id")
    )
    n_tokens = codes["n_tokens"].to_numpy()
    first = np.r_[0, np.cumsum(n_tokens)]
    flat = codes.with_columns(pl.Series("first", first[:-1])).explode("token", "concept", "activation")
    flat = flat.drop_nulls("token")
    matrix = sparse.csr_array(
        (
            flat["activation"].to_numpy().astype(np.float64),
            ((flat["first"] + flat["token"]).to_numpy(), flat["concept"].to_numpy()),
        ),
        shape=(int(first[-1]), space.n_concepts()),
    )
    return cooccurrence(matrix, np.repeat(np.arange(len(codes)), n_tokens), len(codes))


def _rows(
    space: Workspace, source: str, pairs: Cooccurrence, kept: np.ndarray, real: Cooccurrence
) -> pl.DataFrame:
    """Rows for the kept pairs of the real images; a pair that a generator never draws together counts 0."""
    chosen = pl.DataFrame(
        {
            "concept_a": real.concept_a[kept],
            "concept_b": real.concept_b[kept],
            "real_strength": real.strength[kept],
        }
    )
    counted = pl.DataFrame(
        {
            "concept_a": pairs.concept_a,
            "concept_b": pairs.concept_b,
            "n_images": pairs.n_images,
            "strength": pairs.strength,
            "lift": pairs.lift,
        }
    )
    frame = chosen.join(counted, on=["concept_a", "concept_b"], how="left", maintain_order="left")
    frame = frame.with_columns(pl.col("n_images", "strength", "lift").fill_null(0))
    difference = pl.lit(None, pl.Float64) if source == REAL else pl.col("strength") - pl.col("real_strength")
    return frame.with_columns(
        pl.lit(space.sae).alias("sae"),
        pl.lit(source).alias("source"),
        difference.alias("difference"),
        *(pl.lit(None, pl.Float64).alias(name) for name in ("low", "high", "q")),
    ).select(columns_of("cooccurrences"))
