"""What changes about the company of concepts: by hand, by exact tests, and in worlds with a planted fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import binomtest, fisher_exact

from pipeline.measures.company import Side, company_change, shared_count_test


def side(presence: np.ndarray, pair: np.ndarray | None = None) -> Side:
    return Side(sparse.csr_array(presence.astype(float)), np.arange(len(presence)) if pair is None else pair)


def change(real: np.ndarray, gen: np.ndarray, **settings):
    """All pairs of concepts of two worlds with the same captions."""
    a, b = np.triu_indices(real.shape[1], 1)
    return company_change(side(real), side(gen), a, b, n_pairs=len(real), **settings), a, b


def two(n: int, n_a: int, n_b: int, n_both: int) -> np.ndarray:
    """A world of two concepts with these counts."""
    world = np.zeros((n, 2))
    world[:n_a, 0] = 1
    world[n_a - n_both : n_a - n_both + n_b, 1] = 1
    return world


def test_the_difference_by_hand():
    """The prevalences stay: the share of 20 images falls by 12, half an image added to either end."""
    found, *_ = change(two(100, 20, 40, 20), two(100, 20, 40, 8))
    assert found.difference[0] == pytest.approx((8.5 - 20.5) / 21, abs=1e-6)
    assert found.low[0] < found.difference[0] < found.high[0] < 0
    assert found.sure[0] == found.high[0] and found.q[0] < 0.05


def test_below_chance_it_is_the_lift_that_counts():
    """From 5 of 50 at P = 0.5 to 5 of 50 at P = 0.25: both lifts fall short of chance, by hand."""
    found, *_ = change(two(200, 50, 100, 5), two(200, 50, 50, 5))
    share, p_real, p_gen = 5.5 / 51, 100.5 / 201, 50.5 / 201
    middle = (p_real + p_gen) / 2
    expected = middle * ((share - p_gen) / p_gen - (share - p_real) / p_real)
    assert found.difference[0] == pytest.approx(expected, abs=1e-6)


def test_a_concept_drawn_less_often_is_not_driven_apart():
    rng = np.random.default_rng(0)
    real = rng.random((4000, 2)) < 0.4
    real[:, 1] &= real[:, 0]  # 1 is never without 0
    fewer = real.copy()
    fewer[:, 1] &= rng.random(4000) < 0.3  # the rarer one is suppressed
    jointly = real & (rng.random(4000) < 0.3)[:, None]  # both are
    alone = rng.random((4000, 2)) < 0.4
    less = alone.copy()
    less[:, 0] &= rng.random(4000) < 0.3  # the one of two that have nothing to do with each other
    hidden = real.copy()
    hidden[:, 0] &= rng.random(4000) < 0.5  # the commoner one is, also where the rarer one is drawn
    for before, after in ((real, fewer), (real, jointly), (real, hidden), (alone, less)):
        found, *_ = change(before, after)
        assert abs(found.difference[0]) < 0.05 and found.sure[0] == 0
    together = company_strength(real), company_strength(fewer)
    assert together[1] < together[0] / 2  # as it is with the plain share of images that have both


def test_what_is_drawn_more_often_may_be_driven_apart_too():
    """Real: always together. Generated: one in more than twice as many images, wherever the other is."""
    rng = np.random.default_rng(5)
    real = np.repeat(rng.random((1000, 1)) < 0.25, 2, axis=1)
    gen = np.stack([real[:, 0], rng.random(1000) < 0.6], axis=1)
    found, *_ = change(real, gen)
    assert found.sure[0] < -0.4 and found.q[0] < 1e-12


def company_strength(world: np.ndarray) -> float:
    return float(world.all(1).mean())


@pytest.mark.parametrize("seed", range(3))
def test_what_always_goes_together_and_is_broken_apart_comes_first(seed):
    """Two attributes of a world of exclusive values and free concepts; the generator draws one at random."""
    rng = np.random.default_rng(seed)
    n = 400
    shape, colour = rng.integers(0, 4, n), rng.integers(0, 4, n)
    colour[shape == 0], shape[colour == 0] = 0, 0  # value 0 of either goes with value 0 of the other
    free = rng.random((n, 20)) < rng.uniform(0.05, 0.6, 20)

    def drawn(colour: np.ndarray, rate: float) -> np.ndarray:
        world = np.concatenate([np.eye(4)[shape], np.eye(4)[colour], free], axis=1) > 0
        redrawn = rng.random(world.shape) < rate
        return np.where(redrawn, rng.random(world.shape) < world.mean(0), world)

    found, a, b = change(drawn(colour, 0.02), drawn(rng.permutation(colour), 0.1))
    first = int(np.argmin(found.sure))
    assert (a[first], b[first]) == (0, 4)
    assert int(np.argmax(np.abs(found.sure))) == first
    assert found.q[first] < 1e-6
    assert (found.sure[(a >= 8)] == 0).all()  # of the free concepts none


def test_pairs_that_do_not_change_are_left_alone():
    """No more than chance by p, none by q; though the generator draws each concept at its own rate."""
    rng = np.random.default_rng(1)
    n = 600
    topic = rng.random((n, 1)) < 0.3
    rate = np.where(topic, rng.uniform(0.2, 0.7, 30), rng.uniform(0.0, 0.2, 30))
    real = rng.random((n, 30)) < rate
    gen = (rng.random((n, 30)) < rate) & (rng.random((n, 30)) < rng.uniform(0.3, 1, 30))
    found, *_ = change(real, gen)
    assert np.mean(found.p < 0.05) < 0.06
    assert np.mean(found.p < 0.001) < 0.005
    assert np.sum(found.q < 0.05) <= 1


def test_the_interval_covers_the_truth():
    """300 independent pairs of concepts with one truth: P(b) = 0.3; P(b | a) falls from 0.8 to 0.5."""
    rng = np.random.default_rng(2)
    n, m = 300, 300

    def world(together: float) -> np.ndarray:
        a = rng.random((n, m)) < 0.15
        otherwise = (0.3 - 0.15 * together) / 0.85
        return np.concatenate([a, rng.random((n, m)) < np.where(a, together, otherwise)], axis=1)

    ids = np.arange(m)
    found = company_change(side(world(0.8)), side(world(0.5)), ids, ids + m, n_pairs=n, n_resamples=400)
    covered = np.mean((found.low <= -0.3) & (found.high >= -0.3))
    assert 0.92 <= covered <= 0.98  # of 300 draws at 0.95, three standard errors are 0.04


def test_few_images_say_little():
    found, *_ = change(two(500, 4, 4, 4), two(500, 4, 4, 0))
    assert found.high[0] - found.low[0] > 0.3 and found.p[0] > 0.02
    many, *_ = change(two(500, 100, 100, 100), two(500, 100, 100, 0))
    assert many.high[0] - many.low[0] < 0.1 and many.q[0] < 1e-12
    rare, *_ = change(two(500, 2, 2, 2), two(500, 2, 2, 0), least_images=3)
    assert np.isnan(rare.q[0]) and rare.sure[0] == 0 and not np.isnan(rare.difference[0])


@given(st.integers(3, 60), st.data())
def test_where_chance_plays_no_part_p_is_close_to_fishers(rarer, data):
    """Frequent concepts of a huge set: P is near 0, and the shares of the rarer one's images are compared."""
    x_real, x_gen = (data.draw(st.integers(0, rarer)) for _ in range(2))
    counts = [np.array([[x], [rarer], [rarer]]) for x in (x_real, x_gen)]
    p = shared_count_test(*counts, n_pairs=10**9)[0]
    exact = fisher_exact([[x_real, rarer - x_real], [x_gen, rarer - x_gen]]).pvalue
    assert 0 < p <= 1
    if exact < 1e-300 or x_real == x_gen:
        return
    # Not far below the exact one, and in the tail not far above in logarithms.
    assert p >= 0.25 * exact
    assert np.log(p) <= 0.5 * np.log(exact) + 0.1


