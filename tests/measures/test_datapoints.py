"""Scores of pairs against numbers worked out by hand and dense references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from pipeline.measures.datapoints import concept_weights, distance, paper_score, ranks, similarity

REAL = np.array([[2.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
GEN = np.array([[0.0, 0, 1, 2], [1, 1, 0, 0], [0, 0, 0, 0]])
energies = arrays(float, (4, 5), elements=st.sampled_from([0.0, 0.0, 0.25, 1.0, 3.0, 70.0]))


def test_scores_by_hand():
    real, gen = sparse.csr_array(REAL), sparse.csr_array(GEN)
    # Pair 0 lost 2 of one concept and gained 2 of another: the published score cancels to 0.5 exactly.
    assert paper_score(real, gen).tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert distance(real, gen).tolist() == pytest.approx([4 / 6, 0, 0])
    assert similarity(real, gen).tolist() == pytest.approx([1 / 5, 1, 0])
    more = sparse.csr_array(np.array([[4.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    # sigmoid(2) = 0.880797; (0.880797 + 3 * 0.5) / 4 = 0.595199
    assert paper_score(real, more)[0] == pytest.approx(0.595199, abs=1e-6)


def test_weighted_scores_by_hand():
    real, gen = sparse.csr_array(REAL), sparse.csr_array(GEN)
    weights = np.array([1.0, 5.0, 2.0, 0.5])
    # Pair 0: apart 1 * 2 + 0.5 * 2 = 3, in all 2 + 2 * 2 + 1 = 7; dot (2 * 1)^2 = 4, squares 4 + 4 and 4 + 1.
    assert distance(real, gen, weights)[0] == pytest.approx(3 / 7)
    assert similarity(real, gen, weights)[0] == pytest.approx(4 / np.sqrt(8 * 5))


def test_weights_by_hand():
    found = concept_weights(sparse.csr_array(REAL), sparse.csr_array(GEN))
    # Six images. Concept 0 fires in three with 4 energy in all, 1 and 2 in two with 2, 3 in one with 2.
    expected = [np.log(7 / 4) / (4 / 3), np.log(7 / 3) / 1, np.log(7 / 3) / 1, np.log(7 / 2) / 2]
    assert found.tolist() == pytest.approx(expected)
    dead = concept_weights(sparse.csr_array((3, 2)), sparse.csr_array((3, 2)))
    assert dead.tolist() == [0, 0]
    everywhere = sparse.csr_array(np.ones((3, 1)))
    assert concept_weights(everywhere, everywhere).tolist() == [0]


@given(energies, energies)
def test_scores_equal_dense_ones_and_keep_their_range(real, gen):
    sides = sparse.csr_array(real), sparse.csr_array(gen)
    weights = concept_weights(*sides)
    a, b = real * weights, gen * weights
    total, norms = (a + b).sum(1), np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore"):
        assert distance(*sides, weights) == pytest.approx(np.nan_to_num(abs(a - b).sum(1) / total))
        assert similarity(*sides, weights) == pytest.approx(np.nan_to_num((a * b).sum(1) / norms))
    assert ((distance(*sides, weights) >= 0) & (distance(*sides, weights) <= 1 + 1e-12)).all()
    assert distance(*sides, weights) == pytest.approx(distance(*sides[::-1], weights))
    assert (distance(sides[0], sides[0], weights) == 0).all()


@given(energies, energies)
def test_concepts_that_never_fire_change_nothing_but_the_published_score(real, gen):
    sides = [sparse.csr_array(side) for side in (real, gen)]
    wider = [sparse.csr_array(np.hstack([side, np.zeros((4, 3))])) for side in (real, gen)]
    assert distance(*sides, concept_weights(*sides)) == pytest.approx(
        distance(*wider, concept_weights(*wider))
    )
    assert similarity(*sides) == pytest.approx(similarity(*wider))
    assert paper_score(*wider) - 0.5 == pytest.approx((paper_score(*sides) - 0.5) * 5 / 8)


def test_ranks_begin_with_the_most_different():
    assert ranks(np.array([0.2, 0.9, 0.2, 0.5])).tolist() == [3, 1, 4, 2]
