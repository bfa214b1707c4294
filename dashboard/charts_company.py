"""Figures of the company that concepts keep; pure functions of frames, like `charts`."""

import math
from typing import Any, Literal

import altair as alt
import numpy as np
import polars as pl

from dashboard import theme
from dashboard.charts import Figure
from dashboard.theme import Mode

NAMED = 40  # concepts up to which a heat map writes their names
N_STOPS = 21
SPAN = 0.5  # change of company at which the colours end
# Of communities, the largest first; kept apart from blue and orange, which mean suppressed and exaggerated.
COMMUNITY_COLOURS = {
    "light": ("#2f9e8f", "#8a3a6b", "#a48a16", "#6b7f2a", "#7a5cc0"),
    "dark": ("#5fd0bf", "#e08ac0", "#e3cf63", "#b5cc6a", "#b7a8f0"),
}


def company_matrix(
    rows: pl.DataFrame, concept_ids: list[int], names: dict[int, str], mode: Mode = "light"
) -> Figure:
    """How a generator changes the company that concepts keep: blue driven apart, orange brought together.

    `rows` has concept_a, concept_b, difference, low, high, q; it is drawn on both sides of the diagonal, in
    the order of `concept_ids`. Pairs that are not kept stay empty.
    """
    cells = _cells(rows.drop_nulls("difference"), concept_ids, names, ("difference", "low", "high", "q"))
    stops = np.linspace(0, 1, N_STOPS)
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(stops, mode)]
    scale = alt.Scale(domain=list(np.round((2 * stops - 1) * SPAN, 3)), range=colours, clamp=True)
    legend = alt.Legend(title="change", format="+.1f", values=[-SPAN, 0, SPAN], gradientLength=160)
    tooltip = [
        alt.Tooltip("first:N", title="concept"),
        alt.Tooltip("second:N", title="with"),
        alt.Tooltip("difference:Q", format="+.2f", title="change"),
        alt.Tooltip("low:Q", format="+.2f", title="from"),
        alt.Tooltip("high:Q", format="+.2f", title="to"),
        alt.Tooltip("q:Q", format=".2g"),
    ]
    colour = alt.Color("difference:Q", scale=scale, legend=legend)
    return _matrix(cells, concept_ids, names, colour, tooltip, mode)


def correlation_matrix(
    real: pl.DataFrame,
    drawn: pl.DataFrame,
    concept_ids: list[int],
    names: dict[int, str],
    mode: Mode = "light",
) -> Figure:
    """How far concepts go together: real images below the diagonal, generated ones above it.

    `real` and `drawn` have concept_a, concept_b, correlation. What is negative is as pale as 0.
    """
    place = {concept: at for at, concept in enumerate(concept_ids)}
    sides = []
    for rows, above in ((real, False), (drawn, True)):
        cells = _cells(rows, concept_ids, names, ("correlation",))
        first = pl.col("a").replace_strict(place, return_dtype=pl.Int64)
        second = pl.col("b").replace_strict(place, return_dtype=pl.Int64)
        where = first > second if above else first < second
        sides.append(
            cells.filter(where).with_columns(pl.lit("generated" if above else "real").alias("images"))
        )
    scale = alt.Scale(domain=[0, 1], range=list(theme.ACCENT[mode]), clamp=True, interpolate="lab")
    legend = alt.Legend(title="correlation", format=".1f", values=[0, 0.5, 1], gradientLength=160)
    tooltip = [
        alt.Tooltip("first:N", title="concept"),
        alt.Tooltip("second:N", title="with"),
        "images:N",
        alt.Tooltip("correlation:Q", format="+.2f"),
    ]
    colour = alt.Color("correlation:Q", scale=scale, legend=legend)
    return _matrix(pl.concat(sides), concept_ids, names, colour, tooltip, mode)


