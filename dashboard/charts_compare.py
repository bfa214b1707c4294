"""Figures that set generators, or SAEs, beside each other; pure functions of frames, like `charts`."""

from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import polars as pl

from dashboard import theme
from dashboard.charts import UNIT, Figure, difference_histogram
from dashboard.theme import Mode

N_POINTS = 1500  # drawn one by one in the scatter; the rest is shaded by number
N_CELLS = 40  # of that shading, along either axis
PICK = "pick"  # name of the scatter's selection
SIDE = 300  # pixels of a bar that stands for all


def threshold_histogram(
    values: npt.ArrayLike, form: str, mode: Mode, null: pl.DataFrame, ends: tuple[float, float]
) -> Figure:
    """`charts.difference_histogram` with its two thresholds drawn in."""
    return with_thresholds(difference_histogram(values, form, mode, null), *ends, mode)


def with_thresholds(bars: Figure, below: float, above: float, mode: Mode = "light") -> Figure:
    """A histogram of energy differences with its two thresholds drawn in and written above."""
    colours = theme.label_colours(mode)
    at = pl.DataFrame(
        {
            "at": [below, above],
            "text": [f"◂ {below:.2f}", f"{above:.2f} ▸"],
            "colour": [colours["suppressed"], colours["exaggerated"]],
        }
    )
    base = alt.Chart(at).encode(x=alt.X("at:Q"), color=alt.Color("colour:N", scale=None))
    rules = base.mark_rule(strokeWidth=2)
    words = [
        base.transform_filter(f"datum.at {'<=' if end else '>'} 0.5")
        .mark_text(align="right" if end else "left", dx=-5 if end else 5, fontWeight=600)
        .encode(y=alt.YValue(8), text=alt.Text("text:N"))
        for end in (True, False)
    ]
    return alt.layer(bars, rules, *words).properties(height=250)


def agreement_matrix(figures: pl.DataFrame, names: list[str], mode: Mode = "light") -> Figure:
    """One figure of agreement between every two generators, with its interval; only below the diagonal.

    `figures` has generator_a, generator_b, value, low, high; the order of the two does not matter. `names`
    are the generators in their order. The shade goes from 0 to 1; what is negative is as pale as 0.
    """
    place = {name: at for at, name in enumerate(names)}
    rows = []
    for a, b, value, low, high in figures.select(
        "generator_a", "generator_b", "value", "low", "high"
    ).iter_rows():
        if a in place and b in place:
            first, second = sorted((a, b), key=place.__getitem__)
            span = "" if low is None or high is None else f"{low:.2f} to {high:.2f}".replace("-", "−")
            rows.append((first, second, value, f"{value:.2f}".replace("-", "−"), span))
    kinds = {
        "across": pl.String,
        "down": pl.String,
        "value": pl.Float64,
        "text": pl.String,
        "span": pl.String,
    }
    shown = pl.DataFrame(rows, schema=kinds, orient="row")
    plain: dict[str, Any] = {"title": None, "ticks": False, "domain": False, "grid": False, "labelLimit": 150}
    level = alt.Axis(**plain, labelAngle=0, labelAlign="center", labelOverlap=False)
    base = alt.Chart(shown).encode(
        x=alt.X("across:N", sort=names[:-1], axis=level),
        y=alt.Y("down:N", sort=names[1:], axis=alt.Axis(**plain)),
    )
    shade = alt.Scale(domain=[0, 1], range=list(theme.ACCENT[mode]), clamp=True, interpolate="lab")
    cells = base.mark_rect(cornerRadius=4, stroke=None).encode(
        color=alt.Color("value:Q", scale=shade, legend=None),
        tooltip=[
            alt.Tooltip("across:N", title="one"),
            alt.Tooltip("down:N", title="other"),
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("span:N", title="95% interval"),
        ],
    )
    # Black and white are equally far from the shade with L* = 49: at least 4.5 to 1 on either side of it.
    above, below, at = ("#ffffff", "#000000", 0.77) if mode == "light" else ("#000000", "#ffffff", 0.58)
    tone = alt.condition(f"datum.value > {at}", alt.value(above), alt.value(below))
    numbers = base.mark_text(fontSize=15, fontWeight=600, dy=-6).encode(text=alt.Text("text:N"), color=tone)
    spans = base.mark_text(fontSize=11, dy=11).encode(text=alt.Text("span:N"), color=tone)
    return alt.layer(cells, numbers, spans).properties(height=60 + 58 * max(1, len(names) - 1))


def scatter_points(changes: pl.DataFrame, names: dict[int, str], mode: Mode = "light") -> pl.DataFrame:
    """The concepts that the scatter draws one by one: those furthest from aligned and from the diagonal.

    `changes` comes from `rankings.changes`; `names` are titles by concept id. Columns: concept_id, name,
    x, y, label_a, label_b, change, colour (of the mean of the two differences).
    """
    notable = (
        (pl.col("delta_a") - theme.ALIGNED).abs()
        + (pl.col("delta_b") - theme.ALIGNED).abs()
        + pl.col("change").abs()
    )
    kept = changes.sort(-notable, "concept_id").head(N_POINTS)
    middle = (kept["delta_a"] + kept["delta_b"]).to_numpy() / 2
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(middle, mode)]
    return kept.select(
        "concept_id",
        pl.Series("name", [names.get(k, f"concept {k}") for k in kept["concept_id"]], dtype=pl.String),
        pl.col("delta_a").alias("x"),
        pl.col("delta_b").alias("y"),
        "label_a",
        "label_b",
        "change",
        pl.Series("colour", colours, dtype=pl.String),
    )


