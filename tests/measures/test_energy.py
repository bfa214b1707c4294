"""Energies worked out by hand: three images, four concepts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.energy import FORMS, energy_difference, image_energies

# image, token, concept, code. Concept 3 never fires.
CODES = np.array(
    [
        (0, 0, 0, 1.0),
        (0, 1, 0, 2.0),
        (0, 1, 1, 0.5),
        (1, 0, 1, 4.0),
        (1, 2, 1, 4.0),
        (2, 0, 2, 3.0),
    ]
)


def energies(codes):
    image, token, concept, activation = codes.T
    return image_energies(
        image.astype(int), token.astype(int), concept.astype(int), activation.astype(np.float32)
    )


def dense(found, n_images=3, n_concepts=4):
    out = np.zeros((n_images, n_concepts))
    out[found.image, found.concept] = found.energy
    return out


def test_energy_is_the_sum_over_tokens():
    assert dense(energies(CODES)).tolist() == [[3, 0.5, 0, 0], [0, 8, 0, 0], [0, 0, 3, 0]]


def test_peak_is_the_largest_code_and_its_first_token():
    found = energies(CODES)
    assert found.peak.tolist() == [2, 0.5, 4, 3]
    assert found.peak_token.tolist() == [1, 1, 0, 0]


def test_the_order_of_the_codes_does_not_matter():
    shuffled = energies(CODES[[5, 2, 0, 4, 1, 3]])
    for a, b in zip(vars(shuffled).values(), vars(energies(CODES)).values(), strict=True):
        assert a.tolist() == b.tolist()


def test_batch_size_does_not_matter():
    """Images encoded one at a time have the energies that they have together."""
    alone = [dense(energies(CODES[CODES[:, 0] == image]))[image] for image in range(3)]
    assert np.array_equal(np.stack(alone), dense(energies(CODES)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_a_code_that_is_no_positive_number_is_refused(bad):
    codes = CODES.copy()
    codes[3, 3] = bad
    with pytest.raises(ValueError, match="finite and positive"):
        energies(codes)


def test_no_codes_are_no_energies():
    assert len(energies(CODES[:0]).energy) == 0


def test_the_three_forms_by_hand():
    """E_real = (1, 8/3, 1, 0) from the images above, E_gen = (3, 0, 1, 0)."""
    real, gen = dense(energies(CODES)).mean(0), np.array([3.0, 0.0, 1.0, 0.0])
    assert real.tolist() == pytest.approx([1, 8.5 / 3, 1, 0])
    ratio = energy_difference(real, gen, "ratio")
    assert ratio[:3].tolist() == pytest.approx([0.75, 0, 0.5])
    absolute = energy_difference(real, gen, "absolute")
    # sigmoid(2 / 0.8) = 1 / (1 + e^-2.5) = 0.92414
    assert absolute[0] == pytest.approx(0.92414, abs=1e-5)
    relative = energy_difference(real, gen, "relative")
    # rel = 0.5; sigmoid(0.5 / 0.4) = 0.77730. rel = -1: sigmoid(-2.5) = 0.07586, its lower end.
    assert relative[:3].tolist() == pytest.approx([0.77730, 0.07586, 0.5], abs=1e-5)
    for form in FORMS:
        assert np.isnan(energy_difference(real, gen, form)[3])


pairs = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=20)


@given(pairs, st.sampled_from(FORMS))
def test_swapping_the_sides_mirrors_the_difference(sides, form):
    real, gen = np.array(sides).T
    there, back = energy_difference(real, gen, form), energy_difference(gen, real, form)
    assert np.allclose(there, 1 - back, equal_nan=True, atol=1e-12)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_ratio_and_relative_do_not_depend_on_a_concepts_scale(real, gen, scale):
    for form in ("ratio", "relative"):
        plain = energy_difference(np.array([real]), np.array([gen]), form)
        assert energy_difference(np.array([real * scale]), np.array([gen * scale]), form) == pytest.approx(
            plain
        )


@given(st.floats(0.1, 100), st.floats(0, 100), st.floats(0.01, 10), st.sampled_from(FORMS))
def test_more_generated_energy_is_never_a_smaller_difference(real, gen, more, form):
    low, high = energy_difference(np.array([real, real]), np.array([gen, gen + more]), form)
    assert high >= low


def test_negative_or_missing_energies_are_refused():
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="numbers >= 0"):
            energy_difference(np.array([bad]), np.array([1.0]), "ratio")
    with pytest.raises(ValueError, match="absolute, relative, ratio"):
        energy_difference(np.ones(1), np.ones(1), "odd")
