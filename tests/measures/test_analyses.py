"""Datapoints against dense or hand-worked references."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.measures.datapoints import distance, paper_score, similarity


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
