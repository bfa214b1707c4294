"""Intervals, labels and q-values: hand-worked, by an independent path, and calibrated on simulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from pipeline.measures.energy import FORMS
from pipeline.measures.evidence import adjusted, bootstrap_weights, label_concepts, weigh

QUICK = {"n_resamples": 200, "n_flips": 200}


def energies(n_pairs, n_concepts, seed, rate=0.3, scale=1.0):
    rng = np.random.default_rng(seed)
    return (rng.random((n_pairs, n_concepts)) < rate) * rng.gamma(2, scale, (n_pairs, n_concepts))


def test_four_pairs_by_hand():
    """Concept 0: 4, 0, 0, 0 against 0, 2, 0, 0. Concept 1 fires nowhere. Concept 2: one against three."""
    real = np.array([[4.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    gen = np.array([[0.0, 0, 3], [2, 0, 3], [0, 0, 3], [0, 0, 3]])
    found = weigh(real, gen, least_images=1, **QUICK)
    assert found.energy_real.tolist() == [1, 0, 1]
    assert found.energy_gen.tolist() == [0.5, 0, 3]
    assert found.n_fired_real.tolist() == [1, 0, 4]
    assert found.n_fired_gen.tolist() == [1, 0, 4]
    assert found.delta("ratio")[[0, 2]].tolist() == pytest.approx([1 / 3, 0.75])
    assert np.isnan(found.delta("ratio")[1])
    # Differences -4 and 2: all four patterns reach 2. Differences 2, 2, 2, 2: 2 of 16 patterns reach 8.
    assert found.p.tolist() == [1.0, 1.0, 0.125]
    assert found.tested.tolist() == [True, False, True]
    assert found.q[[0, 2]].tolist() == [1.0, 0.25]
    # No pair differs from another in concept 2, so no resample does.
    low, high = found.interval("ratio")
    assert (low[2], high[2]) == pytest.approx((0.75, 0.75))
    low, high = found.interval("absolute")
    assert low[2] == pytest.approx(1 / (1 + np.exp(-2 / 0.8)))


def test_intervals_agree_with_scipys_bca():
    real, gen = energies(120, 1, 1), energies(120, 1, 2, scale=1.5)
    found = weigh(real, gen, n_resamples=4000, n_flips=200)
    reference = stats.bootstrap(
        (real[:, 0], gen[:, 0]),
        lambda r, g, axis=-1: (g.mean(axis) - r.mean(axis)) / (g.mean(axis) + r.mean(axis)),
        paired=True,
        n_resamples=4000,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    width = reference.high - reference.low
    assert found.rel_low[0] == pytest.approx(reference.low, abs=0.06 * width)
    assert found.rel_high[0] == pytest.approx(reference.high, abs=0.06 * width)


def test_a_ratio_of_known_size_is_covered():
    """True E_gen / (E_gen + E_real) = 0.6, at 500 pairs, 2,000 concepts: 93 to 97% of intervals hold it."""
    real, gen = energies(500, 2000, 3, scale=1.0), energies(500, 2000, 4, scale=1.5)
    low, high = weigh(real, gen, n_resamples=1000, n_flips=100).interval("ratio")
    assert 0.93 <= np.mean((low <= 0.6) & (high >= 0.6)) <= 0.97


def test_a_side_that_never_fires_is_not_called_certain():
    """Ten of 200 fire with 2 each, none of 200 on the other side: its rate may still be up to 1.8%."""
    real, gen = np.zeros((200, 2)), np.zeros((200, 2))
    real[:10, 0], gen[:10, 1] = 2, 2
    found = weigh(real, gen, **QUICK)
    rate = 1 - 0.025 ** (1 / 200)
    hidden = rate * 2 / (rate * 2 + 0.1)
    low, high = found.interval("ratio")
    assert (low[0], high[0]) == pytest.approx((0, hidden), abs=1e-6)
    assert (low[1], high[1]) == pytest.approx((1 - hidden, 1), abs=1e-6)


def test_labels_by_hand():
    delta = np.array([0.05, 0.05, 0.95, 0.5, 0.5, 0.2, np.nan])
    low = np.array([0.01, 0.01, 0.92, 0.4, 0.05, 0.15, np.nan])
    high = np.array([0.09, 0.5, 0.99, 0.6, 0.6, 0.3, np.nan])
    q = np.array([0.01, 0.2, 0.01, 0.9, 0.9, 0.001, np.nan])
    assert label_concepts(delta, low, high, q).tolist() == [
        "suppressed",
        "uncertain",  # beyond the threshold, but it may be chance
        "exaggerated",
        "aligned",
        "uncertain",  # the interval reaches beyond a threshold
        "aligned",  # surely different, but less than the threshold asks for
        "uncertain",
    ]


def test_q_by_hand():
    """Benjamini-Hochberg of 0.01, 0.02, 0.9 among three: 0.03, 0.03, 0.9; the untested takes no part."""
    q = adjusted(np.array([0.01, 0.5, 0.02, 0.9]), np.array([True, False, True, True]))
    assert q[[0, 2, 3]].tolist() == pytest.approx([0.03, 0.03, 0.9])
    assert np.isnan(q[1])


def test_halves_of_one_set_do_not_differ():
    """Over 200 deals of the same images to two sides p is uniform, and next to no q falls below 0.05."""
    images = energies(300, 40, 5)
    p, found = [], []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(300)
        evidence = weigh(images[order[:150]], images[order[150:]], n_resamples=100, n_flips=400, seed=seed)
        p.append(evidence.p)
        found.append(evidence.q < 0.05)
    assert np.mean(found) <= 0.05
    rejected = [stats.kstest(column, "uniform").pvalue < 0.05 for column in np.array(p).T]
    # 40 concepts: 5% of the checks may fail by chance; 7 or more would in one of 300 such runs.
    assert sum(rejected) <= 6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_sides_mirrors_everything(seed):
    real, gen = energies(40, 6, seed), energies(40, 6, seed + 1)
    there, back = weigh(real, gen, **QUICK, seed=1), weigh(gen, real, **QUICK, seed=1)
    assert there.p == pytest.approx(back.p)
    for form in FORMS:
        assert there.delta(form) == pytest.approx(1 - back.delta(form), nan_ok=True)
        (low, high), (low_back, high_back) = there.interval(form), back.interval(form)
        assert low == pytest.approx(1 - high_back, abs=0.02, nan_ok=True)
        assert high == pytest.approx(1 - low_back, abs=0.02, nan_ok=True)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_pairs_and_the_scale_of_a_concept_do_not_matter(seed):
    real, gen = energies(40, 6, seed), energies(40, 6, seed + 1)
    order = np.random.default_rng(seed).permutation(40)
    plain, shuffled = weigh(real, gen, **QUICK), weigh(real[order], gen[order], **QUICK)
    assert plain.delta("ratio") == pytest.approx(shuffled.delta("ratio"), nan_ok=True)
    few = np.minimum(plain.n_fired_real + plain.n_fired_gen, 99) <= 12
    assert plain.p[few] == pytest.approx(shuffled.p[few])
    scaled = weigh(real * 7, gen * 7, **QUICK)
    assert scaled.p == pytest.approx(plain.p)
    assert scaled.interval("ratio")[0] == pytest.approx(plain.interval("ratio")[0], abs=1e-5, nan_ok=True)


def test_more_effect_is_more_evidence():
    real = energies(100, 1, 8, rate=0.8)
    effects = [weigh(real, real * (1 + gain), **QUICK).p[0] for gain in (0.0, 0.1, 0.5)]
    assert effects[0] == 1.0
    assert effects[1] >= effects[2]
    deltas = [weigh(real, real * (1 + gain), **QUICK).delta("ratio")[0] for gain in (0.0, 0.1, 0.5)]
    assert deltas == sorted(deltas)


def test_sparse_and_dense_sides_are_the_same():
    real, gen = energies(50, 5, 1), energies(50, 5, 2)
    dense, thin = weigh(real, gen, **QUICK), weigh(sparse.csr_array(real), sparse.csc_array(gen), **QUICK)
    assert np.array_equal(dense.p, thin.p)
    assert np.array_equal(dense.rel_low, thin.rel_low, equal_nan=True)


def test_resamples_draw_as_many_pairs_as_there_are():
    weights = bootstrap_weights(30, 50, np.random.default_rng(0))
    assert weights.sum(0).tolist() == pytest.approx([1] * 50)
    assert np.allclose(weights * 30, np.rint(weights * 30))


@pytest.mark.parametrize(
    ("real", "gen", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "same pairs"),
        (np.ones((0, 2)), np.ones((0, 2)), "no pair"),
        (np.array([[np.nan, 1]]), np.ones((1, 2)), "numbers >= 0"),
        (np.array([[-1.0, 1]]), np.ones((1, 2)), "numbers >= 0"),
    ],
)
def test_sides_that_cannot_be_compared_are_refused(real, gen, message):
    with pytest.raises(ValueError, match=message):
        weigh(real, gen, **QUICK)


def test_one_pair_constant_and_empty_concepts_are_uncertain_or_aligned():
    one = weigh(np.array([[1.0, 0, 2]]), np.array([[3.0, 0, 2]]), **QUICK)
    assert one.p.tolist() == [1, 1, 1]
    assert not one.tested.any()
    constant = weigh(np.ones((50, 1)), np.ones((50, 1)), **QUICK)
    assert (constant.rel_low[0], constant.rel_high[0]) == (0, 0)
    assert constant.p[0] == 1