def crowd(changes: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """How many concepts that are no points lie in each cell of the scatter: x, x2, y, y2, n."""
    rest = changes.join(points, on="concept_id", how="anti")
    n, xs, ys = np.histogram2d(
        rest["delta_a"].to_numpy(), rest["delta_b"].to_numpy(), bins=N_CELLS, range=((0, 1), (0, 1))
    )
    i, j = np.nonzero(n)
    return pl.DataFrame(
        {"x": xs[i], "x2": xs[i + 1], "y": ys[j], "y2": ys[j + 1], "n": n[i, j].astype(np.int64)}
    )


def generator_scatter(
    points: pl.DataFrame,
    shade: pl.DataFrame,
    names: tuple[str, str],
    chosen: int | None = None,
    mode: Mode = "light",
) -> Figure:
    """Every concept by its energy difference in two generators; on the diagonal they treat it alike.

    `points` comes from `scatter_points`, `shade` from `crowd`. A click on a point selects its concept_id
    under the name PICK; the chosen concept is ringed.
    """
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")
    x = alt.X("x:Q", title=f"energy difference, {names[0]}", scale=UNIT, axis=axis)
    y = alt.Y("y:Q", title=f"energy difference, {names[1]}", scale=UNIT, axis=axis)
    line = pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})
    diagonal = alt.Chart(line).mark_line(color=theme.ink(mode, "muted"), strokeDash=[3, 3]).encode(x=x, y=y)
    cells = (
        alt.Chart(shade)
        .mark_rect(color=theme.ink(mode, "muted"))
        .encode(
            x=x,
            x2=alt.X2("x2:Q"),
            y=y,
            y2=alt.Y2("y2:Q"),
            opacity=alt.Opacity("n:Q", scale=alt.Scale(type="symlog", range=[0.12, 0.7]), legend=None),
            tooltip=[alt.Tooltip("n:Q", title="concepts here", format=",")],
        )
    )
    pick = alt.selection_point(name=PICK, fields=["concept_id"])
    dots = (
        alt.Chart(points)
        .mark_circle(size=62, opacity=0.9, stroke=theme.ink(mode), strokeWidth=0.4, cursor="pointer")
        .encode(
            x=x,
            y=y,
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("name:N", title="concept"),
                alt.Tooltip("x:Q", format=".2f", title=names[0]),
                alt.Tooltip("label_a:N", title=f"label, {names[0]}"),
                alt.Tooltip("y:Q", format=".2f", title=names[1]),
                alt.Tooltip("label_b:N", title=f"label, {names[1]}"),
            ],
        )
        .add_params(pick)
    )
    ring = (
        alt.Chart(points.filter(pl.col("concept_id") == (-1 if chosen is None else chosen)))
        .mark_point(size=260, filled=False, color=theme.ink(mode), strokeWidth=2.5)
        .encode(x=x, y=y)
    )
    layers = [diagonal, dots, ring] if shade.is_empty() else [cells, diagonal, dots, ring]
    return alt.layer(*layers).properties(height=520)


def largest_changes(changes: pl.DataFrame, n: int) -> pl.DataFrame:
    """The n largest rises and the n largest falls among the sure ones, the largest rise first."""
    sure = changes.filter("sure")
    up, down = sure.filter(pl.col("change") > 0).head(n), sure.filter(pl.col("change") < 0).head(n)
    return pl.concat([up, down]).sort("change", "concept_id", descending=[True, False])


def change_dumbbells(
    changes: pl.DataFrame, names: dict[int, str], n: int = 8, mode: Mode = "light"
) -> Figure:
    """The concepts that changed most from one generator to another: a hollow dot before, a full one after.

    `changes` comes from `rankings.changes`: the n largest rises and the n largest falls among the sure ones.
    """
    shown = largest_changes(changes, n)
    titles = [f"{names.get(k, f'concept {k}')} · {k}" for k in shown["concept_id"]]
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(shown["delta_b"].to_numpy(), mode)]
    shown = shown.with_columns(
        pl.Series("name", titles, dtype=pl.String), pl.Series("colour", colours, dtype=pl.String)
    )
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f", grid=False)
    down_axis = alt.Y(
        "name:N", sort=titles, title=None, axis=alt.Axis(labelLimit=220, ticks=False, grid=True)
    )
    base = alt.Chart(shown).encode(y=down_axis, color=alt.Color("colour:N", scale=None))
    along = alt.X("delta_a:Q", title="← suppressed        exaggerated →", scale=UNIT, axis=axis)
    centre = (
        alt.Chart(pl.DataFrame({"at": [theme.ALIGNED]}))
        .mark_rule(color=theme.ink(mode, "muted"))
        .encode(x=alt.X("at:Q"))
    )
    bars = base.mark_rule(strokeWidth=3, opacity=0.75).encode(x=along, x2=alt.X2("delta_b:Q"))
    tooltip = [
        alt.Tooltip("name:N", title="concept"),
        alt.Tooltip("delta_a:Q", format=".2f", title="before"),
        alt.Tooltip("delta_b:Q", format=".2f", title="after"),
        alt.Tooltip("change_low:Q", format="+.2f", title="change at least"),
        alt.Tooltip("change_high:Q", format="+.2f", title="change at most"),
    ]
    before = base.mark_point(size=80, strokeWidth=2, opacity=1, fill=_paper(mode)).encode(
        x=along, tooltip=tooltip
    )
    after = base.mark_circle(size=130, opacity=1).encode(x=alt.X("delta_b:Q"), tooltip=tooltip)
    return alt.layer(centre, bars, before, after).properties(height=70 + 25 * max(1, shown.height))


