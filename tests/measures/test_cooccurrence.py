"""Co-occurrence against the dense Gram, and communities of small graphs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from pipeline.measures import cooccurrence as module
from pipeline.measures.communities import communities
from pipeline.measures.cooccurrence import ImageSet, cooccurrence, image_set

N_CONCEPTS = 7


@st.composite
def codes(draw) -> tuple[np.ndarray, np.ndarray, int]:
    """Sparse codes of a few images, some of them without a code, and concepts that may never fire."""
    n_images, n_tokens = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (n_images * n_tokens, N_CONCEPTS)
    values = rng.gamma(2, 1, shape) * (rng.random(shape) < draw(st.sampled_from([0, 0.1, 0.3, 0.9])))
    return values.astype(np.float32), np.repeat(np.arange(n_images), n_tokens), n_images


def every_pair(n: int = N_CONCEPTS) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n, 1)


def dense_presence(values: np.ndarray, image: np.ndarray, n_images: int) -> np.ndarray:
    return np.stack([(values[image == i] > 0).any(0) for i in range(n_images)]).astype(float)


@given(codes())
def test_it_equals_the_dense_gram(given_codes):
    values, image, n = given_codes
    found = cooccurrence(image_set(sparse.csr_array(values), image, n), 0, also=every_pair())
    a, b = found.concept_a, found.concept_b
    assert (a.tolist(), b.tolist()) == tuple(axis.tolist() for axis in every_pair())
    gram = values.astype(float).T @ values.astype(float) / n
    assert np.allclose(found.strength, gram[a, b], rtol=1e-6, atol=1e-6)
    present = dense_presence(values, image, n)
    both, fired = present.T @ present, present.sum(0)
    assert found.n_images.tolist() == both[a, b].tolist()
    assert (found.n_a.tolist(), found.n_b.tolist()) == (fired[a].tolist(), fired[b].tolist())
    for row in range(len(a)):
        one, two = present[:, a[row]], present[:, b[row]]
        assert found.lift[row] == pytest.approx(
            (one * two).mean() / (one.mean() * two.mean()) if one.any() and two.any() else 0
        )
        varies = one.std() > 0 and two.std() > 0
        expected = np.corrcoef(one, two)[0, 1] if varies else 0
        assert found.correlation[row] == pytest.approx(expected, abs=1e-6)


@given(codes(), st.integers(1, 3), st.integers(1, 3))
def test_each_concept_keeps_its_best_partners(given_codes, top, least):
    values, image, n = given_codes
    images = image_set(sparse.csr_array(values), image, n)
    found = cooccurrence(images, top, least)
    whole = cooccurrence(images, 0, also=every_pair())
    both, strength, likeness = (np.zeros((N_CONCEPTS, N_CONCEPTS)) for _ in range(3))
    for square, column in ((both, "n_images"), (strength, "strength"), (likeness, "correlation")):
        square[whole.concept_a, whole.concept_b] = square[whole.concept_b, whole.concept_a] = getattr(
            whole, column
        )
    wanted = set()
    for concept in range(N_CONCEPTS):
        for square in (strength, likeness):
            ranked = sorted(range(N_CONCEPTS), key=lambda other, row=square[concept]: (-row[other], other))
            fit = [o for o in ranked if square[concept, o] > 1e-9 and both[concept, o] >= least]
            # Correlations that are equal by hand may differ in the last bit.
            edge = square[concept, fit[top - 1]] if len(fit) > top else 0
            if square is likeness and len(fit) > top and np.isclose(square[concept, fit[top]], edge):
                return
            wanted |= {(min(concept, other), max(concept, other)) for other in fit[:top]}
    assert set(zip(found.concept_a.tolist(), found.concept_b.tolist(), strict=True)) == wanted
    assert found.top.all()


def test_of_equal_partners_the_lowest_ids_are_kept():
    images = image_set(sparse.csr_array(np.ones((1, 5))), np.zeros(1, int), 1)
    found = cooccurrence(images, 1)
    assert list(zip(found.concept_a.tolist(), found.concept_b.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
    ]


def test_partners_are_those_on_the_token_and_those_in_the_image():
    """0 and 1 share every token. 2 is never on a token with 0, but in all of its images."""
    tokens = np.array([[1, 1, 0, 0], [0, 0, 2, 0], [3, 3, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    found = cooccurrence(image_set(sparse.csr_array(tokens), np.array([0, 0, 1, 1, 2, 2]), 3), 2)
    rows = {
        (int(a), int(b)): row for row, (a, b) in enumerate(zip(found.concept_a, found.concept_b, strict=True))
    }
    assert set(rows) == {(0, 1), (0, 2), (1, 2)}
    assert found.strength[rows[0, 1]] == pytest.approx((1 * 1 + 3 * 3) / 3)
    assert found.strength[rows[0, 2]] == 0 and found.correlation[rows[0, 2]] == pytest.approx(1)
    assert found.lift[rows[0, 2]] == pytest.approx((2 / 3) / (2 / 3 * 2 / 3))


def test_blocks_and_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.random((60, 40)) * (rng.random((60, 40)) < 0.2)
    images = image_set(sparse.csr_array(values), np.repeat(np.arange(12), 5), 12)
    also = (np.array([3, 3, 38]), np.array([4, 39, 39]))
    whole = cooccurrence(images, 4, 1, also)
    assert not whole.top.all() and whole.top.any()
    for size in (1, 7, 40):
        monkeypatch.setattr(module, "BLOCK", size)
        for name, column in vars(cooccurrence(images, 4, 1, also)).items():
            assert np.array_equal(column, getattr(whole, name)), name


@pytest.mark.parametrize("n_images", [0, 1])
def test_nothing_fires(n_images):
    images = image_set(sparse.csr_array((2 * n_images, 3)), np.zeros(2 * n_images, int), n_images)
    found = cooccurrence(images, 5)
    assert all(len(column) == 0 for column in vars(found).values())
    asked = cooccurrence(images, 5, also=(np.array([0]), np.array([2])))
    assert asked.n_images.tolist() == [0] and asked.lift.tolist() == [0] and not asked.top[0]


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="codes must be numbers >= 0; a negative"):
        image_set(sparse.csr_array(np.array([[1.0, -1]])), np.zeros(1, int), 1)
    images = ImageSet(sparse.csr_array((1, 3)), sparse.csr_array((1, 3)))
    with pytest.raises(ValueError, match="the smaller id first"):
        cooccurrence(images, 1, also=(np.array([2]), np.array([1])))


def test_communities_are_the_cliques():
    """Two triangles and a pair, held together by one weak link; 8 goes with nothing."""
    a = np.array([0, 0, 1, 3, 3, 4, 6, 2, 2])
    b = np.array([1, 2, 2, 4, 5, 5, 7, 3, 8])
    weight = np.array([1, 1, 1, 1, 1, 1, 1, 0.1, -1])
    found = communities(a, b, weight, 9, seed=3)
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, -1]
    assert communities(a[:0], b[:0], weight[:0], 2).tolist() == [-1, -1]


def test_communities_are_the_same_for_the_same_seed():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 99, 800)
    pairs = (a, a + rng.integers(1, 100 - a), rng.random(800), 100)
    assert np.array_equal(communities(*pairs, seed=1), communities(*pairs, seed=1))
