"""One generator against the real images: every table of it from the energies of the pairs that have both."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from scipy import sparse
from tqdm import tqdm

from pipeline.agreement import N_SHAPES, sae_agreement_rows
from pipeline.energies import Sides, pair_energies, sides_of
from pipeline.frames import columns_of, schema_of
from pipeline.measures import distribution, nulls
from pipeline.measures.asking import asking_pairs
from pipeline.measures.energy import FORMS
from pipeline.measures.evidence import Evidence, bootstrap_weights, label_concepts, weigh
from pipeline.measures.groups import grouped
from pipeline.measures.naming import count_terms, mentions
from pipeline.stages.settings import CompareConfig
from pipeline.workspace import Workspace

N_BINS = 40  # of the energy difference, in histograms


@dataclass(frozen=True)
class Comparison:
    """Rows per table that `compare` writes for one generator."""

    frames: dict[str, pl.DataFrame]
    n_left_out: int  # pairs without an image on one of the sides


def compare_energies(space: Workspace, generator: str, bar: tqdm | None = None) -> Comparison:
    """Everything that is known of one generator."""
    settings = space.config.compare
    sides = sides_of(space, generator)
    concepts = space.store.scan("concepts").filter(pl.col("sae") == space.sae).sort("concept_id").collect()
    judge = partial(
        weigh,
        n_resamples=settings.n_resamples,
        n_flips=settings.n_flips,
        least_images=settings.least_images,
        seed=settings.seed,
        progress=bar.update if bar is not None else None,
    )
    terms, _ = count_terms(sides.pairs["caption"].to_list(), longest=1, least_images=settings.least_images)
    group = concepts["group"].to_numpy()
    alone, together = (
        judge(real, gen, asked=asking_pairs(real, gen, terms))
        for real, gen in (
            (sides.real, sides.gen),
            (grouped(sides.real, group), grouped(sides.gen, group)),
        )
    )
    frames = {
        "energy_differences": _difference_rows(settings, alone, together, group, len(sides.pairs)),
        "caption_differences": _caption_rows(settings, judge, sides, concepts),
        **_whole_rows(space, generator, sides, alone),
    }
    frames["sae_agreements"] = sae_agreement_rows(space, generator, sides, frames["energy_differences"])
    named = (pl.lit(space.sae).alias("sae"), pl.lit(generator).alias("generator"))
    return Comparison(
        {
            table: frame.with_columns(*named).select(columns_of(table)).cast(pl.Schema(schema_of(table)))
            for table, frame in frames.items()
        },
        len(space.pairs()) - len(sides.pairs),
    )


def _null(values: np.ndarray) -> pl.Series:
    """NaN, for what does not exist, is null in a table."""
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def _labels(settings: CompareConfig, evidence: Evidence) -> np.ndarray:
    return label_concepts(
        evidence.delta(settings.form, settings.temperature),
        *evidence.interval(settings.form, settings.temperature),
        evidence.q,
        suppressed_below=settings.suppressed_below,
        exaggerated_above=settings.exaggerated_above,
        level=settings.level,
    )


def _difference_rows(
    settings: CompareConfig, alone: Evidence, together: Evidence, group: np.ndarray, n_pairs: int
) -> pl.DataFrame:
    low, high = alone.interval(settings.form, settings.temperature)
    ratio_low, ratio_high = alone.interval("ratio")
    group_low, group_high = (end[group] for end in together.interval(settings.form, settings.temperature))
    columns: dict[str, object] = {
        "concept_id": np.arange(len(group), dtype=np.int32),
        "n_pairs": np.full(len(group), n_pairs),
        "n_fired_real": alone.n_fired_real,
        "n_fired_gen": alone.n_fired_gen,
        "energy_real": alone.energy_real,
        "energy_gen": alone.energy_gen,
        "difference": alone.energy_gen - alone.energy_real,
        **{form: _null(alone.delta(form, _temperature(settings, form))) for form in FORMS},
        "low": _null(low),
        "high": _null(high),
        "difference_low": alone.difference_low,
        "difference_high": alone.difference_high,
        "ratio_low": _null(ratio_low),
        "ratio_high": _null(ratio_high),
        "p": alone.p,
        "q": _null(alone.q),
        "label": _labels(settings, alone),
        "group": group,
        "group_delta": _null(together.delta(settings.form, settings.temperature)[group]),
        "group_low": _null(group_low),
        "group_high": _null(group_high),
        "group_q": _null(together.q[group]),
        "group_label": _labels(settings, together)[group],
    }
    return pl.DataFrame(columns).with_columns(pl.lit(settings.form).alias("form"))


def _temperature(settings: CompareConfig, form: str) -> float | None:
    return settings.temperature if form == settings.form else None


def _caption_rows(settings: CompareConfig, judge, sides: Sides, concepts: pl.DataFrame) -> pl.DataFrame:
    """Energy differences among the pairs whose caption has a concept's first word, and among the rest."""
    named = concepts.filter(pl.col("words").list.len() > 0).with_columns(pl.col("words").list.first())
    words = named["words"].unique().sort().to_list()
    if not words:
        return pl.DataFrame(schema=schema_of("caption_differences"))
    said = sparse.csc_array(mentions(sides.pairs["caption"].to_list(), words))
    column = {word: index for index, word in enumerate(words)}
    ids = named["concept_id"].to_numpy()
    asked = sparse.csr_array(said[:, [column[word] for word in named["words"]]])
    n_pairs, n_asked = len(sides.pairs), np.asarray(asked.sum(0)).ravel()
    rows: dict[str, object] = {"concept_id": ids, "word": named["words"], "n_mentioned": n_asked.astype(int)}
    rows["n_rest"] = (n_pairs - n_asked).astype(int)
    parts = [side[:, ids] for side in (sides.real, sides.gen)]
    inside = [sparse.csr_array(part * asked) for part in parts]
    outside = [sparse.csr_array(part - within) for part, within in zip(parts, inside, strict=True)]
    for name, two, n in (("mentioned", inside, n_asked), ("rest", outside, n_pairs - n_asked)):
        # Means are over all pairs; scaled up they are means over the part.
        scale = (n_pairs / np.maximum(n, 1))[None, :]
        evidence = judge(*(sparse.csr_array(side * scale) for side in two))
        low, high = evidence.interval(settings.form, settings.temperature)
        rows[name] = _null(evidence.delta(settings.form, settings.temperature))
        rows[f"{name}_low"], rows[f"{name}_high"] = _null(low), _null(high)
        rows[f"{name}_p"] = evidence.p
    return pl.DataFrame(rows).with_columns(pl.lit(settings.form).alias("form"))