@given(st.integers(0, 30), st.integers(0, 30), st.sampled_from([0.2, 1, 5]))
def test_with_rare_company_p_is_the_exact_test_of_two_rates(x_real, x_gen, times):
    """One concept fires `times` as often in the generated images; so would both together, by chance."""
    counts = [np.array([[x_real], [10**8], [10**6]]), np.array([[x_gen], [10**8], [int(10**6 * times)]])]
    p = shared_count_test(*counts, n_pairs=10**12)[0]
    share, n = times / (1 + times), x_real + x_gen
    if n == 0:
        assert p == 1
        return
    tails = [binomtest(x_gen, n, share, alternative=way).pvalue for way in ("less", "greater")]
    assert p == pytest.approx(min(1, 2 * min(tails)), rel=0.02)


def test_several_images_of_a_caption_count_as_one():
    rng = np.random.default_rng(3)
    real, gen = (rng.random((50, 4)) < 0.4 for _ in range(2))
    a, b = np.triu_indices(4, 1)
    once, *_ = change(real, gen)
    double = side(np.repeat(gen, 2, axis=0), np.repeat(np.arange(50), 2))
    twice = company_change(side(real), double, a, b, n_pairs=50)
    for name, column in vars(once).items():
        assert np.allclose(column, getattr(twice, name), atol=1e-5), name


def test_the_seed_decides():
    rng = np.random.default_rng(4)
    worlds = [rng.random((40, 5)) < 0.4 for _ in range(2)]
    one, again, other = (change(*worlds, seed=seed)[0] for seed in (5, 5, 6))
    assert all(np.array_equal(one.low, again.low) for _ in range(1)) and np.array_equal(one.q, again.q)
    assert not np.array_equal(one.low, other.low) and np.array_equal(one.difference, other.difference)


def test_what_never_fires_has_no_company():
    world = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]])
    found, *_ = change(world, world)
    assert np.isnan(found.difference).tolist() == [False, True, True]
    assert all(np.isnan(column[1:]).all() for column in vars(found).values())
    nothing = company_change(side(world[:0]), side(world[:0]), np.array([0]), np.array([1]), n_pairs=0)
    assert all(np.isnan(column).all() for column in vars(nothing).values())


def test_one_image():
    found, *_ = change(np.ones((1, 2)), np.ones((1, 2)))
    assert found.difference[0] == pytest.approx(0) and found.p[0] == 1 and found.low[0] <= 0 <= found.high[0]
