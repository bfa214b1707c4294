"""Which concepts go together in the real images, and what each generator changes about it.

Reads: `codes`. Writes: `cooccurrences`: for every concept its best partners in the real images, and for every
generator these pairs and its own best ones, with the change of the company that they keep; and `communities`
of concepts by what goes together in the real images.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.energies import common_pairs
from pipeline.frames import columns_of
from pipeline.measures.communities import communities
from pipeline.measures.company import Side, company_change
from pipeline.measures.cooccurrence import Cooccurrence, ImageSet, cooccurrence, image_set
from pipeline.workspace import Workspace
from tables import REAL
from tracking.stage import Stage


@dataclass(frozen=True)
class _Counted:
    """One image set."""

    images: pl.DataFrame  # image_id, pair_id, in the order of the rows of `codes`
    codes: ImageSet


def run(space: Workspace) -> str:
    """Count the image sets that are missing or stand on other codes."""
    space.require_encoded()
    settings = space.config.cooccur
    shards = {source: space.derived_shard(settings.model_dump(), REAL, source) for source in space.sources}
    pending = [source for source in space.sources if not _is_done(space, source, shards[source])]
    if not pending:
        return f"nothing to do: {', '.join(space.sources)} are counted"
    n_rows = 0
    with space.stage("cooccur", settings.model_dump(), ("codes",), ("cooccurrences", "communities")) as run:
        real = _load(space, REAL)
        kept = cooccurrence(real.codes, settings.n_partners, settings.least_images)
        for source in pending:
            if source == REAL:
                rows = _real_rows(kept)
                _write_communities(space, kept, shards[REAL], run)
            else:
                rows = _generator_rows(space, source, real, kept)
            n_rows += len(rows)
            named = rows.with_columns(pl.lit(space.sae).alias("sae"), pl.lit(source).alias("source"))
            space.store.replace(
                "cooccurrences",
                named.select(columns_of("cooccurrences")),
                where={"sae": space.sae, "source": source},
                shard=shards[source],
                stage="cooccur",
                run_id=run.run_id,
            )
        run.log(pairs=len(kept.concept_a), rows=n_rows)
    return f"{len(kept.concept_a)} pairs of concepts in {', '.join(pending)}"


def _is_done(space: Workspace, source: str, shard: str) -> bool:
    done = space.store.holds("cooccurrences", {"sae": space.sae, "source": source}, shard)
    return done and (source != REAL or space.store.holds("communities", {"sae": space.sae}, shard))


def _load(space: Workspace, source: str) -> _Counted:
    codes = (
        space.store.scan("codes")
        .filter((pl.col("sae") == space.sae) & (pl.col("source") == source))
        .join(space.live_images(source).lazy().select("image_id"), on="image_id", how="semi")
        .select("image_id", "pair_id", "n_tokens", "token", "concept", "activation")
        .collect()
        .sort("image_id")
    )
    n_tokens = codes["n_tokens"].to_numpy()
    first = np.r_[0, np.cumsum(n_tokens)]
    flat = codes.select(pl.Series("first", first[:-1]), "token", "concept", "activation")
    flat = flat.explode("token", "concept", "activation").drop_nulls("token")
    matrix = sparse.csr_array(
        (
            flat["activation"].to_numpy(),
            ((flat["first"] + flat["token"]).to_numpy(), flat["concept"].to_numpy()),
        ),
        shape=(int(first[-1]), space.n_concepts()),
    )
    image_of_token = np.repeat(np.arange(len(codes)), n_tokens)
    return _Counted(codes.select("image_id", "pair_id"), image_set(matrix, image_of_token, len(codes)))


def _counts(pairs: Cooccurrence) -> pl.DataFrame:
    return pl.DataFrame(vars(pairs))


def _real_rows(kept: Cooccurrence) -> pl.DataFrame:
    counts = _counts(kept)
    nothing = ("difference", "low", "high", "p", "q", "sure")
    return counts.with_columns(
        pl.lit("real").alias("kept"),
        *(pl.col(name).alias(f"real_{name}") for name in ("n_images", "n_a", "n_b", "strength")),
        *(pl.lit(None, pl.Float64).alias(name) for name in nothing),
    )


def _generator_rows(space: Workspace, source: str, real: _Counted, kept: Cooccurrence) -> pl.DataFrame:
    """The best pairs of either side, counted on both, and what changed."""
    settings = space.config.cooccur
    gen = _load(space, source)
    best = (settings.n_partners, settings.least_images)
    drawn = _counts(cooccurrence(gen.codes, *best, also=(kept.concept_a, kept.concept_b)))
    asked = (drawn["concept_a"].to_numpy(), drawn["concept_b"].to_numpy())
    before = _counts(cooccurrence(real.codes, 0, also=asked))
    key = ["concept_a", "concept_b"]
    before = before.select(
        *key, *(pl.col(name).alias(f"real_{name}") for name in ("n_images", "n_a", "n_b", "strength"))
    )
    known = _counts(kept).select(*key, pl.lit("real").alias("kept"))
    rows = drawn.join(before, on=key, how="left", maintain_order="left")
    rows = rows.join(known, on=key, how="left", maintain_order="left")
    pairs = common_pairs(space, REAL, source)["pair_id"].to_numpy()
    change = company_change(
        _side(real, pairs),
        _side(gen, pairs),
        *asked,
        n_pairs=len(pairs),
        n_resamples=settings.n_resamples,
        least_images=settings.least_images,
        level=settings.level,
        seed=settings.seed,
    )
    columns = [pl.Series(name, column).fill_nan(None) for name, column in vars(change).items()]
    return rows.with_columns(pl.col("kept").fill_null("generated"), *columns)


def _side(counted: _Counted, pairs: np.ndarray) -> Side:
    """The images of the pairs that both sides have; `pairs` is sorted."""
    of = counted.images["pair_id"].to_numpy()
    rows = np.flatnonzero(np.isin(of, pairs))
    return Side(sparse.csr_array(counted.codes.presence[rows]), np.searchsorted(pairs, of[rows]))


def _write_communities(space: Workspace, kept: Cooccurrence, shard: str, run: Stage) -> None:
    found = communities(
        kept.concept_a, kept.concept_b, kept.correlation, space.n_concepts(), seed=space.config.cooccur.seed
    )
    linked = kept.correlation > 0
    ends = np.concatenate([kept.concept_a[linked], kept.concept_b[linked]])
    sizes = np.bincount(found[found >= 0], minlength=1)
    rows = pl.DataFrame(
        {
            "concept_id": np.arange(len(found), dtype=np.int32),
            "community": found,
            "n_members": np.where(found >= 0, sizes[found], 1),
            "n_partners": np.bincount(ends, minlength=len(found)),
        }
    ).with_columns(pl.col("community").replace(-1, None))
    space.store.replace(
        "communities",
        rows.with_columns(pl.lit(space.sae).alias("sae")).select(columns_of("communities")),
        where={"sae": space.sae},
        shard=shard,
        stage="cooccur",
        run_id=run.run_id,
    )
