"""Figures as pure functions of a frame: no Streamlit, no files, no clock.

Frames come from `queries.py`; a figure names the columns it needs in its docstring. `mode` is the theme the
figure is drawn for. Every figure of an energy difference uses the same diverging colours, centred at 0.5.
"""

import altair as alt
import numpy as np
import numpy.typing as npt
import polars as pl
import pydeck as pdk

from dashboard import theme
from dashboard.theme import Mode

MAP_SIZE = 1000.0  # the map's coordinates run from 0 to this on both axes
N_BINS = 40
POINT_LAYER, CHOSEN_LAYER = "concepts", "chosen"


def label_bars(counts: pl.DataFrame, mode: Mode = "light") -> alt.LayerChart:
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
    across = alt.Y("generator:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, ticks=False, domain=False))
    bars = (
        alt.Chart(shown)
        .mark_bar(height={"band": 0.68}, cornerRadius=2)
        .encode(
            y=across,
            x=alt.X("start:Q", title="share of concepts", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1])),
            x2="end:Q",
            color=alt.Color(
                "label:N",
                title=None,
                sort=list(theme.LABEL_ORDER),
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(orient="top", symbolType="square"),
            ),
            tooltip=["generator:N", "label:N", alt.Tooltip("n:Q", format=","), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    numbers = (
        alt.Chart(shown.filter(pl.col("share") >= 0.05))
        .mark_text(fontSize=12)
        .encode(
            y=across,
            x="middle:Q",
            text=alt.Text("n:Q", format=","),
            color=alt.condition(_is_dark_segment(mode), alt.value("#ffffff"), alt.value("#1b1c22")),
        )
    )
    return alt.layer(bars, numbers).properties(height=62 + 38 * max(1, shown["generator"].n_unique()))


def _is_dark_segment(mode: Mode) -> str:
    dark = ["suppressed", "exaggerated"] if mode == "light" else ["uncertain"]
    return " || ".join(f"datum.label === '{label}'" for label in dark)


def histogram(values: npt.ArrayLike, n_bins: int = N_BINS) -> pl.DataFrame:
    """Counts of energy differences in equal bins of [0, 1]: left, right, middle, n. NaN is left out."""
    array = np.asarray(values, dtype=np.float64)
    counts, edges = np.histogram(array[np.isfinite(array)], bins=n_bins, range=(0.0, 1.0))
    return pl.DataFrame({"left": edges[:-1], "right": edges[1:], "middle": (edges[:-1] + edges[1:]) / 2, "n": counts})


def difference_histogram(
    values: npt.ArrayLike,
    form: str = "ratio",
    mode: Mode = "light",
    low: float = theme.SUPPRESSED_BELOW,
    high: float = theme.EXAGGERATED_ABOVE,
) -> alt.LayerChart:
    """How many concepts have which energy difference, with the two thresholds and the aligned centre."""
    bins = histogram(values)
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(bins["middle"].to_numpy(), mode)]
    bins = bins.with_columns(colour=pl.Series(colours))
    axis = alt.Axis(values=[0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], format=".2~f", grid=False)
    bars = (
        alt.Chart(bins)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("left:Q", title=f"energy difference, {form} form", axis=axis, scale=alt.Scale(domain=[0, 1])),
            x2="right:Q",
            y=alt.Y("n:Q", title="concepts", axis=alt.Axis(tickMinStep=1)),
            y2=alt.datum(0),
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("left:Q", format=".3f", title="from"),
                alt.Tooltip("right:Q", format=".3f", title="to"),
                alt.Tooltip("n:Q", format=",", title="concepts"),
            ],
        )
    )
    marks = pl.DataFrame({"at": [low, theme.ALIGNED, high], "dash": ["threshold", "aligned", "threshold"]})
    rules = (
        alt.Chart(marks)
        .mark_rule(color=theme.ink(mode, "muted"))
        .encode(
            x="at:Q",
            strokeDash=alt.StrokeDash(
                "dash:N", scale=alt.Scale(domain=["threshold", "aligned"], range=[[4, 4], [1, 0]]), legend=None
            ),
        )
    )
    return alt.layer(bars, rules).properties(height=280)


def generator_dots(numbers: pl.DataFrame, form: str = "ratio", mode: Mode = "light") -> alt.LayerChart:
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
    across = alt.Y("generator:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, ticks=False, grid=True))
    along = alt.X(
        "value:Q",
        title=f"← suppressed    energy difference, {form} form    exaggerated →",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], format=".2~f"),
    )
    centre = alt.Chart(pl.DataFrame({"at": [theme.ALIGNED]})).mark_rule(color=theme.ink(mode, "muted")).encode(x="at:Q")
    spans = (
        alt.Chart(shown.drop_nulls(["low", "high"]))
        .mark_rule(strokeWidth=3, opacity=0.7)
        .encode(y=across, x="low:Q", x2="high:Q", color=alt.Color("colour:N", scale=None))
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
    return alt.layer(centre, spans, dots).properties(height=62 + 34 * max(1, shown.height))


def colour_scale(mode: Mode = "light") -> alt.LayerChart:
    """The diverging palette as a strip from 0 to 1: the legend of everything coloured by it."""
    left = np.linspace(0, 1, 101)[:-1]
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(left + 0.005, mode)]
    steps = pl.DataFrame({"left": left, "right": left + 0.0105, "colour": colours})
    axis = alt.Axis(
        values=[0, 0.1, 0.5, 0.9, 1],
        labelExpr="datum.value == 0 ? '0 suppressed' : datum.value == 1 ? 'exaggerated 1' :"
        " datum.value == 0.5 ? '0.5 aligned' : ''",
        labelBound=True,
        labelFlush=True,
        labelPadding=4,
        domain=False,
        grid=False,
    )
    strip = (
        alt.Chart(steps)
        .mark_rect()
        .encode(
            x=alt.X("left:Q", title=None, scale=alt.Scale(domain=[0, 1], nice=False, clamp=True), axis=axis),
            x2="right:Q",
            color=alt.Color("colour:N", scale=None),
        )
    )
    return alt.layer(strip).properties(height=14)


