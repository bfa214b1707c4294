"""The concept map as a pure function of a frame: points as compact JSON, and the figure around them."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pydeck as pdk

from dashboard import theme
from dashboard.theme import Mode

MAP_SIZE = 1000.0  # the map's coordinates run from 0 to this on both axes
MAP_HEIGHT = 620  # pixels
MAP_FIT = 490  # pixels that the whole map takes at first, at the narrowest width it is shown at
POINT_LAYER, CHOSEN_LAYER = "concepts", "chosen"


def map_coordinates(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[theme.Floats, theme.Floats]:
    """Positions scaled, by one factor for both axes, into the square from 0 to MAP_SIZE and centred there."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size == 0:
        return xs, ys
    extent = max(float(np.ptp(xs)), float(np.ptp(ys))) or 1.0
    scale = MAP_SIZE / extent
    return (
        (xs - (xs.min() + xs.max()) / 2) * scale + MAP_SIZE / 2,
        (ys - (ys.min() + ys.max()) / 2) * scale + MAP_SIZE / 2,
    )


def map_position(concepts: pl.DataFrame, concept_id: int | None) -> tuple[float, float] | None:
    """Where a concept is on the map; None where it has no position."""
    placed = concepts.drop_nulls(["x", "y"])
    ids = placed["concept_id"].to_list()
    if concept_id not in ids:
        return None
    at = ids.index(concept_id)
    x, y = map_coordinates(placed["x"].to_numpy(), placed["y"].to_numpy())
    return float(x[at]), float(y[at])


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
            "l": placed["label"].fill_null("not compared"),
            "p": [theme.percent(share) for share in prevalence.tolist()],
        },
        schema_overrides={"c": pl.List(pl.Int32)},
    )
    return points.write_json().encode()


def concept_map(
    points: str | list[dict],
    chosen: tuple[float, float] | None = None,
    mode: Mode = "light",
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
    zoom = float(np.log2(MAP_FIT / MAP_SIZE))
    middle = MAP_SIZE / 2
    return pdk.Deck(
        layers=layers,
        views=[pdk.View(type="OrthographicView", id="map", controller={"doubleClickZoom": False})],
        initial_view_state={
            "target": [middle, middle, 0],
            "zoom": zoom,
            "minZoom": zoom - 1,
            "maxZoom": zoom + 6,
        },
        map_provider=None,
        map_style=None,
        tooltip={
            "text": "{n}\nconcept {i}, {l}\nenergy difference {d}\nin {p} of real images",
            "style": {"fontSize": "13px", "maxWidth": "280px", "borderRadius": "6px", "lineHeight": "1.45"},
        },
    )
