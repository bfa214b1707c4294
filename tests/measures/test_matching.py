"""Counterparts of concepts, by hand."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.measures.matching import match_concepts, rank_agreement


def test_concepts_are_matched_to_what_fires_with_them():
    """0 is the other's 2 at twice the size, 1 is its 0 turned round, 2 never fires."""
    one = np.array([[1.0, 0, 0], [0, 1, 0], [2, 0, 0], [0, 3, 0]])
    other = np.array([[4.0, 7, 2], [3, 7, 0], [4, 7, 4], [1, 7, 0]])
    found = match_concepts(sparse.csr_array(one), sparse.csr_array(other))
    assert found.one.tolist() == [0]
    assert found.other.tolist() == [2]
    assert found.correlation == pytest.approx([1.0])


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(0)
    one = rng.random((30, 5)) * (rng.random((30, 5)) < 0.5)
    other = rng.random((30, 7)) * (rng.random((30, 7)) < 0.5)
    found = match_concepts(sparse.csr_array(one), sparse.csr_array(other), least_correlation=-1)
    expected = np.corrcoef(one.T, other.T)[:5, 5:]
    assert found.other.tolist() == expected.argmax(1).tolist()
    assert found.correlation == pytest.approx(expected.max(1))


def test_rank_agreement_of_the_same_order_is_one():
    value, low, high = rank_agreement(np.arange(10.0), np.arange(10.0) ** 3)
    assert (value, low, high) == pytest.approx((1, 1, 1))