def _cells(
    rows: pl.DataFrame, concept_ids: list[int], names: dict[int, str], figures: tuple[str, ...]
) -> pl.DataFrame:
    """Both orders of every pair in the set: a (across), b (down), their titles first and second, figures."""
    one = rows.select(pl.col("concept_a").alias("a"), pl.col("concept_b").alias("b"), *figures)
    other = rows.select(pl.col("concept_b").alias("a"), pl.col("concept_a").alias("b"), *figures)
    both = pl.concat([one, other]).filter(pl.col("a").is_in(concept_ids), pl.col("b").is_in(concept_ids))
    titles = [
        pl.Series(name, [_title(k, names) for k in both[column]], dtype=pl.String)
        for name, column in (("first", "a"), ("second", "b"))
    ]
    return both.with_columns(*titles)


def _matrix(
    cells: pl.DataFrame,
    concept_ids: list[int],
    names: dict[int, str],
    colour: alt.Color,
    tooltip: list,
    mode: Mode,
) -> Figure:
    few = len(concept_ids) <= NAMED
    titles = [_title(concept, names) for concept in concept_ids]
    axis: dict[str, Any] = {
        "title": None,
        "ticks": False,
        "domain": False,
        "grid": False,
        "labels": few,
        "labelFlush": False,
    }
    across = alt.Axis(**axis, labelAngle=-90, labelLimit=130, labelOverlap=False)
    down = alt.Axis(**axis, labelLimit=130, labelOverlap=False)
    scale = alt.Scale(domain=titles, paddingInner=0.06 if few else 0)
    y = alt.Y("second:N", scale=scale, axis=down)
    squares = (
        alt.Chart(cells)
        .mark_rect(stroke=None)
        .encode(x=alt.X("first:N", scale=scale, axis=across), y=y, color=colour, tooltip=tooltip)
    )
    own = pl.DataFrame({"first": titles, "second": titles}, schema={"first": pl.String, "second": pl.String})
    diagonal = (
        alt.Chart(own)
        .mark_circle(color=theme.ink(mode, "muted"), size=24 if few else 5, opacity=1)
        .encode(x=alt.X("first:N", scale=scale, axis=across), y=y)
    )
    return alt.layer(squares, diagonal).properties(height=(150 + 15 * len(concept_ids)) if few else 680)


def _title(concept: int, names: dict[int, str]) -> str:
    """What a row is called: the number keeps equal names apart."""
    return f"{theme.one_line(names.get(concept, 'concept'), 20)} · {concept}"


def ego_places(concepts: pl.DataFrame, centre: int) -> pl.DataFrame:
    """Where the concepts of an ego graph stand: the centre at (0, 0), its partners on a circle of radius 1.

    `concepts` has concept_id, community; members of a community stand side by side. Adds x, y, angle.
    """
    ring = concepts.filter(pl.col("concept_id") != centre).sort("community", "concept_id", nulls_last=True)
    angles = [math.pi / 2 - 2 * math.pi * at / max(1, ring.height) for at in range(ring.height)]
    placed = ring.with_columns(pl.Series("angle", angles, dtype=pl.Float64))
    placed = placed.with_columns(x=pl.col("angle").cos(), y=pl.col("angle").sin())
    middle = concepts.filter(pl.col("concept_id") == centre).with_columns(angle=0.0, x=0.0, y=0.0)
    return pl.concat([middle, placed.select(middle.columns)])


