"""The test that looks at captions which ask for a concept: by hand, on both sides alike, and calibrated."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.measures.asking import asking_pairs
from pipeline.measures.evidence import weigh
from pipeline.measures.signflip import flip_test, stratified_flip_test

QUICK = {"n_resamples": 100, "n_flips": 400}


def signs(n_pairs, n_flips=999):
    return np.random.default_rng(0).choice([-1.0, 1.0], (n_pairs, n_flips)).astype(np.float32)


def world(seed, n=300):
    """Captions say "moon" (term 0) in a tenth and "red" (term 1) in a third; concepts 0 and 1 follow them,
    noisily, the third follows nothing."""
    rng = np.random.default_rng(seed)
    terms = np.stack([rng.random(n) < 0.1, rng.random(n) < 0.33], 1).astype(float)
    drive = np.column_stack([terms, rng.random(n) < 0.2])

    def side():
        return drive * rng.gamma(2, 1, (n, 3)) + (rng.random((n, 3)) < 0.05) * rng.gamma(2, 1, (n, 3))

    return side(), side(), terms


def test_pairs_that_ask_have_the_telling_word():
    real, gen, terms = world(0)
    asked = asking_pairs(real, gen, terms).toarray()
    assert np.array_equal(asked[:, :2], terms)
    assert not asked[:, 2].any()


def test_the_choice_does_not_know_which_side_is_real():
    real, gen, terms = world(1)
    there, back = asking_pairs(real, gen, terms), asking_pairs(gen, real, terms)
    assert np.array_equal(there.toarray(), back.toarray())


def test_without_captions_no_pair_asks():
    real, gen, _ = world(2)
    asked = asking_pairs(real, gen, sparse.csr_array((len(real), 0)))
    assert asked.shape == real.shape
    assert asked.nnz == 0
    plain = weigh(real, gen, **QUICK)
    assert np.array_equal(weigh(real, gen, asked=asked, **QUICK).p, plain.p)


def test_three_times_the_smallest_p_by_hand():
    """Ten pairs that ask all lose one: 2 of 1,024 patterns. Of the others half gain one and half lose one."""
    differences = sparse.csr_array(np.r_[-np.ones(10), np.tile([1.0, -1.0], 60)][None].repeat(2, 0))
    asked = sparse.csr_array(np.stack([np.r_[np.ones(10), np.zeros(120)], np.zeros(130)]))
    p = stratified_flip_test(differences, asked, signs(130))
    assert p[0] == pytest.approx(3 * 2 / 1024)
    assert p[1] == flip_test(differences, signs(130))[1]  # nobody asks for this concept: the plain test
    assert p[1] > 0.3


def test_a_fault_where_it_is_asked_for_is_found_beneath_the_noise_of_the_rest():
    real, gen, terms = world(3)
    rng = np.random.default_rng(4)
    noise = (rng.random((2, 300)) < 0.5) * rng.gamma(2, 3, (2, 300)) * (terms[:, 0] == 0)
    real[:, 0], gen[:, 0] = terms[:, 0] * 2 + noise[0], noise[1]
    asked = sparse.csr_array(np.column_stack([terms, np.zeros(300)]))
    assert weigh(real, gen, **QUICK).p[0] > 0.01
    assert weigh(real, gen, asked=asked, **QUICK).q[0] < 1e-4


def test_looking_apart_finds_no_more_where_nothing_differs():
    """Over 200 worlds whose sides are alike, at most 5% of p lie below 0.05, choice of captions included."""
    p, found = [], []
    for seed in range(200):
        real, gen, terms = world(seed)
        evidence = weigh(real, gen, asked=asking_pairs(real, gen, terms), seed=seed, **QUICK)
        p.append(evidence.p)
        found.append(evidence.q < 0.05)
    assert np.mean(found) <= 0.05
    below = np.mean(np.array(p) < 0.05, axis=0)
    # 2.3 standard errors of 200 trials above 0.05
    assert (below <= 0.05 + 2.3 * np.sqrt(0.05 * 0.95 / 200)).all()
