"""How far generators, and SAEs, agree on what is drawn too little or too much."""

import numpy as np
import polars as pl

from pipeline.energies import Sides, common_pairs, pair_energies
from pipeline.frames import columns_of, schema_of
from pipeline.measures import distribution
from pipeline.measures.evidence import bootstrap_weights
from pipeline.measures.matching import match_concepts, rank_agreement
from pipeline.workspace import Workspace
from tables import LABELS, REAL

N_SHAPES = 200  # resamples for figures of the whole distribution


def sae_agreement_rows(space: Workspace, generator: str, sides: Sides, mine: pl.DataFrame) -> pl.DataFrame:
    """This SAE against every other that was used on the same images of the same generator."""
    stored = space.store.scan("energy_differences").filter(
        (pl.col("generator") == generator) & (pl.col("sae") != space.sae)
    )
    rows = []
    for (sae,), theirs in stored.select("sae", "concept_id", "ratio", "label").collect().group_by("sae"):
        energies = pair_energies(space, REAL, sides.pairs, sae=str(sae))
        found = match_concepts(sides.real, energies)
        matched = (
            pl.DataFrame({"concept_id": found.one, "other": found.other, "correlation": found.correlation})
            .cast({"concept_id": pl.Int32, "other": pl.Int32})
            .join(mine.select("concept_id", "ratio", "label"), on="concept_id")
            .join(theirs.rename({"concept_id": "other"}), on="other", suffix="_other")
            .drop_nulls(["ratio", "ratio_other"])
        )
        if len(matched) >= 3:
            ours, other = (matched[name].to_numpy() for name in ("ratio", "ratio_other"))
            same = float((matched["label"] == matched["label_other"]).to_numpy().mean())
            correlation = float(matched["correlation"].to_numpy().mean())
            rows.append((sae, len(matched), correlation, *rank_agreement(ours, other), same))
    names = ["other_sae", "n_matched", "correlation", "spearman", "low", "high", "same_label"]
    schema = {name: schema_of("sae_agreements")[name] for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def agreement_rows(space: Workspace, a: str, b: str) -> pl.DataFrame:
    """Rows of `agreements` for two generators, over the pairs that both drew.

    Correlations are those of the relative difference over concepts that were tested for both; the overlap of
    blindspots is by label.
    """
    settings = space.config.compare
    shared = common_pairs(space, REAL, a, b)
    rows: list[tuple[str, float, float | None, float | None]] = []
    stored = (
        space.store.scan("energy_differences")
        .filter(pl.col("sae") == space.sae)
        .select("generator", "concept_id", "label", "q")
        .sort("concept_id")
        .collect()
    )
    labels = {name: stored.filter(pl.col("generator") == name) for name in (a, b)}
    if len(shared):
        weights = bootstrap_weights(len(shared), N_SHAPES, np.random.default_rng(settings.seed))
        tested = np.all([labels[name]["q"].is_not_null().to_numpy() for name in (a, b)], axis=0)
        whole = np.full((len(shared), 1), 1 / len(shared), np.float32)
        views = []
        for name in (a, b):
            real, gen = (pair_energies(space, source, shared)[:, tested] for source in (REAL, name))
            views.append(distribution.resample(real, gen, np.hstack([whole, weights])).delta("ratio"))
        found = distribution.correlation(views[0][:, 0], views[1][:, 0], views[0][:, 1:], views[1][:, 1:])
        rows += [(e.name, e.value, e.low, e.high) for e in found]
    for label in LABELS[:2]:
        share = distribution.jaccard(*((labels[name]["label"] == label).to_numpy() for name in (a, b)))
        if not np.isnan(share):
            rows.append((f"jaccard_{label}", share, None, None))
    kinds = {"statistic": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)}
    frame = pl.DataFrame(rows, schema=kinds, orient="row").with_columns(
        pl.lit(space.sae).alias("sae"), pl.lit(a).alias("generator_a"), pl.lit(b).alias("generator_b")
    )
    return frame.select(columns_of("agreements"))