def ego_graph(
    places: pl.DataFrame, links: pl.DataFrame, centre: int, changed: bool, mode: Mode = "light"
) -> Figure:
    """One concept among its partners: the wider a line, the more two concepts go together in these images.

    `places` comes from `ego_places`, with name (what is written) and group (its community in words);
    `links` has concept_a, concept_b, correlation, difference. Lines take the colour of the change where
    `changed`, else grey. Links among the partners are thin.
    """
    at = places.select("concept_id", "x", "y", "name")
    ends = (
        links.filter(pl.col("correlation") > 0)
        .join(at.rename({"name": "first"}), left_on="concept_a", right_on="concept_id")
        .join(at.rename({"x": "x2", "y": "y2", "name": "second"}), left_on="concept_b", right_on="concept_id")
    )
    mine = (pl.col("concept_a") == centre) | (pl.col("concept_b") == centre)
    ends = ends.with_columns(
        mine.alias("own"), pl.when(mine).then(0.5 + 8 * pl.col("correlation")).otherwise(1.0).alias("width")
    ).sort("own", "correlation")
    tones = theme.diverging(0.5 + ends["difference"].fill_null(0.0).to_numpy() / (2 * SPAN), mode)
    grey = theme.ink(mode, "muted")
    colours = [theme.hex_colour(rgb) if changed else grey for rgb in tones]
    ends = ends.with_columns(pl.Series("colour", colours, dtype=pl.String))
    spread = alt.Scale(domain=[-1.75, 1.75], nice=False)
    tall = alt.Scale(domain=[-1.2, 1.2], nice=False)
    x, y = alt.X("x:Q", axis=None, scale=spread), alt.Y("y:Q", axis=None, scale=tall)
    lines = (
        alt.Chart(ends)
        .mark_rule(strokeCap="round")
        .encode(
            x=x,
            y=y,
            x2=alt.X2("x2:Q"),
            y2=alt.Y2("y2:Q"),
            color=alt.Color("colour:N", scale=None),
            opacity=alt.condition("datum.own", alt.value(0.95), alt.value(0.3)),
            strokeWidth=alt.StrokeWidth("width:Q", scale=None),
            tooltip=[
                alt.Tooltip("first:N", title="concept"),
                alt.Tooltip("second:N", title="with"),
                alt.Tooltip("correlation:Q", format="+.2f"),
                alt.Tooltip("difference:Q", format="+.2f", title="change"),
            ],
        )
    )
    return alt.layer(lines, *_nodes(places, centre, x, y, mode)).properties(height=460)


def _nodes(places: pl.DataFrame, centre: int, x: alt.X, y: alt.Y, mode: Mode) -> list[alt.Chart]:
    groups = places.filter(pl.col("community").is_not_null()).sort("community")["group"]
    order = groups.unique(maintain_order=True).to_list()
    palette = COMMUNITY_COLOURS[mode]
    tones = [palette[k] if k < len(palette) else theme.ink(mode, "muted") for k in range(len(order))]
    rest = places.filter(pl.col("community").is_null())["group"].unique().to_list()
    scale = alt.Scale(domain=[*order, *rest], range=[*tones, *[theme.ink(mode, "line")] * len(rest)])
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=260, symbolType="circle")
    dots = (
        alt.Chart(places)
        .mark_circle(opacity=1, stroke=theme.ink(mode), strokeWidth=0.8)
        .encode(
            x=x,
            y=y,
            size=alt.condition(f"datum.concept_id === {int(centre)}", alt.value(420), alt.value(150)),
            color=alt.Color("group:N", scale=scale, legend=legend, sort=[*order, *rest]),
            tooltip=[alt.Tooltip("name:N", title="concept"), alt.Tooltip("group:N", title="community")],
        )
    )
    words = []
    sides: tuple[tuple[pl.DataFrame, Literal["left", "right", "center"], int, int], ...]
    own = pl.col("concept_id") == centre
    sides = (
        (places.filter(~own, pl.col("x") > 0.02), "left", 10, 0),
        (places.filter(~own, pl.col("x") < -0.02), "right", -10, 0),
        (places.filter(~own, pl.col("x").abs() <= 0.02, pl.col("y") > 0), "center", 0, -14),
        (places.filter(~own, pl.col("x").abs() <= 0.02, pl.col("y") <= 0), "center", 0, 14),
    )
    for part, align, dx, dy in sides:
        words.append(
            alt.Chart(part)
            .mark_text(align=align, dx=dx, dy=dy, fontSize=12, limit=120, color=theme.ink(mode))
            .encode(x=x, y=y, text=alt.Text("name:N"))
        )
    return [dots, *words]
