"""Advice: the rule, the counts behind it and the pairs to look at, by hand."""

import numpy as np
from scipy import sparse

from pipeline.measures.advice import advise, count_mentions, widest


def test_the_rule():
    kinds = advise(
        np.array([True, True, True, True, False, False]),
        np.array([0.005, 0.01, 0.5, 0.5, 0.001, 0.5]),
        np.array([0.9, 0.9, 0.19, 0.2, 0.19, 0.2]),
        rare_below=0.01,
        mentioned_below=0.2,
    )
    assert kinds == [
        "rarely seen",
        "not drawn",
        "badly captioned",
        "not drawn",
        "drawn unasked",
        "overdrawn",
    ]


def test_mentions_are_counted_over_strong_images():
    strong = sparse.csr_array([[1.0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    said = sparse.csr_array([[1.0, 0, 1], [0, 0, 1], [1, 0, 1], [1, 1, 1]])
    counts = count_mentions(strong, said)
    assert counts.n_strong.tolist() == [2, 2, 0]
    assert counts.n_mentioned.tolist() == [1, 1, 0]
    assert counts.share.tolist() == [0.5, 0.5, 0]


def test_pairs_to_look_at_have_the_largest_differences_and_preferred_ones_come_first():
    excess = sparse.csc_array(np.array([[1.0, -1], [5, 0], [3, -2], [4, 0], [0, 0]]))
    prefer = sparse.csc_array(np.array([[1.0, 1], [0, 1], [1, 1], [0, 1], [1, 1]]))
    found = widest(excess, prefer, 3)
    assert [rows.tolist() for rows in found] == [[2, 0, 1], []]
