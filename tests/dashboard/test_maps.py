"""The concept map: positions, colours, sizes, labels and the figure, against hand-worked values."""

import json

import numpy as np
import polars as pl
import pytest

from dashboard import charts_map, map_deck, map_labels, maps, theme


def _concepts(**columns) -> pl.DataFrame:
    base = {
        "concept_id": [4, 7, 9],
        "name": ["wood", None, "<b>x</b>"],
        "x": [0.0, 10.0, 5.0],
        "y": [0.0, 5.0, 2.5],
        "label": ["suppressed", "aligned", None],
        "prevalence": [0.25, 1.0, None],
        "ratio": [0.0, 0.5, None],
        "q": [1e-9, 0.01, None],
        "group": [4, 4, 9],
        "region": [0, 0, None],
        "region_title": ["trees", "trees", None],
    }
    return maps.placed(pl.DataFrame({**base, **columns}, strict=False))


def _points(frame: pl.DataFrame, colour: str = "energy difference", size: str = "prevalence") -> list[dict]:
    return json.loads(maps.points(frame, colour, size, "ratio"))


def test_coordinates_keep_the_shape_and_are_centred():
    x, y = maps.map_coordinates([0.0, 10.0], [0.0, 5.0])
    assert x.tolist() == [0.0, 1000.0]
    assert y.tolist() == [250.0, 750.0]
    assert maps.map_coordinates([3.0], [4.0])[0].tolist() == [500.0]


def test_points_by_hand():
    points = _points(_concepts())
    assert [point["i"] for point in points] == [4, 7, 9]
    assert [point["n"] for point in points] == ["wood", "concept 7", "<b>x</b>"]
    assert [(point["x"], point["y"]) for point in points] == [(0, 250), (1000, 750), (500, 500)]
    low, neutral = theme.diverging([0.0, 0.5]).astype(int).tolist()
    assert points[0]["c"] == [*low, maps.SOLID]
    assert points[1]["c"] == [*neutral, maps.SOLID]
    assert points[2]["c"] == [*neutral, maps.FAINT]  # it fired on neither side
    assert [point["r"] for point in points] == [7.0, 10.7, 3.2]  # 3.2 + 7.5 sqrt(prevalence), 6.95 rounds
    assert [point["d"] for point in points] == ["0.00", "0.50", "–"]
    assert [point["q"] for point in points] == ["1.0e\u221209", "0.010", "–"]
    assert points[2]["l"] == "not compared"


def test_colours_by_label_q_prevalence_group_and_region():
    frame = _concepts()
    blue = theme.rgb(theme.label_colours()["suppressed"])
    assert _points(frame, "label")[0]["c"] == [*blue, maps.SOLID]
    assert _points(frame, "label")[2]["c"][3] == maps.FAINT
    pale, half, full = theme.shade([0.0, 0.5, 1.0]).astype(int).tolist()
    q = [point["c"] for point in _points(frame, "q")]
    assert q[:2] == [[*full, maps.SOLID], [*half, maps.SOLID]]  # 0.01 is half way to 0.0001
    assert q[2] == [*pale, maps.FAINT]
    prevalence = [point["c"][:3] for point in _points(frame, "prevalence")]
    assert prevalence[:2] == [half, full]  # the square root of 0.25
    first = list(theme.rgb(theme.KINDS[0]))
    for by in ("group", "region"):
        colours = [point["c"] for point in _points(frame, by)]
        assert colours[:2] == [[*first, maps.SOLID]] * 2
        assert colours[2][3] == maps.FAINT  # without a duplicate; between the regions


def test_sizes_by_effect_and_alike():
    frame = _concepts()
    assert [point["r"] for point in _points(frame, size="effect")] == [10.7, 3.2, 3.2]
    assert len({point["r"] for point in _points(frame, size="equal")}) == 1
    crowd = pl.concat([frame] * 2000)  # three times as many as there is room for
    assert maps.radii(crowd, "effect", "ratio")[0] == pytest.approx(10.7 / np.sqrt(3))


def test_concepts_without_a_position_are_left_out_and_the_chosen_one_is_found():
    frame = _concepts(x=[0.0, None, 5.0])
    assert [point["i"] for point in _points(frame)] == [4, 9]
    assert maps.position(_concepts(), 7) == (1000.0, 750.0)
    assert maps.position(frame, 7) is None
    assert maps.position(frame, None) is None


def test_links_by_hand():
    partners = pl.DataFrame({"partner": [7, 9, 5], "strength": [4.0, 1.0, 9.0], "side": [None, 1.0, 0.0]})
    lines = maps.links(partners.filter(pl.col("partner") != 5), _concepts(), 4)
    assert [line["a"] for line in lines] == [[0.0, 250.0]] * 2
    assert [line["b"] for line in lines] == [[1000.0, 750.0], [500.0, 500.0]]
    assert [line["w"] for line in lines] == [6.0, 2.2]  # 1 + 5 * 1/4 = 2.25
    assert lines[0]["c"][:3] == list(theme.rgb(theme.ACCENT["light"][1]))
    assert lines[1]["c"][:3] == theme.diverging([1.0])[0].tolist()
    assert maps.links(partners, _concepts(), 3) == []  # the concept itself is not on the map


