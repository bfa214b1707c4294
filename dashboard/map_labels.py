"""Region names on the concept map, each from the zoom on at which it has room."""

import numpy as np
import numpy.typing as npt
import polars as pl

from dashboard import theme

LETTER, LINE = 7.4, 19.0  # pixels that one letter and one line of a label take
LEAST_SCALE, MOST_SCALE = 0.05, 64.0  # pixels per unit of the map, between which people zoom
LONGEST = 34  # letters
N_LABELS = 400

Floats = npt.NDArray[np.float64]


def free_from(x: npt.ArrayLike, y: npt.ArrayLike, widths: npt.ArrayLike, height: float) -> Floats:
    """The scale (pixels per unit) from which each label has room beside all that come before it.

    At scale s two labels are apart once s |x_a - x_b| reaches the mean of their widths or s |y_a - y_b| the
    height, so a label is free from the largest, over the earlier ones, of the smaller of these two scales.
    """
    xs, ys, wide = (np.asarray(each, dtype=np.float64) for each in (x, y, widths))
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (wide[:, None] + wide[None, :]) / 2 / np.abs(xs[:, None] - xs[None, :])
        along = height / np.abs(ys[:, None] - ys[None, :])
    apart = np.tril(np.fmin(across, along), -1)
    return np.maximum(apart.max(axis=1, initial=0.0), LEAST_SCALE)


def region_labels(on_map: pl.DataFrame) -> pl.DataFrame:
    """What is written on the map, the largest region first: text, x, y, scale (`free_from`).

    `on_map` has region, region_title and positions of concepts on the map; a label stands at the median of
    its region. Regions without a title, and those that never have room, are left out.
    """
    found = (
        on_map.drop_nulls(["region", "region_title"])
        .group_by("region")
        .agg(pl.col("region_title").first(), pl.col("x", "y").median(), n=pl.len())
        .sort(["n", "region"], descending=[True, False])
        .head(N_LABELS)
    )
    texts = [theme.one_line(title, LONGEST) for title in found["region_title"]]
    widths = np.array([LETTER * len(text) + LETTER for text in texts])
    scale = free_from(found["x"].to_numpy(), found["y"].to_numpy(), widths, LINE)
    named = found.select(pl.Series("text", texts, dtype=pl.String), "x", "y", pl.Series("scale", scale))
    return named.filter(pl.col("scale") <= MOST_SCALE)
