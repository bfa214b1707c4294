"""Compare what each generator draws with what it was asked to draw, concept by concept.

Reads: `energies`, `codes`, `images`. Writes: `concept_stats` (energy of each concept in each image set),
`energy_differences` (generated against real over the pairs that have both), `top_images`.
"""

from collections import Counter

import numpy as np
import polars as pl

from pipeline import figures
from pipeline.frames import columns_of, list_column
from pipeline.measures.energy import FORMS, energy_difference, label_concepts
from pipeline.workspace import Workspace
from tables import LABELS, REAL
from tracking.stage import Stage

_READS = ("energies", "codes", "images")
_WRITES = ("concept_stats", "energy_differences", "top_images")


def run(space: Workspace) -> str:
    """Compare every generator whose comparison is missing or stands on other energies."""
    space.require_encoded()
    settings = space.config.compare
    shard = {source: space.derived_shard(settings.model_dump(), REAL, source) for source in space.sources}
    pending = [source for source in space.sources if not _is_done(space, source, shard[source])]
    if not pending:
        return f"nothing to do: {', '.join(space.sources[1:])} are compared"
    with space.stage("compare", settings.model_dump(), _READS, _WRITES) as run:
        n_concepts = space.n_concepts()
        for source in pending:
            statistics = concept_statistics(space, source, space.live_images(source), n_concepts)
            where = {"sae": space.sae, "source": source}
            how = {"shard": shard[source], "stage": "compare", "run_id": run.run_id}
            space.store.replace("top_images", _top_images(space, source), where=where, **how)
            if source != REAL:
                differences = _differences(space, source, n_concepts)
                to = {"sae": space.sae, "generator": source}
                space.store.replace("energy_differences", differences, where=to, **how)
                _report(space, run, source, differences)
            # Last, for it marks the source as done.
            space.store.replace("concept_stats", _stat_rows(space, source, statistics), where=where, **how)
    return f"compared {', '.join(source for source in pending if source != REAL) or 'nothing new'}"


def _is_done(space: Workspace, source: str, shard: str) -> bool:
    return space.store.holds("concept_stats", {"sae": space.sae, "source": source}, shard)


def concept_statistics(space: Workspace, source: str, images: pl.DataFrame, n_concepts: int) -> pl.DataFrame:
    """Mean, variance and prevalence of every concept's energy over `images` (image_id), zeros included.

    Columns: concept_id, n_fired, mean_energy, variance (unbiased), prevalence; one row per concept.
    """
    n = len(images)
    sums = (
        space.store.scan("energies")
        .filter((pl.col("sae") == space.sae) & (pl.col("source") == source))
        .join(images.lazy().select("image_id"), on="image_id", how="semi")
        .select("concept_id", pl.col("energy").cast(pl.Float64))
        .group_by("concept_id")
        .agg(
            pl.len().cast(pl.Int64).alias("n_fired"),
            pl.col("energy").sort().sum().alias("total"),
            pl.col("energy").sort().pow(2).sum().alias("squares"),
        )
        .collect()
    )
    everyone = pl.DataFrame({"concept_id": np.arange(n_concepts, dtype=np.int32)})
    mean = pl.col("total") / max(n, 1)
    return (
        everyone.join(sums, on="concept_id", how="left")
        .with_columns(pl.col("n_fired", "total", "squares").fill_null(0))
        .select(
            "concept_id",
            "n_fired",
            mean.alias("mean_energy"),
            ((pl.col("squares") - n * mean**2) / max(n - 1, 1)).clip(0).alias("variance"),
            (pl.col("n_fired") / max(n, 1)).alias("prevalence"),
        )
        .sort("concept_id")
    )


def _stat_rows(space: Workspace, source: str, statistics: pl.DataFrame) -> pl.DataFrame:
    return statistics.select(
        pl.lit(space.sae).alias("sae"),
        pl.lit(source).alias("source"),
        "concept_id",
        "mean_energy",
        "variance",
        "prevalence",
        pl.lit(len(space.live_images(source)), pl.Int64).alias("n_images"),
    )


def _differences(space: Workspace, generator: str, n_concepts: int) -> pl.DataFrame:
    """Rows of `energy_differences`, over the pairs that have a real and a generated image."""
    settings = space.config.compare
    real, gen = space.live_images(REAL), space.live_images(generator)
    both = real.select("pair_id").join(gen.select("pair_id").unique(), on="pair_id", how="semi")
    sides = [
        concept_statistics(space, source, images.join(both, on="pair_id", how="semi"), n_concepts)
        for source, images in ((REAL, real), (generator, gen))
    ]
    e_real, e_gen = (side["mean_energy"].to_numpy() for side in sides)
    n_real, n_gen = (side["n_fired"].to_numpy() for side in sides)
    forms = {
        form: energy_difference(e_real, e_gen, form, settings.temperature if form == settings.form else None)
        for form in FORMS
    }
    labels = label_concepts(
        forms[settings.form],
        n_real,
        n_gen,
        suppressed_below=settings.suppressed_below,
        exaggerated_above=settings.exaggerated_above,
        least_images=settings.least_images,
    )
    columns: dict[str, np.ndarray | list] = {
        "concept_id": np.arange(n_concepts, dtype=np.int32),
        "n_fired_real": n_real,
        "n_fired_gen": n_gen,
        "energy_real": e_real,
        "energy_gen": e_gen,
        "difference": e_gen - e_real,
        **{str(form): delta for form, delta in forms.items()},
        "label": labels.tolist(),
    }
    frame = pl.DataFrame(columns).with_columns(
        pl.col(*FORMS).fill_nan(None),
        pl.lit(space.sae).alias("sae"),
        pl.lit(generator).alias("generator"),
        pl.lit(len(both), pl.Int64).alias("n_pairs"),
        pl.lit(settings.form).alias("form"),
        *(pl.lit(None, pl.Float64).alias(name) for name in ("low", "high", "p", "q")),
    )
    return frame.select(columns_of("energy_differences"))


def _top_images(space: Workspace, source: str) -> pl.DataFrame:
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
    maps = _heatmaps(ranked.select("concept_id", "image_id"), codes)
    twins = space.live_images(REAL).select("pair_id", pl.col("image_id").alias("twin_image_id"))
    rows = ranked.with_columns(maps).join(twins, on="pair_id", how="left", maintain_order="left")
    if source == REAL:
        rows = rows.with_columns(pl.lit(None, pl.Int64).alias("twin_image_id"))
    rows = rows.with_columns(pl.lit(space.sae).alias("sae"), pl.lit(source).alias("source"))
    return rows.select(columns_of("top_images"))


def _heatmaps(wanted: pl.DataFrame, codes: pl.DataFrame) -> list[pl.Series]:
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


def _report(space: Workspace, run: Stage, generator: str, differences: pl.DataFrame) -> None:
    settings = space.config.compare
    counts = Counter(differences["label"])
    run.log({f"{generator}_{label}": counts[label] for label in LABELS if label in counts})
    run.figure(
        figures.difference_histogram(
            differences[settings.form].to_numpy(),
            generator,
            settings.form,
            settings.suppressed_below,
            settings.exaggerated_above,
        ),
        f"energy_difference_{generator}.png",
    )
