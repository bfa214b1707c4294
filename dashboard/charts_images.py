"""Figures of pairs of images; pure functions of frames, like `charts`."""

import altair as alt
import numpy as np
import polars as pl

from dashboard import theme
from dashboard.charts import Figure
from dashboard.theme import Mode

N_BINS = 40


def score_bins(values: pl.DataFrame, n_bins: int = N_BINS) -> pl.DataFrame:
    """Share of each generator's pairs in equal bins from the smallest to the largest value of all.

    `values` has generator, value. Columns: generator, left, right, n, share (of the generator's pairs).
    """
    kinds = {"generator": pl.String, "left": pl.Float64, "right": pl.Float64}
    if values.is_empty():
        return pl.DataFrame(schema={**kinds, "n": pl.Int64, "share": pl.Float64})
    low, high = (float(np.asarray(end(values["value"].to_numpy()))) for end in (np.min, np.max))
    edges = np.linspace(low, high if high > low else low + 1.0, n_bins + 1)
    parts = []
    for (generator,), part in values.group_by("generator", maintain_order=True):
        n = np.histogram(part["value"].to_numpy(), bins=edges)[0].astype(np.int64)
        columns = {"left": edges[:-1], "right": edges[1:], "n": n, "share": n / part.height}
        parts.append(pl.DataFrame({"generator": [generator] * n_bins, **columns}))
    return pl.concat(parts)


def score_distributions(
    values: pl.DataFrame, title: str, chosen: str | None = None, mode: Mode = "light"
) -> Figure:
    """One score over the pairs, a row for each generator, its median a stroke; the chosen one in the accent.

    `values` has generator, value.
    """
    names = values["generator"].unique(maintain_order=True).to_list()
    bins = score_bins(values)
    place = pl.col("generator").replace_strict(
        {name: at for at, name in enumerate(names)}, default=0, return_dtype=pl.Int64
    )
    tallest = max(1e-9, float(bins["share"].to_numpy().max())) if bins.height else 1.0
    base = len(names) - 1 - place
    shown = bins.with_columns(
        base.alias("base"), (base + 0.72 * pl.col("share") / tallest).alias("top")
    ).with_columns((pl.col("generator") == (chosen or "")).alias("chosen"))
    colour = alt.condition(
        "datum.chosen", alt.value(theme.ACCENT[mode][1]), alt.value(theme.ink(mode, "muted"))
    )
    rows = alt.Scale(domain=[-0.08, max(1, len(names))], nice=False)
    along = alt.X("left:Q", title=title, scale=alt.Scale(zero=False, nice=False), axis=alt.Axis(grid=False))
    bars = (
        alt.Chart(shown.filter(pl.col("n") > 0))
        .mark_rect()
        .encode(
            x=along,
            x2=alt.X2("right:Q"),
            y=alt.Y("base:Q", title=None, axis=None, scale=rows),
            y2=alt.Y2("top:Q"),
            color=colour,
            tooltip=[
                "generator:N",
                alt.Tooltip("left:Q", format=".3f", title="from"),
                alt.Tooltip("right:Q", format=".3f", title="to"),
                alt.Tooltip("n:Q", format=",", title="pairs"),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    middles = values.group_by("generator", maintain_order=True).agg(pl.col("value").median().alias("median"))
    middles = middles.with_columns(
        base.alias("base"), (base + 0.74).alias("top"), (base + 0.98).alias("above")
    ).with_columns(pl.format("{} · median {}", "generator", pl.col("median").round(3)).alias("words"))
    stroke = (
        alt.Chart(middles)
        .mark_rule(color=theme.ink(mode), strokeWidth=2)
        .encode(x=alt.X("median:Q"), y=alt.Y("base:Q"), y2=alt.Y2("top:Q"))
    )
    words = (
        alt.Chart(middles)
        .mark_text(align="left", baseline="top", fontSize=12, color=theme.ink(mode), limit=320, dx=4)
        .encode(x=alt.XValue(0), y=alt.Y("above:Q"), text=alt.Text("words:N"))
    )
    return alt.layer(bars, stroke, words).properties(height=64 + 62 * max(1, len(names)))


def concept_shares(concepts: pl.DataFrame, n: int = 20, mode: Mode = "light") -> Figure:
    """What sets two images apart: the share of their distance that each of the n first concepts has.

    `concepts` comes from `queries_images.pair_concepts`. Bars to the right: more in the generated image.
    """
    shown = concepts.head(n)
    titles = [
        f"{theme.one_line(theme.concept_title(k, name), 34)} · {k}"
        for k, name in shown.select("concept_id", "name").iter_rows()
    ]
    both = (shown["real"] + shown["generated"]).to_numpy()
    drawn = shown["generated"].to_numpy()
    ratio = np.divide(drawn, both, out=np.full(len(both), theme.ALIGNED), where=both > 0)
    colours = [theme.hex_colour(rgb) for rgb in theme.diverging(ratio, mode)]
    shown = shown.with_columns(
        pl.Series("title", titles, dtype=pl.String),
        pl.Series("ratio", ratio, dtype=pl.Float64),
        pl.Series("colour", colours, dtype=pl.String),
    )
    reach = max(0.01, 1.08 * max((abs(each) for each in shown["share"]), default=0.0))
    bars = (
        alt.Chart(shown)
        .mark_bar(cornerRadius=2)
        .encode(
            y=alt.Y("title:N", sort=titles, title=None, axis=alt.Axis(labelLimit=230, ticks=False)),
            x=alt.X(
                "share:Q",
                title="← more in the real image \u00a0 \u00a0 \u00a0 more in the generated one →",
                scale=alt.Scale(domain=[-reach, reach], nice=False),
                axis=alt.Axis(format=".0%", grid=False, tickCount=5),
            ),
            color=alt.Color("colour:N", scale=None),
            tooltip=[
                alt.Tooltip("title:N", title="concept"),
                alt.Tooltip("real:Q", format=".3f", title="energy, real"),
                alt.Tooltip("generated:Q", format=".3f", title="energy, generated"),
                alt.Tooltip("share:Q", format="+.1%", title="share of the distance"),
            ],
        )
    )
    centre = (
        alt.Chart(pl.DataFrame({"at": [0.0]}))
        .mark_rule(color=theme.ink(mode, "muted"))
        .encode(x=alt.X("at:Q"))
    )
    return alt.layer(bars, centre).properties(height=70 + 23 * max(1, shown.height))