def test_a_label_is_free_once_it_has_room_beside_all_before_it():
    # Widths 100, line 20. The second is 10 to the right and 4 below: apart at 10 across or 5 along.
    # The third is 1 from the first and 9 from the second across, far below both.
    scale = map_labels.free_from([0, 10, 1], [0, 4, 1000], [100, 100, 100], 20)
    assert scale.tolist() == [map_labels.LEAST_SCALE, 5.0, map_labels.LEAST_SCALE]
    same = map_labels.free_from([3, 3], [3, 3], [10, 10], 20)
    assert same[1] == np.inf


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_no_two_labels_that_are_shown_overlap(scale):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 120))
    wide = rng.uniform(40, 200, 120)
    shown = np.flatnonzero(map_labels.free_from(x, y, wide, 19) <= scale)
    assert len(shown) > 3
    for at, a in enumerate(shown):
        for b in shown[at + 1 :]:
            apart_across = scale * abs(x[a] - x[b]) >= (wide[a] + wide[b]) / 2 * (1 - 1e-9)
            assert apart_across or scale * abs(y[a] - y[b]) >= 19 * (1 - 1e-9)


def test_region_labels_stand_in_the_middle_of_named_regions():
    labels = map_labels.region_labels(_concepts())
    assert labels.rows() == [("trees", 500.0, 500.0, map_labels.LEAST_SCALE)]
    assert map_labels.region_labels(_concepts(region_title=[None, None, None])).is_empty()


def test_the_map_asks_nobody_for_tiles_and_rings_the_chosen_concept():
    spec = json.loads(map_deck.concept_map([map_deck.Sheet("/media/points.json")], (10.0, 20.0)).to_json())
    assert "mapProvider" not in spec or spec["mapProvider"] is None
    assert [layer["id"] for layer in spec["layers"]] == [map_deck.POINT_LAYERS[0], map_deck.CHOSEN_LAYER]
    assert spec["layers"][0]["data"] == "/media/points.json"
    assert spec["layers"][1]["data"] == [{"x": 10.0, "y": 20.0}]
    assert spec["views"][0]["controller"] == {"doubleClickZoom": False}
    assert len(json.dumps(spec)) < 4000


def _depth(spec: dict, layer: str, scale: float, label_scale: float = 1.0) -> float:
    """How far below the camera a layer lies at a scale, in pixels: what its z expression comes to."""
    found = next(each for each in spec["layers"] if each["id"] == layer)
    z = found["getPosition"].removeprefix("@@=[x, y, ").removesuffix("]")
    number, _, divided = z.partition(" / ")
    return -float(number) * scale / (label_scale if divided else 1.0)


def test_each_view_shows_its_own_layers_and_labels_only_once_they_have_room():
    sheets = [
        map_deck.Sheet("/a.json", "/l.json", "/g.json"),
        map_deck.Sheet("/b.json", "/l.json", "/g.json"),
    ]
    spec = json.loads(map_deck.concept_map(sheets, (1.0, 2.0)).to_json())
    assert [(view["x"], view["width"]) for view in spec["views"]] == [("0%", "50%"), ("50%", "50%")]
    (near, far), (near_beside, far_beside) = [(view["near"], view["far"]) for view in spec["views"]]
    least, most = map_labels.LEAST_SCALE, map_labels.MOST_SCALE
    for scale in (least, 1.0, most):
        for layer in (map_deck.POINT_LAYERS[0], map_deck.CHOSEN_LAYER, map_deck.GHOST_LAYER):
            assert near <= _depth(spec, layer, scale) <= far
        for layer in (map_deck.POINT_LAYERS[1], "chosen-beside", "ghosts-beside"):
            assert near_beside <= _depth(spec, layer, scale) <= far_beside
        for label in (least, 0.3, most):
            seen = label <= scale
            assert (near <= _depth(spec, "labels", scale, label) <= far) == seen
            assert (near_beside <= _depth(spec, "labels-beside", scale, label) <= far_beside) == seen
            assert _depth(spec, "labels-beside", scale, label) > far  # never in the other view
            assert _depth(spec, "labels", scale, label) < _depth(spec, map_deck.POINT_LAYERS[0], scale)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_legends_draw(mode):
    for legend in (charts_map.colour_scale, charts_map.prevalence_scale, charts_map.q_scale):
        spec = legend(mode).to_dict()
        assert len(spec["layer"][0]["mark"]["color"]["stops"]) == 33
