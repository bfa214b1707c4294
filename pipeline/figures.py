"""Figures that go with a run: matplotlib, no display."""

from collections.abc import Sequence

import numpy as np
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


def difference_histogram(delta: np.ndarray, generator: str, form: str, low: float, high: float) -> Figure:
    """How many concepts have which energy difference; NaN (fired nowhere) is left out."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(delta[~np.isnan(delta)], edges)
    middle = (edges[1:] + edges[:-1]) / 2
    colours = np.select([middle < low, middle > high], [_SUPPRESSED, _EXAGGERATED], _ALIGNED)
    axes.bar(middle, counts, width=0.023, color=colours.tolist())
    axes.axvline(0.5, color="black", lw=0.8)
    axes.set(
        xlabel=f"energy difference, {form} form (0 suppressed, 0.5 aligned, 1 exaggerated)",
        ylabel="concepts",
        title=generator,
        xlim=(0, 1),
    )
    return figure
