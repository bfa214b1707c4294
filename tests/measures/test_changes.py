"""The change between two estimates, against values worked out by hand."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.changes import change

share = st.floats(0, 1)


def test_a_3_4_5_triangle_on_either_side():
    # low: b - low = 0.3 and high - a = 0.4 make 0.5; high: 0.6 and 0.8 make 1.0
    moved, low, high = change([0.9], [0.1], [1.3], [1.0], [0.7], [1.6])
    assert moved[0] == 0.09999999999999998
    assert math.isclose(low[0], 0.1 - 0.5)
    assert math.isclose(high[0], 0.1 + 1.0)


def test_a_certain_estimate_adds_nothing():
    moved, low, high = change([0.5], [0.5], [0.5], [0.2], [0.1], [0.4])
    assert np.allclose([moved[0], low[0], high[0]], [-0.3, -0.4, -0.1])


def test_what_was_not_measured_is_nan():
    moved, low, high = change([np.nan, 0.5], [0.1, np.nan], [0.2, 0.6], [0.3, 0.3], [0.2, 0.2], [0.4, 0.4])
    assert np.isnan(moved).tolist() == [True, False]
    assert np.isnan(high).tolist() == [True, True]
    assert np.isnan(low).tolist() == [True, False]


@given(a=share, b=share, reach=st.tuples(share, share, share, share))
def test_swapping_the_two_mirrors_the_interval(a, b, reach):
    one = (a, a - reach[0], a + reach[1])
    two = (b, b - reach[2], b + reach[3])
    moved, low, high = change(*one, *two)
    back, back_low, back_high = change(*two, *one)
    assert np.allclose([moved, low, high], [-back, -back_high, -back_low])
    assert low <= moved <= high
