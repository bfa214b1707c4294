"""Words for concepts, against terms read off by hand, dense references and planted captions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from pipeline.measures.naming import (
    Evidence,
    caption_terms,
    count_terms,
    evidence_words,
    least_score,
    mentions,
    over_represented,
    phrase_scores,
    say_once,
    strong_images,
)

FIND = {
    "strong_share": 0.5,
    "least_strong": 5,
    "least_images": 3,
    "longest": 2,
    "n_words": 3,
    "level": 0.05,
}


def test_terms_are_words_and_neighbours_within_punctuation():
    terms = caption_terms("A Red-Hot star, the bird's t-shirt", 2)
    single = {"red-hot", "star", "the", "bird's", "t-shirt"}
    assert set(terms) == single | {"a red-hot", "red-hot star", "the bird's", "bird's t-shirt"}
    assert caption_terms("a b c", 1) == []  # single letters
    assert caption_terms("one two three", 3)[-1] == "one two three"


@pytest.mark.parametrize(
    ("caption", "said", "never"),
    [
        ("लाल तारा", {"लाल", "तारा", "लाल तारा"}, {"ल", "त"}),  # vowel signs belong to the word
        ("مثلث أحمر على خلفية", {"مثلث", "أحمر", "مثلث أحمر"}, set()),
        ("مُثَلَّث", {"مُثَلَّث"}, set()),  # with its vowels written
        ("一只红色的鸟", {"鸟", "红色", "红色的"}, {"一只红色"}),  # no spaces: one to three characters
        ("赤いフライパン", {"赤い", "フライパン"}, {"い"}),
        ("นกสีแดง", {"นก", "แดง"}, {"น"}),
        ("красная звезда", {"красная", "звезда", "красная звезда"}, set()),
        ("ＲＥＤ １０", {"red", "10", "red 10"}, set()),  # full width
        ("🦜 🎈 !!! \u202e", set(), {"🦜"}),
        ("", set(), {""}),
    ],
)
def test_terms_of_other_scripts(caption, said, never):
    terms = set(caption_terms(caption, 2))
    assert said <= terms and not never & terms


def test_mentions_are_whole_words_in_any_case():
    captions = ["Red stars and a BIRD feeder", "a feeder for a bird", "infrared", "红色的鸟"]
    terms = ["red", "bird feeder", "Feeder", "红色", "green", "<b>"]
    expected = [[1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    assert mentions(captions, terms).toarray().tolist() == expected
    assert mentions([], ["red"]).shape == (0, 1) and mentions(["red"], []).shape == (1, 0)


def test_terms_with_stop_words_or_thin_support_do_not_count():
    counts, terms = count_terms(["the red star", "a red moon", "of the moon"], longest=2, least_images=2)
    assert terms.tolist() == ["moon", "red"]
    assert counts.toarray().tolist() == [[0, 1], [1, 1], [1, 0]]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    least=st.sampled_from([1, 3, 50]),
)
def test_strong_images_have_most_energy(seed, share, least):
    rng = np.random.default_rng(seed)
    energies = rng.integers(0, 4, (12, 5)).astype(float)  # with zeros and ties
    strong = strong_images(sparse.csr_array(energies), share, least).toarray()
    for concept in range(5):
        fired = np.flatnonzero(energies[:, concept])
        wanted = max(round(share * len(fired)), min(len(fired), least))
        best = sorted(fired, key=lambda image: (-energies[image, concept], image))[:wanted]
        assert np.flatnonzero(strong[concept]).tolist() == sorted(best)


def test_words_of_a_concept_are_those_its_captions_use_more():
    captions = ["red star", "red moon", "red ring", "blue star", "blue moon", "blue ring"] * 10
    words = ["red", "blue", "star", "moon", "ring"]
    terms = sparse.csr_array([[float(word in caption) for word in words] for caption in captions])
    strong = sparse.csr_array([[float("red" in c) for c in captions], [float("moon" in c) for c in captions]])
    found = over_represented(strong, terms, top=3, least_images=3)
    assert [(c, words[t]) for c, t in zip(found.concept, found.term, strict=True)] == [
        (0, "red"),
        (1, "moon"),
    ]
    # By hand for (concept 0, "red"), prior 20: y_in 30 + 10, n_in 30 + 20, y_out 0 + 10, n_out 30 + 20.
    expected = np.log((40 / 10) / (10 / 40)) / np.sqrt(1 / 40 + 1 / 10)
    assert found.z[0] == pytest.approx(expected)
    assert found.n_images.tolist() == [30, 20]


def test_scores_equal_a_loop_over_concepts_and_terms():
    rng = np.random.default_rng(1)
    strong = (rng.random((2100, 40)) < 0.3).astype(float)  # more concepts than one block holds
    terms = (rng.random((40, 12)) < 0.4).astype(float)
    found = over_represented(sparse.csr_array(strong), sparse.csr_array(terms), top=2, least_images=4)
    share = terms.mean(0)
    for concept in (0, 7, 2047, 2048, 2099):
        n, scores = strong[concept].sum(), []
        for term in range(12):
            inside = (strong[concept] * terms[:, term]).sum()
            y_in, y_out = inside + 20 * share[term], 40 * share[term] - inside + 20 * share[term]
            odds = y_in / (n + 20 - y_in), y_out / (40 - n + 20 - y_out)
            if inside >= 4:
                scores.append((np.log(odds[0] / odds[1]) / np.sqrt(1 / y_in + 1 / y_out), term))
        best = [(z, term) for z, term in sorted(scores, reverse=True)[:2] if z > 0]
        mine = found.concept == concept
        assert found.term[mine].tolist() == [term for _, term in best]
        assert found.z[mine] == pytest.approx([z for z, _ in best])


def test_words_with_thin_support_do_not_count():
    terms = sparse.csr_array(np.eye(4))
    found = over_represented(sparse.csr_array(np.ones((1, 4))), terms, top=3, least_images=2)
    assert len(found.term) == 0


def test_every_word_says_something_new():
    terms = ["red", "red star", "feeder", "bird", "bird feeder", "moon", "红", "红色"]
    # Concept 3: red, red star (half as often), moon. Concept 5: feeder, bird feeder (almost always), bird.
    # Concept 4: the same without evidence for the bird.
    # Concept 6: 红 and 红色 equally often.
    evidence = Evidence(
        np.array([3, 3, 3, 4, 4, 5, 5, 5, 6, 6]),
        np.array([0, 1, 5, 2, 4, 2, 4, 3, 6, 7]),
        np.array([9.0, 8, 7, 9, 8, 9, 8, 7, 5, 4]),
        np.array([40, 20, 10, 20, 19, 20, 19, 19, 12, 12]),
    )
    once = say_once(evidence, terms, 2)
    said = [(c, terms[t], z) for c, t, z in zip(once.concept, once.term, once.z, strict=True)]
    assert said == [(3, "red", 9), (3, "moon", 7), (4, "feeder", 9), (5, "bird feeder", 8), (6, "红色", 4)]
    assert [terms[t] for t in say_once(evidence, terms, 1).term] == ["red", "feeder", "bird feeder", "红色"]


def test_the_least_score_allows_for_the_terms_tried():
    assert least_score(1, 0.05) == pytest.approx(1.6449, abs=1e-4)
    assert least_score(50, 0.05) == pytest.approx(3.0902, abs=1e-4)  # one in a thousand


def planted(words: dict[str, str], n: int = 400) -> tuple[sparse.csr_array, list[str]]:
    """Captions of which half hold the one and half the other word; a concept for either, one that never fires
    and one that knows nothing."""
    rng = np.random.default_rng(0)
    has = rng.random((n, 2)) < 0.5
    captions = [
        words["join"].join([words["open"], *(words[k] for k, h in zip("ab", row, strict=True) if h)])
        for row in has
    ]
    energies = np.hstack([has * rng.gamma(2, 1, (n, 2)), np.zeros((n, 1)), rng.gamma(2, 1, (n, 1))])
    return sparse.csr_array(energies), captions


@pytest.mark.parametrize(
    "words",
    [
        {"a": "purple", "b": "moon", "open": "a picture of", "join": " "},
        {"a": "紫色", "b": "月亮", "open": "一张图", "join": "，"},
        {"a": "بنفسجي", "b": "قمر", "open": "صورة", "join": " "},
        {"a": "बैंगनी", "b": "चाँद", "open": "एक चित्र", "join": " "},
    ],
    ids=["English", "Chinese", "Arabic", "Hindi"],
)
def test_planted_words_are_found_in_any_script(words):
    energies, captions = planted(words)
    found, terms = evidence_words(energies, captions, **FIND)
    first = {c: terms[t] for c, t in zip(found.concept[::-1], found.term[::-1], strict=True)}
    assert first == {0: words["a"], 1: words["b"]}


def test_chance_names_few_concepts():
    """Energies that know nothing of the captions: about one concept in twenty may get a name, or fewer."""
    rng = np.random.default_rng(3)
    energies = sparse.csr_array(rng.gamma(2, 1, (500, 400)) * (rng.random((500, 400)) < 0.3))
    words = np.array([f"word{k}" for k in range(60)])
    captions = [" ".join(words[rng.random(60) < 0.1]) for _ in range(500)]
    found, _ = evidence_words(energies, captions, **FIND)
    assert len(np.unique(found.concept)) <= 0.1 * 400


@pytest.mark.parametrize("captions", [[""], ["!!!"], ["the"], ["red star"]])
def test_one_image_or_no_words_name_nothing(captions):
    found, _ = evidence_words(sparse.csr_array([[1.0, 0.0]]), captions, **FIND)
    assert len(found.concept) == 0
    assert len(evidence_words(sparse.csr_array((0, 2)), [], **FIND)[0].concept) == 0


def test_phrase_scores_by_hand():
    """Cosines of phrase 0 with the images: 1, 0, 0, -1; mean 0, deviation sqrt(1/2)."""
    images = np.array([[1.0, 0], [0, 1], [0, -1], [-1, 0]])
    phrases = np.array([[1.0, 0], [0, 1]])
    top = sparse.csr_array([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    root = np.sqrt(2)
    expected = [[root, 0], [1, 1], [0, 0]]  # of two images: (1 + 0) / 2 * sqrt(2) * sqrt(2)
    assert phrase_scores(images, phrases, top) == pytest.approx(np.array(expected))
