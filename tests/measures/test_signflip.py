"""The sign-flip test against counts made by hand, full enumeration and an independent path."""

from itertools import product

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import binom

from pipeline.measures.signflip import flip_test, saddlepoint


def signs(n_pairs, n_flips=999, seed=0):
    return np.random.default_rng(seed).choice([-1.0, 1.0], (n_pairs, n_flips)).astype(np.float32)


def p_of(*rows, n_flips=999):
    matrix = sparse.csr_array(np.array(rows, np.float32))
    return flip_test(matrix, signs(matrix.shape[1], n_flips))


def enumerated(values):
    sums = [
        abs(sum(s * v for s, v in zip(pattern, values, strict=True)))
        for pattern in product((-1, 1), repeat=len(values))
    ]
    return np.mean([s >= abs(sum(values)) - 1e-9 for s in sums])


def test_three_pairs_by_hand():
    """1, 1, 1 reach 3 in 2 of 8 patterns; 3, 1, -1 make 3, 5, 1, 3 and mirror images: 6 of 8 reach 3."""
    assert p_of([1, 1, 1]).tolist() == [0.25]
    assert p_of([3, 1, -1]).tolist() == [0.75]


def test_pairs_without_a_difference_do_not_count():
    assert p_of([0, 1, 0, 1, 1, 0, 0, 0]).tolist() == [0.25]


def test_nothing_that_differs_has_p_one():
    assert p_of([0, 0, 0, 0], [0, 0, 1, 0]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("m", [4, 8, 12])
def test_few_pairs_are_enumerated(m):
    values = np.random.default_rng(m).normal(0.5, 1, m)
    assert p_of(values.astype(np.float32)) == pytest.approx(enumerated(values), abs=2.0**-m)


def test_swapping_the_sides_leaves_p_as_it_is():
    values = np.random.default_rng(1).normal(0.2, 1, (5, 40)).astype(np.float32)
    assert np.array_equal(p_of(*values), p_of(*-values))


def test_the_tail_agrees_with_the_binomial():
    """Equal differences: 2 P(at least k of 40 positive). A lattice, so within a factor only."""
    matrix = np.ones((3, 40))
    for row, n_negative in enumerate((0, 3, 8)):
        matrix[row, :n_negative] = -1
    found = saddlepoint(sparse.csr_array(matrix))
    true = 2 * binom.cdf([0, 3, 8], 40, 0.5)
    assert found[0] == pytest.approx(true[0], rel=1e-9)
    assert np.all(found[1:] / true[1:] > 0.3) and np.all(found[1:] / true[1:] < 1.5)


def test_the_tail_agrees_with_enumeration_where_values_are_continuous():
    rng = np.random.default_rng(3)
    values = np.abs(rng.normal(1, 0.4, 16)) * np.where(rng.random(16) < 0.15, -1, 1)
    assert saddlepoint(sparse.csr_array(values[None]))[0] == pytest.approx(enumerated(values), rel=0.05)


def test_a_clear_effect_is_seen_far_below_what_flips_resolve():
    values = np.random.default_rng(4).normal(1, 0.5, 400).astype(np.float32)
    assert p_of(values)[0] < 1e-30


def test_random_flips_give_the_share_of_patterns():
    """No effect at all: p is near the exact one, within the error of 999 flips (standard error 0.016)."""
    values = np.random.default_rng(5).normal(0, 1, 16).astype(np.float32)
    assert p_of(values)[0] == pytest.approx(enumerated(values), abs=0.065)
