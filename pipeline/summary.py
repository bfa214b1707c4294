"""What a person wants to read after a run: per generator, what it suppresses and what it exaggerates."""

from collections import Counter

import polars as pl

from pipeline.workspace import Workspace
from tables import LABELS
from tables.edits import named_concepts

TOP = 5


def summarise(space: Workspace) -> str:
    """Pairs, images, and the strongest concepts of each label, generator by generator."""
    names = _names(space)
    lines = [f"{len(space.pairs())} pairs of {space.config.dataset.name!r}, concepts of {space.sae}"]
    differences = space.store.scan("energy_differences").filter(pl.col("sae") == space.sae).collect()
    for generator in space.generators:
        rows = differences.filter(pl.col("generator") == generator.name)
        counts = Counter(rows["label"])
        n_images = len(space.live_images(generator.name))
        lines.append("")
        lines.append(
            f"{generator.name}: {rows['n_pairs'][0] if len(rows) else 0} pairs, {n_images} images; "
            + ", ".join(f"{counts[label]} {label}" for label in LABELS)
        )
        lines += _whole(space, generator.name)
        for label in LABELS[:2]:
            lines.append(f"  {label:<12}" + (_leaders(rows, label, names) or "none"))
    return "\n".join(lines)


def _whole(space: Workspace, generator: str) -> list[str]:
    """How many concepts lie beyond the thresholds, with intervals, beside what chance puts there."""
    rows = space.store.scan("distributions").filter(
        (pl.col("sae") == space.sae)
        & (pl.col("generator") == generator)
        & (pl.col("form") == space.config.compare.form)
    )
    found = {row["statistic"]: row for row in rows.collect().iter_rows(named=True)}
    lines = []
    if "share_suppressed" in found:
        below, above = (_span(found[f"share_{label}"], ".1%") for label in LABELS[:2])
        lines.append(f"  of the tested concepts, below the threshold {below}, above it {above}")
    if "blindspots_excess" in found:
        seen, chance, excess = (
            _span(found[f"blindspots_{name}"], ".1f") for name in ("seen", "chance", "excess")
        )
        lines.append(
            f"  beyond a threshold on half of the pairs: {seen} concepts, by chance {chance}; excess {excess}"
        )
    return lines


def _span(row: dict, style: str) -> str:
    return f"{row['value']:{style}} ({row['low']:{style}} to {row['high']:{style}})"


def leaders(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    """Concepts of a label, strongest first: by the difference, then by the energy that is at stake."""
    form = rows["form"][0] if len(rows) else "ratio"
    chosen = rows.filter(pl.col("label") == label)
    return chosen.sort(
        [form, pl.max_horizontal("energy_real", "energy_gen")], descending=[label == "exaggerated", True]
    )


def _leaders(rows: pl.DataFrame, label: str, names: dict[int, str]) -> str:
    form = rows["form"][0] if len(rows) else "ratio"
    top = leaders(rows, label).head(TOP)
    return ", ".join(
        f"{names.get(concept) or 'concept'} #{concept} ({delta:.2f}, {low:.2f} to {high:.2f})"
        for concept, delta, low, high in top.select("concept_id", form, "low", "high").iter_rows()
    )


def _names(space: Workspace) -> dict[int, str]:
    concepts = named_concepts(space.store, space.sae)
    return dict(concepts.select("concept_id", "name").collect().iter_rows())


def status_table(status: pl.DataFrame) -> str:
    """The tables of a lake, one line each."""
    lines = [
        f"{'table':<20}{'rows':>12}{'size':>12}{'version':>9}  {'last stage':<12}{'last run':<34}updated"
    ]
    for row in status.iter_rows(named=True):
        when = row["updated"].strftime("%Y-%m-%d %H:%M:%S") if row["updated"] else "-"
        version = "-" if row["version"] is None else row["version"]
        lines.append(
            f"{row['table']:<20}{row['rows'] or 0:>12,}{_size(row['bytes'] or 0):>12}{version:>9}  "
            f"{row['last_stage'] or '-':<12}{row['last_run'] or '-':<34}{when}"
        )
    return "\n".join(lines)


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
