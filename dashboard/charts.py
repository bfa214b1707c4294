"""Figures as pure functions of a frame: no Streamlit, no files, no clock.

Frames come from `queries.py`; a figure names the columns it needs in its docstring. `mode` is the theme the
figure is drawn for. Every figure of an energy difference uses the same diverging colours, centred at 0.5.
"""

import altair as alt
import numpy as np
import numpy.typing as npt
import polars as pl

from dashboard import theme
from dashboard.theme import Mode

N_BINS = 40
Figure = alt.LayerChart | alt.FacetChart  # what Altair says that layering gives
UNIT = alt.Scale(domain=[-0.01, 1.01], nice=False)  # 0 to 1, with room for marks at the ends


def label_bars(counts: pl.DataFrame, mode: Mode = "light") -> Figure:
    """Share of concepts of each label, one bar per generator.

    `counts` has generator, label, n. Segments under 5% carry no number; the tooltip and the table beside do.
    """
    colours = theme.label_colours(mode)
    order = {label: rank for rank, label in enumerate(theme.LABEL_ORDER)}
    total = pl.col("n").sum().over("generator")
    shown = counts.with_columns(
        share=pl.when(total > 0).then(pl.col("n") / total).otherwise(0.0),
        order=pl.col("label").replace_strict(order, default=len(order), return_dtype=pl.Int64),
    ).sort("generator", "order")
    shown = shown.with_columns(end=pl.col("share").cum_sum().over("generator")).with_columns(
        start=pl.col("end") - pl.col("share"), middle=pl.col("end") - pl.col("share") / 2
    )
    across = alt.Y(
        "generator:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, ticks=False, domain=False)
    )
    bars = (
        alt.Chart(shown)
        .mark_bar(height={"band": 0.68}, cornerRadius=2)
        .encode(
            y=across,
            x=alt.X(
                "start:Q",
                title="share of concepts",
                axis=alt.Axis(format=".0%"),
                scale=alt.Scale(domain=[0, 1]),
            ),
            x2=alt.X2("end:Q"),
            color=alt.Color(
                "label:N",
                title=None,
                sort=list(theme.LABEL_ORDER),
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(
                    orient="top", symbolType="square", columnPadding=6, labelOffset=2, offset=4
                ),
            ),
            tooltip=[
                "generator:N",
                "label:N",
                alt.Tooltip("n:Q", format=","),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    numbers = (
        alt.Chart(shown.filter(pl.col("share") >= 0.05))
        .mark_text(fontSize=12)
        .encode(
            y=across,
            x=alt.X("middle:Q"),
            text=alt.Text("n:Q", format=","),
            color=alt.condition(_is_dark_segment(mode), alt.value("#ffffff"), alt.value("#1b1c22")),
        )
    )
    return alt.layer(bars, numbers).properties(height=98 + 40 * max(1, shown["generator"].n_unique()))


def _is_dark_segment(mode: Mode) -> str:
    dark = ["suppressed", "exaggerated"] if mode == "light" else ["uncertain"]
    return " || ".join(f"datum.label === '{label}'" for label in dark)


def histogram(values: npt.ArrayLike, n_bins: int = N_BINS) -> pl.DataFrame:
    """Counts of energy differences in equal bins of [0, 1]: left, right, middle, n. NaN is left out."""
    array = np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(array[np.isfinite(array)], bins=n_bins, range=(0.0, 1.0))
    return pl.DataFrame(
        {"left": edges[:-1], "right": edges[1:], "middle": (edges[:-1] + edges[1:]) / 2, "n": counts}
    )


def difference_histogram(
    values: npt.ArrayLike,
    form: str = "ratio",
    mode: Mode = "light",
    null: pl.DataFrame | None = None,
) -> Figure:
    """How many concepts have which energy difference, with the aligned centre.

    `null` has low_edge, high_edge, n_concepts, low, high: how many there are in each bin when halves of the
    real images are compared with each other. It is drawn as a dotted outline.
    """
    bins = histogram(values)
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(bins["middle"].to_numpy(), mode)]
    bins = bins.with_columns(colour=pl.Series(colours))
    axis = alt.Axis(values=[0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], format=".2~f", grid=False)
    bars = (
        alt.Chart(bins)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("left:Q", title=f"energy difference, {form} form", axis=axis, scale=UNIT),
            x2=alt.X2("right:Q"),
            y=alt.Y("n:Q", title="concepts", axis=alt.Axis(tickMinStep=1)),
            y2=alt.Y2Datum(0),
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("left:Q", format=".3f", title="from"),
                alt.Tooltip("right:Q", format=".3f", title="to"),
                alt.Tooltip("n:Q", format=",", title="concepts"),
            ],
        )
    )
    centre = alt.Chart(pl.DataFrame({"at": [theme.ALIGNED]}))
    rules = centre.mark_rule(color=theme.ink(mode, "muted")).encode(x=alt.X("at:Q"))
    if null is None or null.is_empty():
        return alt.layer(bars, rules).properties(height=320)
    last = null.select(
        pl.col("high_edge").alias("low_edge"), pl.col("high_edge"), pl.lit(0.0).alias("n_concepts")
    )
    outline = (
        alt.Chart(pl.concat([null.select(last.columns), last.tail(1)]))
        .mark_line(interpolate="step-after", strokeDash=[3, 2], color=theme.ink(mode), strokeWidth=1.5)
        .encode(x=alt.X("low_edge:Q"), y=alt.Y("n_concepts:Q"))
    )
    return alt.layer(bars, rules, outline).properties(height=320)


def generator_dots(numbers: pl.DataFrame, form: str = "ratio", mode: Mode = "light") -> Figure:
    """One concept in all generators: a dot at its energy difference, its interval where there is one.

    `numbers` has generator, label, low, high, form and the three forms; an interval is drawn only where it
    speaks of the chosen form.
    """
    values = numbers[form].cast(pl.Float64).to_numpy()
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(values, mode)]
    same = pl.col("form") == form
    shown = numbers.select(
        "generator",
        "label",
        value=pl.col(form).cast(pl.Float64),
        low=pl.when(same).then("low"),
        high=pl.when(same).then("high"),
        colour=pl.Series(colours, dtype=pl.String),
    )
    across = alt.Y(
        "generator:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, ticks=False, grid=True)
    )
    along = alt.X(
        "value:Q",
        title="← suppressed \u00a0 \u00a0 \u00a0 exaggerated →",
        scale=UNIT,
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f", grid=False),
    )
    centre = (
        alt.Chart(pl.DataFrame({"at": [theme.ALIGNED]}))
        .mark_rule(color=theme.ink(mode, "muted"))
        .encode(x=alt.X("at:Q"))
    )
    spans = (
        alt.Chart(shown.drop_nulls(["low", "high"]))
        .mark_rule(strokeWidth=3, opacity=0.7)
        .encode(y=across, x=alt.X("low:Q"), x2=alt.X2("high:Q"), color=alt.Color("colour:N", scale=None))
    )
    dots = (
        alt.Chart(shown.drop_nulls("value"))
        .mark_circle(size=190, opacity=1, stroke=theme.ink(mode), strokeWidth=1)
        .encode(
            y=across,
            x=along,
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                "generator:N",
                alt.Tooltip("value:Q", format=".3f", title="energy difference"),
                alt.Tooltip("low:Q", format=".3f"),
                alt.Tooltip("high:Q", format=".3f"),
                "label:N",
            ],
        )
    )
    return alt.layer(centre, spans, dots).properties(height=84 + 38 * max(1, shown.height))
