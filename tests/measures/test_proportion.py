"""Wilson's interval, held against its definition and worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from pipeline.measures.proportion import wilson


def test_five_of_ten_by_hand():
    """With p = 1/2 the centre is 1/2 and the half width is z / (2 sqrt(n + z^2)): 1.96 / (2 * 3.7204)."""
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_none_and_all_of_n():
    """Of none the upper end is z^2 / (n + z^2), and all is its mirror image; of nothing all is possible."""
    assert wilson(0, 12) == pytest.approx((0, 3.8415 / 15.8415), abs=1e-4)
    assert wilson(12, 12) == pytest.approx((12 / 15.8415, 1), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_its_ends_are_the_shares_that_the_score_test_just_keeps(counts, level):
    """|p - share| = z sqrt(p (1 - p) / n) at both ends p, which is how Wilson defined them."""
    n_hits, n = counts
    z = norm.isf((1 - level) / 2)
    for end, limit in zip(wilson(n_hits, n, level), (0, 1), strict=True):
        if n_hits / n != limit:
            assert abs(end - n_hits / n) == pytest.approx(z * (end * (1 - end) / n) ** 0.5, abs=1e-6)
        else:
            assert end == pytest.approx(limit, abs=1e-9)


@pytest.mark.parametrize("counts", [(-1, 3), (4, 3)])
def test_counts_that_make_no_share_are_refused(counts):
    with pytest.raises(ValueError, match="are no share"):
        wilson(*counts)
