"""Figures that go with a run: matplotlib, no display."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

_SUPPRESSED, _ALIGNED, _EXAGGERATED = "#3b6fb6", "#9a9a9a", "#c8553d"


def training_curve(points: Sequence[dict[str, float]]) -> Figure:
    """Loss and R2 of an SAE in training, against the step."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, key, label in zip(
        figure.subplots(1, 2), ("loss", "r2"), ("loss", "R² on the batch"), strict=True
    ):
        shown = [point for point in points if key in point]
        axes.plot([point["step"] for point in shown], [point[key] for point in shown], color=_SUPPRESSED)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
    return figure


def difference_histogram(
    delta: np.ndarray, generator: str, form: str, low: float, high: float, null: pl.DataFrame
) -> Figure:
    """How many concepts have which energy difference; NaN (fired nowhere) is left out.

    Behind it the `null` (low_edge, high_edge, n_concepts): halves of the real images against each other.
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(delta[~np.isnan(delta)], edges)
    middle = (edges[1:] + edges[:-1]) / 2
    colours = np.select([middle < low, middle > high], [_SUPPRESSED, _EXAGGERATED], _ALIGNED)
    axes.bar(middle, counts, width=0.023, color=colours.tolist())
    if len(null):
        edges_of_null = [*null["low_edge"], null["high_edge"][-1]]
        axes.stairs(null["n_concepts"], edges_of_null, color="black", lw=1, ls=":", label="real against real")
        axes.legend(frameon=False)
    axes.axvline(0.5, color="black", lw=0.8)
    axes.set(
        xlabel=f"energy difference, {form} form (0 suppressed, 0.5 aligned, 1 exaggerated)",
        ylabel="concepts",
        title=generator,
        xlim=(0, 1),
    )
    return figure


def funnel(
    delta: np.ndarray, prevalence: np.ndarray, bins: pl.DataFrame, generator: str, form: str
) -> Figure:
    """Energy difference of every concept against its prevalence, with what sampling noise alone makes."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(prevalence, delta, s=6, color=_SUPPRESSED, alpha=0.5, linewidths=0)
    if len(bins):
        middle = np.sqrt(bins["prevalence_low"].to_numpy() * bins["prevalence_high"].to_numpy())
        axes.fill_between(
            middle,
            bins["null_low"],
            bins["null_high"],
            color=_ALIGNED,
            alpha=0.4,
            lw=0,
            label="noise alone, 95%",
        )
        axes.legend(frameon=False)
    axes.axhline(0.5, color="black", lw=0.8)
    axes.set(
        xlabel="prevalence: share of pairs in which the concept fires",
        ylabel=f"energy difference, {form} form",
        title=generator,
        xscale="log",
        ylim=(0, 1),
    )
    return figure


def agreement(both: pl.DataFrame, a: str, b: str, rows: pl.DataFrame) -> Figure:
    """Energy differences, ratio form, of two generators: one point per concept that was tested for both."""
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(both[a], both[b], s=6, color=_SUPPRESSED, alpha=0.5, linewidths=0)
    axes.axhline(0.5, color="black", lw=0.5)
    axes.axvline(0.5, color="black", lw=0.5)
    correlation = rows.filter(pl.col("statistic") == "pearson")
    title = "".join(
        f"Pearson r {value:.2f} ({low:.2f} to {high:.2f})"
        for value, low, high in correlation.select("value", "low", "high").iter_rows()
    )
    axes.set(xlabel=a, ylabel=b, title=title, xlim=(0, 1), ylim=(0, 1))
    return figure
