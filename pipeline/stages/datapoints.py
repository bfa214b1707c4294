"""Compare every pair: how alike are the real image and its generated twin, and was it drawn from memory?

Reads: `energies`, `embeddings`, `images`. Writes: `datapoints`, one row per pair and generator. Captions are
not read: that a real and a generated image belong to one caption is all that the null needs to know.
"""

from collections import Counter

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.energies import energy_matrix
from pipeline.frames import columns_of
from pipeline.measures import datapoints as measures
from pipeline.measures.memorisation import (
    Bars,
    Images,
    Memorisation,
    memorisation,
    real_duplicates,
    verdicts,
)
from pipeline.stages.settings import DatapointsConfig
from pipeline.thumbnails import thumbnails
from pipeline.workspace import Workspace
from tables import REAL
from tracking.stage import Stage

_READS = ("energies", "embeddings", "images")


def run(space: Workspace) -> str:
    """Score the pairs of every generator whose rows are missing or stand on other images or settings."""
    space.require_encoded()
    _require_embeddings(space)
    settings = space.config.datapoints
    names = [generator.name for generator in space.generators]
    shards = {name: space.derived_shard(settings.model_dump(), REAL, name) for name in names}
    pending = [
        name
        for name in names
        if not space.store.holds("datapoints", {"sae": space.sae, "generator": name}, shards[name])
    ]
    if not pending:
        return f"nothing to do: the pairs of {', '.join(names)} are scored"
    with space.stage("datapoints", settings.model_dump(), _READS, ("datapoints",)) as run:
        frame = _images(space, REAL)
        real = _read(space, REAL, frame)
        copies = real_duplicates(real, settings.same_real_picture, settings.n_neighbours)
        run.log(real_duplicates=int((copies > 0).sum()))
        frame = frame.with_columns(pl.Series("n_duplicates", copies)).with_row_index("real_row")
        reports = []
        for name in pending:
            rows = _rows(space, name, frame, real)
            where = {"sae": space.sae, "generator": name}
            space.store.replace(
                "datapoints", rows, where=where, shard=shards[name], stage="datapoints", run_id=run.run_id
            )
            reports.append(_report(run, name, rows))
    return f"{(copies > 0).sum()} real images have a duplicate; {'; '.join(reports)}"


def _require_embeddings(space: Workspace) -> None:
    for source in space.sources:
        if not all(space.store.has("embeddings", shard.id) for shard in space.encode_shards(source)):
            raise ValueError(
                f"images of {source!r} were encoded before embeddings were kept; run the stage encode again,"
                " it adds them and leaves the rest."
            )


def _images(space: Workspace, source: str) -> pl.DataFrame:
    """The pictures of a source: image_id, pair_id, by pair and seed."""
    seeds = space.images(source).select("image_id", "seed_index").collect()
    return space.live_images(source).join(seeds, on="image_id").sort("pair_id", "seed_index")


def _read(space: Workspace, source: str, images: pl.DataFrame) -> Images:
    """What is known of these images, in their order."""
    stored = space.store.scan("embeddings").filter(
        (pl.col("sae") == space.sae) & (pl.col("source") == source)
    )
    vectors = images.select("image_id").join(
        stored.select("image_id", "embedding").collect(), on="image_id", maintain_order="left"
    )
    tokens = vectors["embedding"].explode().to_numpy().reshape(len(vectors), -1)
    return Images(energy_matrix(space, source, images), tokens, *thumbnails(space, source, images))


def _rows(space: Workspace, generator: str, real_images: pl.DataFrame, real: Images) -> pl.DataFrame:
    """One row per pair that has an image on both sides; scores are those of the first seed that was drawn."""
    twins = real_images.rename({"image_id": "real_image_id"}).drop("seed_index")
    images = _images(space, generator).join(twins, on="pair_id", maintain_order="left")
    if images.is_empty():
        raise ValueError(
            f"no pair has both a real image and one of {generator}; look at the status and error columns of"
            " the images table."
        )
    gen = _read(space, generator, images)
    weights = measures.concept_weights(real.energies, gen.energies)
    twin = images["real_row"].to_numpy().astype(np.int64)
    bars = _bars(space.config.datapoints)
    found = memorisation(_weighted(real, weights), _weighted(gen, weights), twin, bars)
    first = np.unique(twin, return_index=True)[1]
    sides = real.energies[twin[first]], gen.energies[first]
    distances = measures.distance(*sides, weights)
    counts = images.group_by("pair_id", maintain_order=True).agg(pl.len().alias("n_images"))
    frame = images[first].join(counts, on="pair_id", maintain_order="left")
    return frame.with_columns(
        pl.lit(space.sae).alias("sae"),
        pl.lit(generator).alias("generator"),
        pl.Series("paper_score", measures.paper_score(*sides)),
        pl.Series("distance", distances),
        pl.Series("similarity", measures.similarity(*sides, weights)),
        pl.Series("rank", measures.ranks(distances)),
        *_found_columns(found, images, real_images, bars),
    ).select(columns_of("datapoints"))


def _found_columns(
    found: Memorisation, images: pl.DataFrame, real_images: pl.DataFrame, bars: Bars
) -> list[pl.Series]:
    figures = {
        "nearest_energy": found.energy_similarity,
        "nearest_token": found.token_similarity,
        "nearest_edges": found.edge_similarity,
        "nearest_layout": found.layout_similarity,
        "seed_similarity": found.seed_similarity,
        "memorisation": found.score,
        "p": found.p,
        "q": found.q,
        "mismatched_p": found.mismatched_p,
    }
    return [
        images["image_id"][found.image].alias("suspect_image_id"),
        real_images["image_id"][found.nearest].alias("nearest_image_id"),
        *(pl.Series(name, np.float64(values)).fill_nan(None) for name, values in figures.items()),
        pl.Series("null_pairs", [found.null] * len(found.p)),
        pl.Series("verdict", verdicts(found, bars), pl.String),
    ]


def _weighted(images: Images, weights: np.ndarray) -> Images:
    energies = sparse.csr_array(images.energies @ sparse.diags_array(weights))
    return Images(energies, images.tokens, images.thumbnails, images.decoded)


def _bars(settings: DatapointsConfig) -> Bars:
    return Bars(**settings.model_dump(exclude={"same_real_picture"}))


def _report(run: Stage, name: str, rows: pl.DataFrame) -> str:
    counts = Counter(verdict or "undecided" for verdict in rows["verdict"])
    run.log({f"{name}_mean_similarity": rows["similarity"].mean()})
    run.log({f"{name}_{verdict}": n for verdict, n in counts.items()})
    return f"{name}: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