def map_coordinates(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[theme.Floats, theme.Floats]:
    """Positions scaled, with one factor for both axes, into the square from 0 to MAP_SIZE and centred in it."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size == 0:
        return xs, ys
    extent = max(float(np.ptp(xs)), float(np.ptp(ys))) or 1.0
    scale = MAP_SIZE / extent
    return (
        (xs - (xs.min() + xs.max()) / 2) * scale + MAP_SIZE / 2,
        (ys - (ys.min() + ys.max()) / 2) * scale + MAP_SIZE / 2,
    )


def map_points(concepts: pl.DataFrame, form: str = "ratio", mode: Mode = "light") -> bytes:
    """The map's points as compact JSON, one object per row of `concepts` in its order.

    `concepts` has concept_id, name, x, y, label, prevalence and the form's column; rows without a position
    are left out. Keys: i id, n name, x, y, c colour with alpha, r radius in pixels, d difference, l label,
    p prevalence. A concept that fired on neither side is faint.
    """
    placed = concepts.drop_nulls(["x", "y"])
    x, y = map_coordinates(placed["x"].to_numpy(), placed["y"].to_numpy())
    values = placed[form].cast(pl.Float64).to_numpy()
    alpha = np.where(np.isfinite(values), 225, 70)
    colours = np.column_stack([theme.diverging(values, mode), alpha]).astype(int)
    prevalence = placed["prevalence"].fill_null(0).to_numpy()
    points = pl.DataFrame(
        {
            "i": placed["concept_id"],
            "n": [
                theme.concept_title(concept, name)
                for concept, name in zip(placed["concept_id"], placed["name"], strict=True)
            ],
            "x": np.round(x, 1),
            "y": np.round(y, 1),
            "c": colours.tolist(),
            "r": np.round(3.2 + 7.5 * np.sqrt(np.clip(prevalence, 0, 1)), 1),
            "d": [theme.delta(value) for value in values.tolist()],
            "l": placed["label"].fill_null("no energy"),
            "p": [theme.percent(share) for share in prevalence.tolist()],
        },
        schema_overrides={"c": pl.List(pl.Int32)},
    )
    return points.write_json().encode()


def concept_map(
    points: str | list[dict],
    chosen: tuple[float, float] | None = None,
    mode: Mode = "light",
    height: int = 620,
) -> pdk.Deck:
    """The map: every concept a point, the chosen one (its map coordinates) ringed.

    `points` is the address of the JSON from `map_points`, or its rows. The colour goes by `getColor`, which
    Streamlit leaves alone: with `getFillColor` a click would grey all other points. No basemap, no request.
    """
    layers = [
        pdk.Layer(
            "ScatterplotLayer",
            data=points,
            id=POINT_LAYER,
            get_position="[x, y]",
            get_color="c",
            get_radius="r",
            radius_units="'pixels'",
            stroked=False,
            pickable=True,
            auto_highlight=True,
            highlight_color=[255, 255, 255, 110],
        )
    ]
    if chosen is not None:
        ring = tuple(int(theme.ink(mode)[at : at + 2], 16) for at in (1, 3, 5))
        layers.append(
            pdk.Layer(
                "ScatterplotLayer",
                data=[{"x": chosen[0], "y": chosen[1]}],
                id=CHOSEN_LAYER,
                get_position="[x, y]",
                get_line_color=[*ring, 255],
                get_radius=14,
                radius_units="'pixels'",
                line_width_units="'pixels'",
                get_line_width=2.5,
                filled=False,
                stroked=True,
                pickable=False,
            )
        )
    zoom = float(np.log2((height - 70) / MAP_SIZE))
    middle = MAP_SIZE / 2
    return pdk.Deck(
        layers=layers,
        views=[pdk.View(type="OrthographicView", id="map", controller={"doubleClickZoom": False})],
        initial_view_state={"target": [middle, middle, 0], "zoom": zoom, "minZoom": zoom - 1, "maxZoom": zoom + 6},
        map_provider=None,
        map_style=None,
        tooltip={
            "text": "{n}\nconcept {i}, {l}\nenergy difference {d}\nin {p} of real images",
            "style": {"fontSize": "13px", "maxWidth": "280px", "borderRadius": "6px", "lineHeight": "1.45"},
        },
    )
