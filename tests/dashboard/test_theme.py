"""Colours and words, against hand-worked values."""

import math

import numpy as np
import pytest

from dashboard import theme

MODES: tuple[theme.Mode, ...] = ("light", "dark")


def _lightness(rgb: np.ndarray) -> float:
    """OKLab lightness of an sRGB colour."""
    channel = rgb / 255
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return float(np.cbrt(to_lms @ linear) @ [0.2104542553, 0.7936177850, -0.0040720468])


@pytest.mark.parametrize("mode", MODES)
def test_aligned_is_neutral_and_the_ends_are_blue_and_orange(mode):
    low, middle, high = (colour.astype(int) for colour in theme.diverging([0.0, 0.5, 1.0], mode))
    assert np.ptp(middle) <= 8  # grey
    assert low[2] > low[0] + 60  # blue
    assert high[0] > high[2] + 60  # orange


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("distance", [0.1, 0.25, 0.5])
def test_the_two_sides_mirror_each_other_in_lightness(mode, distance):
    low, high = theme.diverging([0.5 - distance, 0.5 + distance], mode)
    assert _lightness(low) == pytest.approx(_lightness(high), abs=0.02)


def test_no_energy_is_neutral_and_values_outside_are_clipped():
    neutral, low, high = theme.diverging([0.5, 0.0, 1.0])
    assert (theme.diverging([math.nan])[0] == neutral).all()
    assert (theme.diverging([-3.0, 3.0]) == [low, high]).all()


def test_the_heat_ramp_rises_evenly_in_lightness():
    steps = np.diff([_lightness(colour) for colour in theme.heat(np.linspace(0, 1, 9))])
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.min()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0, "0"),
        (0.0, "0"),
        (12_345, "12,345"),
        (-0.5, "−0.500"),
        (1.2345, "1.23"),
        (0.01234, "0.0123"),
        (1234.5, "1,234"),
        (0.00001, "1.0e−05"),
    ],
)
def test_numbers(value, shown):
    assert theme.number(value) == shown


def test_shares_intervals_and_names():
    assert [theme.percent(share) for share in (None, 0.0, 0.0004, 0.034, 0.5, 1.0)] == [
        "–",
        "0.0%",
        "<0.1%",
        "3.4%",
        "50%",
        "100%",
    ]
    assert theme.interval(0.1, 0.25) == "0.10 to 0.25"
    assert theme.interval(None, 0.25) == "–"
    assert theme.concept_title(17, None) == "concept 17"
    assert theme.concept_title(17, " \u202e\n ") == "concept 17"
    assert theme.listing(["a", "b", "c"]) == "a, b and c"
    assert theme.listing(["a"]) == "a"


def test_one_line_drops_what_could_leave_its_line():
    assert theme.one_line("a\nb\x00\tc\u202ed") == "a b cd"
    assert theme.one_line("x" * 50, 10) == "x" * 9 + "…"


def test_plain_escapes_every_mark_that_markdown_reads():
    escaped = theme.plain("**b** <i> [l](http://e) `c` $x$ :red[r]")
    bare = escaped.replace("\u2060", "")
    for mark in "*<>[]()`$:/":
        assert bare.count(mark) == bare.count("\\" + mark)
    assert ":\u2060" in escaped  # an emoji code or an address cannot form
    assert theme.plain("red") == "red"
    assert theme.plain("أحمر").startswith("\u2068")
