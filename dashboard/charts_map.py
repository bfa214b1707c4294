"""The legends of the concept map as pure functions: strips of colour with the numbers they stand for."""

import altair as alt
import numpy as np
import polars as pl

from dashboard import theme
from dashboard.charts import Figure
from dashboard.theme import Bytes, Mode


def colour_scale(mode: Mode = "light") -> Figure:
    """The diverging palette from 0 to 1: the legend of everything coloured by an energy difference."""
    words = {0.0: "0 suppressed", 0.5: "0.5 aligned", 1.0: "exaggerated 1"}
    return _strip(theme.diverging(np.linspace(0, 1, 33), mode), words, ticks=(0.1, 0.9))


def prevalence_scale(mode: Mode = "light") -> Figure:
    """From no image to all, at the square root of the share."""
    words = {0.0: "in no real image", 0.316: "10%", 0.5: "25%", 0.707: "50%", 1.0: "in all"}
    return _strip(theme.shade(np.linspace(0, 1, 33), mode), words)


def q_scale(mode: Mode = "light") -> Figure:
    """From q = 1 to q = 0.0001 and below, at its logarithm."""
    words = {0.0: "q = 1", 0.25: "0.1", 0.5: "0.01", 0.75: "0.001", 1.0: "≤ 0.0001"}
    return _strip(theme.shade(np.linspace(0, 1, 33), mode), words)


def _strip(ramp: Bytes, words: dict[float, str], ticks: tuple[float, ...] = ()) -> Figure:
    """A ramp from 0 to 1 with words under some of its places."""
    stops = zip(np.linspace(0, 1, len(ramp)), ramp, strict=True)
    gradient = alt.Gradient(
        gradient="linear",
        stops=[alt.GradientStop(offset=float(at), color=theme.hex_colour(rgb)) for at, rgb in stops],
        x1=0,
        x2=1,
        y1=0,
        y2=0,
    )
    said = "".join(f"abs(datum.value - {at}) < 0.001 ? '{word}' : " for at, word in words.items())
    axis = alt.Axis(
        values=sorted([*words, *ticks]),
        labelExpr=f"{said}''",
        labelBound=True,
        labelFlush=True,
        labelPadding=4,
        domain=False,
        grid=False,
    )
    strip = (
        alt.Chart(pl.DataFrame({"left": [0.0], "right": [1.0]}))
        .mark_rect(color=gradient, cornerRadius=3)
        .encode(
            x=alt.X("left:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False), axis=axis),
            x2=alt.X2("right:Q"),
        )
    )
    return alt.layer(strip).properties(height=48)
