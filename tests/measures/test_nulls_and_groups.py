"""Nulls, near-duplicates, and the shape of a whole comparison, by hand."""

import numpy as np
import pytest
from scipy import sparse, stats

from pipeline.measures import distribution, nulls
from pipeline.measures.groups import grouped, near_duplicates


def test_halves_are_means_over_disjoint_pairs():
    """Pair i has energy 2^i: the two halves' sums name the pairs that they are made of."""
    real = 2.0 ** np.arange(6)[:, None]
    null = nulls.split_null(sparse.csr_array(real), sparse.csr_array(10 * real), n_splits=8, seed=1)
    for first, second, drawn in zip(null.first[0], null.second[0], null.drawn[0], strict=True):
        a, b = round(3 * first), round(3 * second)
        assert a & b == 0
        assert a | b == 63
        assert drawn == pytest.approx(10 * second)


def test_one_pair_of_an_odd_number_stays_out():
    null = nulls.split_null(np.ones((5, 1)), np.ones((5, 1)), n_splits=3)
    assert null.first.tolist() == [[1, 1, 1]]
    assert null.delta("ratio").tolist() == [[0.5, 0.5, 0.5]]
    with pytest.raises(ValueError, match="at least two"):
        nulls.split_null(np.ones((1, 1)), np.ones((1, 1)))


def test_dealing_two_drawings_keeps_their_sum():
    one, other = np.array([[1.0], [3.0]]), np.array([[5.0], [7.0]])
    null = nulls.self_null(one, other, n_splits=16, seed=0)
    assert np.allclose(null.first + null.second, 8)
    assert set(null.first[0].tolist()) <= {2.0, 4.0, 6.0}
    assert len(set(null.first[0].tolist())) > 1


def test_beyond_counts_both_sides_of_each_split():
    delta = np.array([[0.05, 0.5], [0.95, 0.91], [np.nan, 0.1]])
    assert nulls.beyond(delta, 0.1, 0.9).tolist() == [2, 1]
    assert nulls.spread(np.array([2.0, 2.0, 2.0])) == (2, 2, 2)


# Three atoms: 0 and 1 point almost the same way, 2 is half-way between them and another.
NEIGHBOURS = np.array([[1, 2], [0, 2], [0, 1], [2, 0]])
COSINES = np.array([[0.95, 0.75], [0.95, 0.6], [0.75, 0.6], [0.1, 0.0]])


def test_atoms_that_say_the_same_are_one_group():
    """0 fires most and leads; 1 joins by its cosine alone, 2 only where it fires in the same images as 0."""
    apart = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0.0]])
    assert near_duplicates(NEIGHBOURS, COSINES, sparse.csr_array(apart)).tolist() == [0, 0, 2, 3]
    together = np.array([[1, 0, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0.0]])
    assert near_duplicates(NEIGHBOURS, COSINES, sparse.csr_array(together)).tolist() == [0, 0, 0, 3]


def test_groups_do_not_grow_by_chains():
    """1 is like 0, and 2 is like 1, but not like the leader 0."""
    neighbours, cosines = np.array([[1], [2], [1]]), np.array([[0.95], [0.95], [0.95]])
    fires = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1.0]])
    assert near_duplicates(neighbours, cosines, sparse.csr_array(fires)).tolist() == [0, 0, 2]


def test_a_groups_energy_is_the_sum_of_its_members():
    energies = np.array([[1.0, 2, 3], [0, 5, 0]])
    assert grouped(sparse.csr_array(energies), np.array([0, 0, 2])).toarray().tolist() == [
        [3, 0, 3],
        [5, 0, 0],
    ]


def test_the_shape_of_a_distribution_by_hand():
    delta = np.array([0.05, 0.4, 0.5, 0.6, 0.95])
    still = np.repeat(delta[:, None], 10, 1)
    found = {e.name: e for e in distribution.shape_of(delta, still, 0.1, 0.9)}
    assert found["median"].value == 0.5
    assert found["spread"].value == pytest.approx(0.2)
    assert (found["share_suppressed"].value, found["share_exaggerated"].value) == (0.2, 0.2)
    assert found["skewness"].value == pytest.approx(stats.skew(delta))
    # Resamples that never change leave no doubt.
    assert all((e.low, e.high) == pytest.approx((e.value, e.value)) for e in found.values())
    assert distribution.shape_of(np.empty(0), np.empty((0, 10)), 0.1, 0.9) == []


def test_the_shift_that_resampling_makes_is_taken_back():
    """Resamples that all lie 0.1 too high say nothing of a doubt."""
    found = distribution.shape_of(np.array([0.4]), np.full((1, 10), 0.5), 0.1, 0.9)
    median = next(e for e in found if e.name == "median")
    assert (median.low, median.high) == pytest.approx((0.4, 0.4))


def test_correlations_by_an_independent_path():
    rng = np.random.default_rng(0)
    a = rng.random(50)
    b = a + 0.5 * rng.random(50)
    noise = rng.normal(0, 0.01, (50, 30))
    pearson, spearman = distribution.correlation(a, b, a[:, None] + noise, b[:, None] - noise)
    assert pearson.value == pytest.approx(stats.pearsonr(a, b).statistic)
    assert spearman.value == pytest.approx(stats.spearmanr(a, b).statistic)
    assert pearson.low <= pearson.value <= pearson.high
    assert distribution.correlation(a[:2], b[:2], noise[:2], noise[:2]) == []


def test_overlap_of_two_sets():
    assert distribution.jaccard(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)) == pytest.approx(
        1 / 3
    )
    assert np.isnan(distribution.jaccard(np.zeros(2, bool), np.zeros(2, bool)))


def test_the_funnel_is_wide_where_concepts_are_rare():
    """Null differences of rare concepts lie within 0.1 to 0.9, of frequent ones within 0.45 to 0.55."""
    prevalence = np.r_[np.full(10, 0.01), np.full(10, 0.9)]
    half = np.r_[np.full(10, 0.4), np.full(10, 0.05)][:, None]
    null = 0.5 + half * np.linspace(-1, 1, 201)
    found = distribution.funnel(np.full(20, 0.5), null, prevalence, n_bins=2)
    assert found.n_concepts.tolist() == [10, 10]
    assert found.null_low == pytest.approx([0.12, 0.4525], abs=1e-3)
    assert found.null_high == pytest.approx([0.88, 0.5475], abs=1e-3)
    assert len(distribution.funnel(np.array([np.nan]), np.ones((1, 3)), np.ones(1)).median) == 0


def test_resampled_energies_are_weighted_means():
    real, gen = np.array([[1.0, 0], [3, 0]]), np.array([[2.0, 0], [2, 0]])
    found = distribution.resample(sparse.csr_array(real), sparse.csr_array(gen), np.array([[1.0], [0.0]]))
    assert found.delta("ratio").ravel().tolist() == pytest.approx([2 / 3, 0.5])