def _whole_rows(
    space: Workspace, generator: str, sides: Sides, evidence: Evidence
) -> dict[str, pl.DataFrame]:
    """`nulls`, `distributions` and `funnel` of the tested concepts, each in every form."""
    settings, n_pairs, tested = space.config.compare, len(sides.pairs), evidence.tested
    chance = {"n_splits": settings.n_splits, "seed": settings.seed}
    halves = nulls.split_null(sides.real, sides.gen, **chance) if n_pairs > 1 else None
    twice = _drawn_twice(space, generator, sides.pairs, chance)
    swapped = nulls.self_null(sides.real, sides.gen, **chance)
    weights = bootstrap_weights(n_pairs, N_SHAPES, np.random.default_rng(settings.seed))
    resampled = distribution.resample(sides.real, sides.gen, weights)
    prevalence = np.maximum(evidence.n_fired_real, evidence.n_fired_gen)[tested] / n_pairs
    edges = (settings.suppressed_below, settings.exaggerated_above)
    rows: dict[str, list[pl.DataFrame]] = {"nulls": [], "distributions": [], "funnel": []}
    for form in FORMS:
        scale = (form, _temperature(settings, form))
        delta = evidence.delta(*scale)[tested]
        estimates = distribution.shape_of(delta, resampled.delta(*scale)[tested], *edges)
        if halves is not None:
            estimates += _excess(halves.delta_drawn(*scale)[tested], halves.delta(*scale)[tested], edges)
            rows["nulls"].append(_bins(halves.delta(*scale)[tested], form, "real"))
        if twice is not None:
            rows["nulls"].append(_bins(twice.delta(*scale)[tested], form, "self"))
        rows["distributions"].append(_estimate_rows(estimates, form))
        bent = distribution.funnel(delta, swapped.delta(*scale)[tested], prevalence)
        columns = {"form": [form] * len(bent.median), "bin": np.arange(len(bent.median)), **vars(bent)}
        rows["funnel"].append(pl.DataFrame(columns))
    return {
        table: pl.concat(parts) if parts else pl.DataFrame(schema=schema_of(table))
        for table, parts in rows.items()
    }


def _drawn_twice(space: Workspace, generator: str, pairs: pl.DataFrame, chance: dict) -> nulls.Null | None:
    """The generator against itself, over the captions that it drew twice."""
    first, second = (pair_energies(space, generator, pairs, seed_index) for seed_index in (0, 1))
    both = np.flatnonzero((np.diff(first.indptr) > 0) & (np.diff(second.indptr) > 0))
    return nulls.self_null(first[both], second[both], **chance) if len(both) else None


def _excess(seen: np.ndarray, chance: np.ndarray, edges: tuple[float, float]) -> list[distribution.Estimate]:
    """Concepts beyond a threshold over halves of the pairs: seen in generated images, and by chance."""
    n_seen, n_chance = nulls.beyond(seen, *edges), nulls.beyond(chance, *edges)
    counts = {"seen": n_seen, "chance": n_chance, "excess": n_seen - n_chance}
    return [distribution.Estimate(f"blindspots_{name}", *nulls.spread(n)) for name, n in counts.items()]


def _bins(delta: np.ndarray, form: str, kind: str) -> pl.DataFrame:
    """Histogram of (n_concepts, n_splits) energy differences: mean and range over the splits."""
    edges = np.linspace(0, 1, N_BINS + 1)
    counts = np.stack([np.histogram(split[~np.isnan(split)], edges)[0] for split in delta.T])
    low, high = np.percentile(counts, [2.5, 97.5], axis=0)
    return pl.DataFrame(
        {
            "kind": [kind] * N_BINS,
            "form": [form] * N_BINS,
            "bin": np.arange(N_BINS),
            "low_edge": edges[:-1],
            "high_edge": edges[1:],
            "n_concepts": counts.mean(0),
            "low": low,
            "high": high,
        }
    )


def _estimate_rows(estimates: Sequence[distribution.Estimate], form: str) -> pl.DataFrame:
    rows = [(form, e.name, e.value, e.low, e.high) for e in estimates]
    kinds = {"form": pl.String, "statistic": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)}
    return pl.DataFrame(rows, schema=kinds, orient="row")
