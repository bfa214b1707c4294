"""Compare what each generator draws with what it was asked to draw, concept by concept.

Reads: `energies`, `codes`, `images`, `concepts`. Writes for each generator `concept_stats` (energy of each
concept in each image set), `energy_differences` (generated against real over the pairs that have both) and
`top_images`; beside them `nulls`, `distributions`, `funnel` and `caption_differences`; and for every two
generators `agreements`, and `sae_agreements` where another SAE has been used on the same images.
"""

from collections import Counter
from itertools import combinations

import numpy as np
import polars as pl
from tqdm import tqdm

from pipeline import figures
from pipeline.agreement import agreement_rows
from pipeline.comparison import Comparison, compare_energies
from pipeline.top_images import top_images
from pipeline.workspace import Workspace
from tables import LABELS, REAL
from tracking.stage import Stage

_READS = ("energies", "codes", "images", "concepts")
_PER_GENERATOR = (
    "energy_differences",
    "nulls",
    "distributions",
    "funnel",
    "caption_differences",
    "sae_agreements",
)
_WRITES = ("concept_stats", "top_images", "agreements", *_PER_GENERATOR)


def run(space: Workspace) -> str:
    """Compare every generator whose comparison is missing or stands on other energies."""
    space.require_encoded()
    _require_named(space)
    settings = space.config.compare
    how = (settings.model_dump(), space.config.name_concepts.model_dump())
    shard = {source: space.derived_shard(how, REAL, source) for source in space.sources}
    names = space.sources[1:]
    couples = {two: space.derived_shard(how, REAL, *two) for two in combinations(names, 2)}
    pending = [source for source in space.sources if not _is_done(space, source, shard[source])]
    new_couples = {two: print_ for two, print_ in couples.items() if not _is_agreed(space, two, print_)}
    if not pending and not new_couples:
        return f"nothing to do: {', '.join(names)} are compared"
    left_out = []
    with space.stage("compare", settings.model_dump(), _READS, _WRITES) as run:
        for source in pending:
            n = _compare_source(space, run, source, shard[source])
            left_out += [f"{n} pairs of {source} left out, for one side has no image"] if n else []
        for (a, b), print_ in new_couples.items():
            where = {"sae": space.sae, "generator_a": a, "generator_b": b}
            at = {"shard": print_, "stage": "compare", "run_id": run.run_id}
            rows = agreement_rows(space, a, b)
            space.store.replace("agreements", rows, where=where, **at)
            _report_agreement(space, run, a, b, rows)
    compared = ", ".join(source for source in pending if source != REAL) or "nothing new"
    return "; ".join([f"compared {compared}", *left_out])


def _require_named(space: Workspace) -> None:
    if not len(space.store.scan("concepts").filter(pl.col("sae") == space.sae).head(1).collect()):
        raise ValueError(f"the concepts of {space.sae} have no groups yet; run the stage name first.")


def _is_done(space: Workspace, source: str, shard: str) -> bool:
    return space.store.holds("concept_stats", {"sae": space.sae, "source": source}, shard)


def _is_agreed(space: Workspace, two: tuple[str, str], shard: str) -> bool:
    where = {"sae": space.sae, "generator_a": two[0], "generator_b": two[1]}
    return space.store.holds("agreements", where, shard)


def _compare_source(space: Workspace, run: Stage, source: str, shard: str) -> int:
    """Write the tables of one source; the number of pairs that could not be compared."""
    n_left_out = 0
    where = {"sae": space.sae, "source": source}
    at = {"shard": shard, "stage": "compare", "run_id": run.run_id}
    space.store.replace("top_images", top_images(space, source), where=where, **at)
    if source != REAL:
        to = {"sae": space.sae, "generator": source}
        with tqdm(desc=f"compare {source}", unit="concept", mininterval=1) as bar:
            compared = compare_energies(space, source, bar)
        n_left_out = compared.n_left_out
        for table in _PER_GENERATOR:
            space.store.replace(table, compared.frames[table], where=to, **at)
        _report(space, run, source, compared)
    statistics = concept_statistics(space, source, space.live_images(source), space.n_concepts())
    # Last, for it marks the source as done.
    space.store.replace("concept_stats", _stat_rows(space, source, statistics), where=where, **at)
    return n_left_out


def concept_statistics(space: Workspace, source: str, images: pl.DataFrame, n_concepts: int) -> pl.DataFrame:
    """Mean, variance and prevalence of every concept's energy over `images` (image_id), zeros included.

    Columns: concept_id, mean_energy, variance (unbiased), prevalence; one row per concept.
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


def _report(space: Workspace, run: Stage, generator: str, compared: Comparison) -> None:
    settings = space.config.compare
    rows = compared.frames["energy_differences"]
    run.log({f"{generator}_pairs_left_out": compared.n_left_out})
    counts = Counter(rows["label"])
    run.log({f"{generator}_{label}": counts[label] for label in LABELS if label in counts})
    statistics = compared.frames["distributions"].filter(pl.col("form") == settings.form)
    run.log(
        {f"{generator}_{name}": value for name, value in statistics.select("statistic", "value").iter_rows()}
    )
    run.figure(
        figures.difference_histogram(
            rows[settings.form].to_numpy(),
            generator,
            settings.form,
            settings.suppressed_below,
            settings.exaggerated_above,
            compared.frames["nulls"].filter((pl.col("form") == settings.form) & (pl.col("kind") == "real")),
        ),
        f"energy_difference_{generator}.png",
    )
    funnel = compared.frames["funnel"].filter(pl.col("form") == settings.form)
    prevalence = rows.select(pl.max_horizontal("n_fired_real", "n_fired_gen") / pl.col("n_pairs")).to_series()
    run.figure(
        figures.funnel(
            rows[settings.form].to_numpy(), prevalence.to_numpy(), funnel, generator, settings.form
        ),
        f"funnel_{generator}.png",
    )


def _report_agreement(space: Workspace, run: Stage, a: str, b: str, rows: pl.DataFrame) -> None:
    run.log({f"{name}_{a}_{b}": value for name, value in rows.select("statistic", "value").iter_rows()})
    deltas = [
        space.store.scan("energy_differences")
        .filter((pl.col("sae") == space.sae) & (pl.col("generator") == name) & pl.col("q").is_not_null())
        .select("concept_id", pl.col("ratio").alias(name))
        .collect()
        for name in (a, b)
    ]
    run.figure(
        figures.agreement(deltas[0].join(deltas[1], on="concept_id"), a, b, rows), f"agreement_{a}_{b}.png"
    )
