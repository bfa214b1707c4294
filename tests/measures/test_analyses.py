"""Co-occurrence and datapoints against dense or hand-worked references."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.measures.cooccurrence import cooccurrence, top_partners
from pipeline.measures.datapoints import distance, paper_score, similarity


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return rng.random((40, 6)) * (rng.random((40, 6)) < 0.3)


def test_cooccurrence_equals_the_dense_gram(codes):
    image = np.repeat(np.arange(8), 5)
    found = cooccurrence(sparse.csr_array(codes), image, 8)
    gram = codes.T @ codes / 8
    present = np.stack([(codes[image == i] > 0).any(0) for i in range(8)]).astype(float)
    both = present.T @ present
    share = present.mean(0)
    for a, b, n, strength, lift in zip(*vars(found).values(), strict=True):
        assert a < b
        assert n == both[a, b]
        assert strength == pytest.approx(gram[a, b])
        assert lift == pytest.approx((both[a, b] / 8) / (share[a] * share[b]))
    assert len(found.concept_a) == (np.triu(both, 1) > 0).sum()


def test_top_partners_keep_each_concepts_strongest(codes):
    found = cooccurrence(sparse.csr_array(codes), np.repeat(np.arange(8), 5), 8)
    kept = {(found.concept_a[row], found.concept_b[row]) for row in top_partners(found, 1, 1)}
    gram = codes.T @ codes
    np.fill_diagonal(gram, -1)
    for concept in range(6):
        best = int(gram[concept].argmax())
        assert (min(concept, best), max(concept, best)) in kept
    assert len(top_partners(found, 1, 100)) == 0


def test_datapoint_measures_by_hand():
    real = sparse.csr_array(np.array([[2.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    gen = sparse.csr_array(np.array([[0.0, 0, 1, 2], [1, 1, 0, 0], [0, 0, 0, 0]]))
    # Pair 0 lost 2 of one concept and gained 2 of another: the published score cancels to 0.5 exactly.
    assert paper_score(real, gen).tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert distance(real, gen).tolist() == pytest.approx([4 / 6, 0, 0])
    assert similarity(real, gen).tolist() == pytest.approx([1 / 5, 1, 0])
    more = sparse.csr_array(np.array([[4.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    # sigmoid(2) = 0.880797; (0.880797 + 3 * 0.5) / 4 = 0.595199
    assert paper_score(real, more)[0] == pytest.approx(0.595199, abs=1e-6)
