"""Figures and pictures as pure functions, against hand-worked values."""

import io
import math

import numpy as np
import polars as pl
import pytest
from PIL import Image

from dashboard import charts, pictures, theme


def test_histogram_counts_by_hand():
    bins = charts.histogram([0.0, 0.01, 0.5, 0.99, 1.0, math.nan], n_bins=4)
    assert bins["n"].to_list() == [2, 0, 1, 2]
    assert bins["left"].to_list() == [0.0, 0.25, 0.5, 0.75]
    assert bins["middle"].to_list() == [0.125, 0.375, 0.625, 0.875]


def test_label_bars_give_shares_of_each_generator():
    counts = pl.DataFrame(
        {"generator": ["a", "a", "b"], "label": ["suppressed", "aligned", "aligned"], "n": [1, 3, 2]}
    )
    spec = charts.label_bars(counts).to_dict()
    rows = spec["datasets"][spec["layer"][0]["data"]["name"]]
    by_key = {(row["generator"], row["label"]): row for row in rows}
    assert by_key["a", "suppressed"]["share"] == 0.25
    assert (by_key["a", "aligned"]["start"], by_key["a", "aligned"]["end"]) == (0.25, 1.0)
    assert by_key["b", "aligned"]["share"] == 1.0


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figures_of_no_rows_still_draw(mode):
    empty = pl.DataFrame(schema={"generator": pl.String, "label": pl.String, "n": pl.Int64})
    numbers = pl.DataFrame(
        schema={
            "generator": pl.String,
            "label": pl.String,
            "form": pl.String,
            **{name: pl.Float64 for name in ("low", "high", *theme.FORMS)},
        }
    )
    charts.label_bars(empty, mode).to_dict()
    charts.difference_histogram([], "ratio", mode).to_dict()
    charts.generator_dots(numbers, "ratio", mode).to_dict()


def test_an_interval_is_drawn_only_for_the_form_it_speaks_of():
    numbers = pl.DataFrame(
        {
            "generator": ["a"],
            "label": ["suppressed"],
            "form": ["ratio"],
            "low": [0.1],
            "high": [0.3],
            "ratio": [0.2],
            "relative": [0.18],
            "absolute": [0.4],
        }
    )

    def interval_rows(form: str) -> int:
        spec = charts.generator_dots(numbers, form).to_dict()
        return len(spec["datasets"][spec["layer"][1]["data"]["name"]])

    assert interval_rows("ratio") == 1
    assert interval_rows("absolute") == 0


def _picture(width: int = 8, height: int = 8) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))


def test_overlay_at_opacity_0_or_without_energy_is_the_image():
    picture = _picture()
    grid = np.array([[0.0, 1.0], [0.0, 0.0]])
    for result in (
        pictures.overlay(picture, grid, opacity=0.0),
        pictures.overlay(picture, np.zeros((2, 2))),
        pictures.overlay(picture, None),
        pictures.overlay(picture, grid, top=0.0),
    ):
        assert np.array_equal(np.asarray(result), np.asarray(picture))


def test_overlay_at_opacity_1_shows_the_brightest_colour_where_the_code_is_largest():
    result = np.asarray(pictures.overlay(_picture(), np.ones((2, 2)), opacity=1.0))
    assert (result == theme.heat(1.0)).all()


def test_overlay_scale_is_shared_and_the_rest_of_the_image_stays():
    picture = _picture(12, 8)
    grid = np.ones((2, 2))
    weak = np.asarray(pictures.overlay(picture, grid, 1.0, top=4.0)).astype(int)
    before = np.asarray(picture).astype(int)
    assert (weak[:, :2] == before[:, :2]).all()  # beside the centred square
    assert (weak[:, 10:] == before[:, 10:]).all()
    expected = 0.5 * before[0, 2] + 0.5 * theme.heat(0.25)  # weight sqrt(1/4)
    assert np.abs(weak[0, 2] - expected).max() <= 2  # 8-bit steps
    inner = np.asarray(pictures.overlay(_picture(), grid, 1.0, crop=0.5)).astype(int)
    assert (inner[2:6, 2:6] == theme.heat(1.0)).all()
    assert (inner[:2] == np.asarray(_picture()).astype(int)[:2]).all()


def test_patch_grid_refuses_what_does_not_fit():
    assert pictures.patch_grid([1.0, 2.0, 3.0, 4.0], 2, 2).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert pictures.patch_grid([1.0, 2.0, 3.0], 2, 2) is None
    assert pictures.patch_grid(None, 2, 2) is None
    assert pictures.patch_grid([], 0, 0) is None


def test_unreadable_images_are_none_and_small_ones_grow():
    buffer = io.BytesIO()
    _picture().save(buffer, format="PNG")
    data = buffer.getvalue()
    assert pictures.decode(data).size == (8, 8)
    for broken in (None, b"", b"not an image", data[: len(data) // 2]):
        assert pictures.decode(broken) is None
    assert pictures.fitted(_picture(8, 4), 64).size == (64, 32)
    assert pictures.decode(pictures.webp(_picture())).size == (8, 8)
    assert pictures.address(b"x").startswith("data:image/webp;base64,")
