"""The map: exact neighbours, seeded positions, added atoms, regions and the test of clustering."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.measures.layout import nearest_atoms, place_beside, umap_positions
from pipeline.measures.regions import (
    find_regions,
    nearest_points,
    neighbour_agreement,
    prevalence_strata,
    region_words,
)


def blobs(n: int = 40, n_blobs: int = 3, seed: int = 0) -> np.ndarray:
    """Unit atoms around a few directions of 12 dimensions, blob by blob."""
    rng = np.random.default_rng(seed)
    centres = np.eye(12)[:n_blobs]
    return np.concatenate([centre + 0.05 * rng.normal(size=(n, 12)) for centre in centres])


def test_nearest_atoms_by_cosine():
    dictionary = np.array([[1.0, 0], [10, 1], [0, 1], [-1, 0]])
    ids, cosines = nearest_atoms(dictionary, 2)
    assert ids[0].tolist() == [1, 2]
    assert cosines[0].tolist() == pytest.approx([10 / np.sqrt(101), 0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), top=st.integers(0, 9))
def test_nearest_atoms_equal_a_full_sort(seed, top):
    atoms = np.random.default_rng(seed).integers(-1, 2, (9, 3)).astype(float)  # ties, copies and zeros
    ids, cosines = nearest_atoms(atoms, top)
    unit = (atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    gram = unit @ unit.T
    assert ids.shape == (9, min(top, 8))
    for a in range(9):
        others = [b for b in sorted(range(9), key=lambda b: (-gram[a, b], b)) if b != a][:top]
        assert ids[a].tolist() == others
        assert cosines[a] == pytest.approx(gram[a, others])


def test_the_same_seed_gives_the_same_map_and_keeps_blobs_apart():
    atoms = blobs()
    first, again = (umap_positions(atoms, seed=3) for _ in range(2))
    assert np.array_equal(first, again) and first.dtype == np.float32
    assert not np.array_equal(first, umap_positions(atoms, seed=4))
    near = nearest_points(first, 5)
    assert (near // 40 == np.arange(120)[:, None] // 40).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_few_atoms_have_a_map(n):
    positions = umap_positions(np.eye(8)[:n] + 0.1)
    assert positions.shape == (n, 2) and np.isfinite(positions).all()
    assert len(np.unique(positions, axis=0)) == n
    assert (find_regions(positions) == -1).all()


def test_dead_and_equal_atoms_have_a_place():
    atoms = blobs(10)
    atoms[3] = 0
    atoms[5] = atoms[6]
    assert np.isfinite(umap_positions(atoms)).all()


def test_added_atoms_lie_beside_their_nearest():
    old, positions = np.eye(4), np.array([[0.0, 0], [4, 0], [0, 4], [4, 4]], np.float32)
    new = np.array([[0, 3, 0, 0], [1, 1, 0, 0]])  # a copy of the second, and the middle of the first two
    placed = place_beside(new, old, positions, n_neighbors=2)
    assert placed[0] == pytest.approx([4, 0], abs=1e-4)
    assert placed[1] == pytest.approx([2, 0], abs=1e-4)


def test_regions_are_the_dense_parts_largest_first():
    rng = np.random.default_rng(0)
    groups = [rng.normal(centre, 0.1, (n, 2)) for centre, n in (((0, 0), 20), ((9, 0), 60), ((0, 9), 20))]
    alone = np.array([[30.0, 30.0]])
    region = find_regions(np.concatenate([*groups, alone]), 10)
    assert [set(part) for part in np.split(region, [20, 80, 100])] == [{1}, {0}, {2}, {-1}]


def test_words_of_a_region_are_those_of_many_members_and_few_others():
    region = np.array([0] * 10 + [1] * 10 + [-1] * 10)
    words = [["dog", "grass"]] * 6 + [["dog", "cat"]] + [["grass"]] * 3
    words += [["star", "grass"]] * 5 + [["moon", "grass"]] * 4 + [["pearl"]] + [["grass"]] * 10
    found = region_words(region, words, 2)
    assert found == [["dog"], ["star", "moon"]]  # grass is everywhere; cat and pearl are of one concept alone
    assert region_words(region, [[]] * 30) == [[], []]
    assert region_words(np.full(30, -1), words) == []


def test_agreement_by_hand():
    # A ring of six; three of a kind in a row have neighbours of the kind: 1, 2, 1 of 2 each.
    ring = np.array([[(i - 1) % 6, (i + 1) % 6] for i in range(6)])
    kind = np.array([True, True, True, False, False, False])
    found = neighbour_agreement(ring, kind, n_shuffles=2000)
    assert found.value == pytest.approx(2 / 3)
    # Of the 20 ways to choose three of six, 6 are in a row; otherwise 0 or 1/3: expected 2 of 5 others.
    assert found.shuffled == pytest.approx(0.4, abs=0.02)
    assert found.p == pytest.approx(6 / 20, abs=0.03)
    usable = ring != 0  # as if concept 0 were a near-duplicate of its neighbours
    assert neighbour_agreement(ring, kind, usable=usable, n_shuffles=100).value == pytest.approx(
        (0.5 + 1 + 0.5) / 3
    )
    assert neighbour_agreement(ring, np.zeros(6, bool)) is None
    assert neighbour_agreement(ring, np.ones(6, bool)) is None


def test_shuffles_stay_within_ranges_of_prevalence():
    """All of the kind are frequent, and frequent concepts are neighbours: that alone is no agreement."""
    line = np.arange(40)[:, None] + np.zeros(2)
    near = nearest_points(line, 3)
    kind = np.arange(40) < 20
    strata = (np.arange(40) >= 20).astype(int)
    assert neighbour_agreement(near, kind, n_shuffles=200).p < 0.02
    assert neighbour_agreement(near, kind, strata=strata, n_shuffles=200).p == 1


def test_labels_at_random_do_not_cluster():
    """p-values under the null are uniform: a tenth of them lie below 0.1, within four standard errors."""
    rng = np.random.default_rng(0)
    near = nearest_points(rng.normal(size=(80, 2)), 6)
    p = [neighbour_agreement(near, rng.random(80) < 0.3, n_shuffles=200).p for _ in range(150)]
    assert abs(np.mean(np.array(p) < 0.1) - 0.1) < 4 * np.sqrt(0.09 / 150)


def test_nearest_points_of_points_on_one_spot():
    spots = np.zeros((5, 2))
    near = nearest_points(spots, 3)
    assert near.shape == (5, 3)
    assert all(i not in row and len(set(row)) == 3 for i, row in enumerate(near.tolist()))
    assert nearest_points(np.zeros((1, 2)), 3).shape == (1, 0)


def test_ranges_of_prevalence_hold_equally_many():
    strata = prevalence_strata(np.array([5, 1, 9, 0, 7, 3, 3, 2, 8, 6]))
    assert sorted(strata.tolist()) == list(range(10))
    assert strata[3] == 0 and strata[2] == 9
