"""The concept map as a pydeck figure: one generator, or two side by side that zoom and pan together.

All views share one view state, which is what links them. deck.gl draws every layer in every view, and JSON
has no function that could say otherwise; so depth does. The camera looks straight down, so depth changes
nothing about where a point is drawn, and a view shows only what lies between its `near` and its `far`. Depth
in pixels is |z| times the scale: each view has a slab of its own, and a label whose z is `near / s` enters
its view's slab just when the scale reaches s, where it has room.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydeck as pdk

from dashboard import theme
from dashboard.map_labels import LEAST_SCALE, MOST_SCALE
from dashboard.maps import MAP_SIZE
from dashboard.theme import Mode

HEIGHT, HEIGHT_BESIDE = 560, 480  # pixels
MAP_FIT = 490  # pixels that the whole map takes at first, at the narrowest width it is shown at
MAP_FIT_BESIDE = 350  # the same, of each of two maps
POINT_LAYERS = ("concepts", "concepts-beside")
CHOSEN_LAYER, LINK_LAYER, LABEL_LAYER, GHOST_LAYER = "chosen", "links", "labels", "ghosts"

_ZOOMS = MOST_SCALE / LEAST_SCALE
_SLAB = 2 * _ZOOMS  # far over near: what lies on the map's floor stays inside at every scale
_NEAR = (1e3, 1e3 * _SLAB * _ZOOMS * 2)  # of the two views: labels that wait do not enter the other's slab


@dataclass(frozen=True)
class Sheet:
    """What one view shows: addresses of its points and labels, and of all positions where it is narrowed."""

    points: str | list[dict]
    labels: str | list[dict] = ""
    ghosts: str | list[dict] = ""


def concept_map(
    sheets: Sequence[Sheet],
    chosen: tuple[float, float] | None = None,
    links: Sequence[dict] = (),
    mode: Mode = "light",
) -> pdk.Deck:
    """One map, or two side by side, with the chosen concept (its map coordinates) ringed. No basemap."""
    layers = [
        layer
        for index, sheet in enumerate(sheets)
        for layer in _layers(index, sheet, chosen, list(links), mode)
    ]
    fit = MAP_FIT if len(sheets) == 1 else MAP_FIT_BESIDE
    zoom = float(np.log2(fit / MAP_SIZE))
    return pdk.Deck(
        layers=layers,
        views=[_view(index, len(sheets)) for index in range(len(sheets))],
        initial_view_state={
            "target": [MAP_SIZE / 2, MAP_SIZE / 2, 0],
            "zoom": zoom,
            "minZoom": zoom - 1,
            "maxZoom": zoom + 6,
        },
        map_provider=None,
        map_style=None,
        tooltip={
            "text": "{n}\nconcept {i}, {l}\nenergy difference {d}, q {q}\nin {p} of real images",
            "style": {"fontSize": "13px", "maxWidth": "280px", "borderRadius": "6px", "lineHeight": "1.45"},
        },
    )


def _view(index: int, n_views: int) -> pdk.View:
    return pdk.View(
        type="OrthographicView",
        id=f"map-{index}",
        x=f"{100 * index // n_views}%",
        width=f"{100 // n_views}%",
        near=_NEAR[index],
        far=_NEAR[index] * _SLAB,
        controller={"doubleClickZoom": False},
    )


def _layers(
    index: int, sheet: Sheet, chosen: tuple[float, float] | None, links: list[dict], mode: Mode
) -> list[pdk.Layer]:
    """The layers of one view, from the back to the front."""
    near, tail = _NEAR[index], "" if index == 0 else "-beside"
    floor = -1.01 * near / LEAST_SCALE  # inside the slab at every scale, and below every label
    here = f"[x, y, {floor}]"
    ink = theme.rgb(theme.ink(mode))
    layers = []
    if sheet.ghosts:
        layers.append(
            _circles(
                GHOST_LAYER + tail,
                sheet.ghosts,
                here,
                get_color=[*theme.rgb(theme.ink(mode, "muted")), 40],
                get_radius=2,
            )
        )
    if links:
        layers.append(
            pdk.Layer(
                "LineLayer",
                data=links,
                id=LINK_LAYER + tail,
                get_source_position=f"[a[0], a[1], {floor}]",
                get_target_position=f"[b[0], b[1], {floor}]",
                get_color="c",
                get_width="w",
                width_units="'pixels'",
            )
        )
    layers.append(
        _circles(
            POINT_LAYERS[index],
            sheet.points,
            here,
            get_color="c",  # Streamlit leaves it alone; with getFillColor a click would grey all others
            get_radius="r",
            pickable=True,
            auto_highlight=True,
            highlight_color=[255, 255, 255, 110],
        )
    )
    if chosen is not None:
        layers.append(
            _circles(
                CHOSEN_LAYER + tail,
                [{"x": chosen[0], "y": chosen[1]}],
                here,
                get_line_color=[*ink, 255],
                get_radius=14,
                line_width_units="'pixels'",
                get_line_width=2.5,
                filled=False,
                stroked=True,
            )
        )
    if sheet.labels:
        layers.append(_labels(LABEL_LAYER + tail, sheet.labels, near, mode))
    return layers


def _circles(name: str, data: str | list[dict], where: str, **look) -> pdk.Layer:
    plain = {"stroked": False, "pickable": False, "radius_units": "'pixels'"}
    return pdk.Layer("ScatterplotLayer", data=data, id=name, get_position=where, **{**plain, **look})


def _labels(name: str, data: str | list[dict], near: float, mode: Mode) -> pdk.Layer:
    paper = (253, 252, 250) if mode == "light" else (22, 23, 28)  # the background of the theme
    return pdk.Layer(
        "TextLayer",
        data=data,
        id=name,
        get_position=f"[x, y, -{near} / scale]",
        get_text="text",
        get_size=13,
        get_color=[*theme.rgb(theme.ink(mode)), 235],
        font_family="'sans-serif'",
        font_weight=600,
        background=True,
        get_background_color=[*paper, 165],
        background_padding=[3, 1],
        character_set="'auto'",
        pickable=False,
    )