def _paper(mode: Mode) -> str:
    return "#fdfcfa" if mode == "light" else "#16171c"


def shared_bars(
    shared: pl.DataFrame, names: list[str], label: str, mode: Mode = "light", limit: int = 12
) -> alt.HConcatChart:
    """Concepts of one label by the exact set of generators that have it (after UpSet, Lex et al. 2014).

    `shared` comes from `rankings.shared`. Each row is a set, its members joined dots; the bar is the number
    of concepts that these generators have in common and the others have not.
    """
    shown = shared.head(limit).with_row_index("at")
    members = shown.select("at", pl.col("generators").alias("generator")).explode("generator")
    grid = pl.DataFrame({"at": shown["at"]}).join(pl.DataFrame({"generator": names}), how="cross")
    colour = theme.label_colours(mode)[label]
    order = shown["at"].to_list()
    height = 26 * max(1, shown.height)
    y = alt.Y("at:O", sort=order, axis=None)
    top = alt.Axis(
        orient="top",
        title=None,
        ticks=False,
        domain=False,
        labelAngle=-40,
        labelLimit=150,
        labelOverlap=False,
        grid=False,
    )
    x = alt.X("generator:N", sort=names, axis=top)
    faint = alt.Chart(grid).mark_circle(size=90, opacity=1, color=theme.ink(mode, "line")).encode(x=x, y=y)
    full = alt.Chart(members).mark_circle(size=120, opacity=1, color=theme.ink(mode)).encode(x=x, y=y)
    joined = (
        alt.Chart(members)
        .mark_line(color=theme.ink(mode), strokeWidth=2)
        .encode(x=x, y=y, detail=alt.Detail("at:N"))
    )
    bars = (
        alt.Chart(
            shown.with_columns(set=pl.col("generators").list.join(" and ")).drop("concept_ids", strict=False)
        )
        .mark_bar(color=colour, cornerRadius=2, height={"band": 0.85})
        .encode(
            y=y,
            x=alt.X("n:Q", title=None, axis=None, scale=alt.Scale(domainMin=0)),
            tooltip=[alt.Tooltip("set:N", title="only in"), alt.Tooltip("n:Q", format=",", title="concepts")],
        )
    )
    numbers = bars.mark_text(align="left", dx=5, color=theme.ink(mode), fontSize=12).encode(
        text=alt.Text("n:Q", format=",")
    )
    dots = alt.layer(faint, joined, full).properties(width=max(60, 34 * len(names)), height=height)
    return alt.hconcat(dots, alt.layer(bars, numbers).properties(width=SIDE, height=height), spacing=14)


def sae_dots(figures: pl.DataFrame, mode: Mode = "light") -> Figure:
    """How far other SAEs agree with this one on each generator: rank correlation with its interval.

    `figures` has other_sae, generator, spearman, low, high.
    """
    across = alt.Y(
        "generator:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, ticks=False, grid=True)
    )
    along = alt.X(
        "spearman:Q", title="Spearman's rho of the energy differences", scale=alt.Scale(domain=[-1, 1])
    )
    strong = theme.ACCENT[mode][1]
    base = alt.Chart(figures).encode(y=across, yOffset=alt.YOffset("other_sae:N"))
    zero = (
        alt.Chart(pl.DataFrame({"at": [0.0]}))
        .mark_rule(color=theme.ink(mode, "muted"))
        .encode(x=alt.X("at:Q"))
    )
    spans = base.mark_rule(strokeWidth=3, opacity=0.6, color=strong).encode(
        x=alt.X("low:Q"), x2=alt.X2("high:Q")
    )
    dots = base.mark_circle(size=130, opacity=1, color=strong).encode(
        x=along,
        tooltip=[
            "generator:N",
            alt.Tooltip("other_sae:N", title="other SAE"),
            alt.Tooltip("spearman:Q", format=".3f"),
            alt.Tooltip("low:Q", format=".3f"),
            alt.Tooltip("high:Q", format=".3f"),
        ],
    )
    n = max(1, figures["generator"].n_unique()) * (1 + max(1, figures["other_sae"].n_unique()))
    return alt.layer(zero, spans, dots).properties(height=70 + 22 * n)
