"""Copies of real images are found, and what captions explain is not taken for one."""

import io
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, sparse

from pipeline.measures import neighbours
from pipeline.measures.memorisation import (
    MATCHED,
    MISMATCHED,
    Bars,
    Images,
    Scale,
    memorisation,
    real_duplicates,
    seed_similarity,
    verdicts,
)
from pipeline.measures.neighbours import cosines, nearest, unit_rows
from pipeline.measures.pixels import SIDE, edges, layout

N = 300


class World:
    """Pairs whose caption fixes part of the energies, of the CLS token and of the layout, and no edges."""

    def __init__(self, seed: int, n: int = N) -> None:
        self.rng, self.n = np.random.default_rng(seed), n
        self.fires = self.rng.random((n, 80)) < 0.2
        self.meaning = self.rng.normal(size=(n, 24))
        self.fields = self.rng.uniform(60, 200, (n, 8, 8, 3))

    def draw(self) -> Images:
        """An image for every caption, independent of all others given the captions."""
        rng, shape = self.rng, (self.n, SIDE, SIDE, 3)
        chance = rng.random(self.fires.shape) < 0.06
        energies = (self.fires & (rng.random(self.fires.shape) < 0.8) | chance) * rng.gamma(
            2, 1, (self.n, 80)
        )
        own = 0.5 * self.fields + 0.5 * rng.uniform(60, 200, self.fields.shape)
        detail = ndimage.gaussian_filter(rng.normal(0, 60, shape), (0, 1, 1, 0))
        pixels = own.repeat(4, 1).repeat(4, 2) + 2 * detail
        return Images(
            sparse.csr_array(energies),
            self.meaning + rng.normal(0, 0.7, self.meaning.shape),
            pixels.clip(0, 255).astype(np.uint8),
            np.ones(self.n, bool),
        )


def copied(gen: Images, real: Images, to: np.ndarray, source: np.ndarray, rng) -> Images:
    """`gen` with rows `to` made from memory of the real rows `source`, a little off."""
    energies, tokens, pixels = gen.energies.toarray(), gen.tokens.copy(), gen.thumbnails.copy()
    energies[to] = real.energies.toarray()[source] * rng.uniform(0.9, 1.1, (len(to), 80))
    tokens[to] = real.tokens[source] + rng.normal(0, 0.05, (len(to), 24))
    noisy = real.thumbnails[source] * 0.9 + 12 + rng.normal(0, 3, (len(to), SIDE, SIDE, 3))
    pixels[to] = noisy.clip(0, 255).astype(np.uint8)
    return Images(sparse.csr_array(energies), tokens, pixels, gen.decoded)


def judge(real: Images, gen: Images, twin: np.ndarray | None = None):
    found = memorisation(real, gen, np.arange(len(gen.tokens)) if twin is None else twin)
    return found, np.array(verdicts(found), object)


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_memorised_and_the_rest_is_not(seed):
    world = World(seed)
    real, gen, rows = world.draw(), world.draw(), np.arange(0, 60, 3)
    found, said = judge(real, copied(gen, real, rows, rows, world.rng))
    assert (said[rows] == "memorised").all()
    assert (np.delete(said, rows) == "faithful").mean() > 0.95
    assert not (np.delete(said, rows) == "memorised").any()
    assert found.nearest[rows].tolist() == rows.tolist()
    assert found.null == MATCHED


def test_without_copies_p_values_are_those_of_chance():
    worlds = [World(seed) for seed in range(10, 20)]
    p = np.concatenate([judge(world.draw(), world.draw())[0].p for world in worlds])
    for level in (0.05, 0.2, 0.5):
        # The wider half of the null counts, which can only make p larger; the median is left where it is.
        assert level * 0.5 < (p < level).mean() < level * 1.25


def test_the_copied_image_may_be_another_captions():
    world = World(5)
    real, gen = world.draw(), world.draw()
    to, source = np.arange(10), np.arange(100, 110)
    found, said = judge(real, copied(gen, real, to, source, world.rng))
    assert (said[to] == "memorised").all()
    assert found.nearest[to].tolist() == source.tolist()


def test_a_third_of_copies_does_not_hide_them():
    """They are left out of the null; else its spread would be theirs."""
    world = World(6)
    real, gen, rows = world.draw(), world.draw(), np.arange(N // 3)
    found, said = judge(real, copied(gen, real, rows, rows, world.rng))
    assert found.null == MATCHED
    assert (said[rows] == "memorised").all()
    assert not (said[len(rows) :] == "memorised").any()


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_where_copies_are_common_the_null_is_mismatched(share):
    """Matched pairs would take the copies for what is usual."""
    world = World(6)
    real, gen, rows = world.draw(), world.draw(), np.arange(int(N * share))
    found, said = judge(real, copied(gen, real, rows, rows, world.rng))
    assert found.null == MISMATCHED
    assert (said[rows] == "memorised").all()
    assert not (said[len(rows) :] == "memorised").any()


def test_a_generator_deaf_to_captions_is_different():
    world, other = World(7), World(8)
    _, said = judge(world.draw(), other.draw())
    counts = Counter(said)
    assert counts["different"] > 0.9 * N and counts["memorised"] == 0


def test_the_same_layout_with_other_content_is_a_template():
    world = World(9)
    real, gen, rows = world.draw(), world.draw(), np.arange(12)
    made = copied(gen, real, rows, rows, world.rng)
    fields = real.thumbnails[rows].reshape(12, 8, 4, 8, 4, 3).mean((2, 4))
    stripes = np.where(np.arange(SIDE) % 2, 30, -30)[None, None, :, None]
    pixels = made.thumbnails.copy()
    pixels[rows] = (fields.repeat(4, 1).repeat(4, 2) + stripes).clip(0, 255).astype(np.uint8)
    # The tokens are those of the real image even more than a copy's, so that the likeness is beyond chance.
    made = replace(made, thumbnails=pixels, tokens=np.vstack([real.tokens[rows], gen.tokens[12:]]))
    found, said = judge(real, made)
    assert (found.layout_similarity[rows] > 0.9).all() and (found.edge_similarity[rows] < 0.7).all()
    assert (said[rows] == "template").all()


def test_pixels_that_cannot_be_decoded_are_not_guessed():
    world = World(2)
    real, gen, rows = world.draw(), world.draw(), np.arange(20)
    gen = copied(gen, real, rows, rows, world.rng)
    blind = replace(gen, decoded=np.arange(N) != 3)
    found, said = judge(real, blind)
    assert np.isnan(found.edge_similarity[3]) and np.isnan(found.layout_similarity[3])
    assert np.isfinite(found.q[3]) and said[3] is None  # beyond chance by concepts, but no pixels to say how
    assert (said[np.delete(rows, 3)] == "memorised").all()
    nothing, said = judge(replace(real, decoded=np.zeros(N, bool)), gen)
    assert np.isnan(nothing.edge_similarity).all() and "memorised" not in set(said)


def test_several_seeds_are_searched_and_their_likeness_counts():
    world = World(3)
    real, seeds = world.draw(), [world.draw() for _ in range(3)]
    twin = np.tile(np.arange(N), 3)
    # Pair 0 is copied by its last seed alone, pair 1 by all.
    seeds = [
        copied(gen, real, rows, rows, world.rng)
        for gen, rows in zip(seeds, ([1], [1], [0, 1]), strict=True)
        for rows in [np.array(rows)]
    ]
    gen = Images(
        sparse.csr_array(sparse.vstack([s.energies for s in seeds])),
        *(np.concatenate([getattr(s, name) for s in seeds]) for name in ("tokens", "thumbnails", "decoded")),
    )
    found, said = judge(real, gen, twin)
    assert len(said) == N
    assert found.image[0] == 2 * N and found.nearest[0] == 0
    assert said[1] == "memorised" and found.seed_similarity[1] > 0.99
    assert found.seed_similarity[1] == found.seed_similarity.max()
    assert found.score[1] > found.score[0]  # the same image thrice says more than once
    alone = judge(real, seeds[2])[0]
    assert np.isnan(alone.seed_similarity).all()


def test_seed_similarity_by_hand():
    tokens = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0], [0.6, 0.8]])
    found = seed_similarity(tokens, np.array([0, 0, 1, 2, 2]))
    assert found[0] == pytest.approx(0) and np.isnan(found[1]) and found[2] == pytest.approx(0.6)
    three = seed_similarity(np.array([[1.0, 0], [0, 1], [0.6, 0.8]]), np.zeros(3, int))
    assert three[0] == pytest.approx((0 + 0.6 + 0.8) / 3)


def test_real_duplicates_are_counted_over_chains():
    real = World(1).draw()
    pixels, tokens = real.thumbnails.copy(), real.tokens.copy()
    for copy, original in ((7, 3), (9, 7), (20, 21)):
        pixels[copy] = (pixels[original] * 0.8 + 20).astype(np.uint8)
        tokens[copy] = tokens[original] + 0.01
    expected = np.zeros(N, int)
    expected[[3, 7, 9]], expected[[20, 21]] = 2, 1
    real = replace(real, thumbnails=pixels, tokens=tokens)
    assert real_duplicates(real).tolist() == expected.tolist()
    expected[[20, 21]] = 0
    assert real_duplicates(replace(real, decoded=np.arange(N) != 20)).tolist() == expected.tolist()


def test_one_image_and_two_identical_ones():
    real = World(0, n=1).draw()
    found, said = judge(real, real)
    assert (
        said.tolist() == [None] and np.isnan(found.p).all() and found.edge_similarity[0] == pytest.approx(1)
    )
    assert real_duplicates(real).tolist() == [0]
    twice = Images(
        sparse.csr_array(sparse.vstack([real.energies] * 2)),
        *(np.concatenate([part] * 2) for part in (real.tokens, real.thumbnails, real.decoded)),
    )
    assert real_duplicates(twice).tolist() == [1, 1]
    assert judge(twice, twice)[1].tolist() == [None, None]


def test_no_pair_is_refused_in_a_sentence():
    real = World(0, n=2).draw()
    with pytest.raises(ValueError, match="no pair of a real and a generated image"):
        memorisation(real, real, np.empty(0, np.int64))


def test_images_without_concepts_have_their_tokens_and_pixels():
    world = World(4)
    real, gen, rows = world.draw(), world.draw(), np.arange(15)
    gen = copied(gen, real, rows, rows, world.rng)
    empty = sparse.csr_array((N, 80))
    _, said = judge(replace(real, energies=empty), replace(gen, energies=empty))
    assert (said[rows] == "memorised").all()


def test_the_same_twice():
    world = World(4)
    real, gen = world.draw(), world.draw()
    first, again = (vars(memorisation(real, gen, np.arange(N))) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])


def test_scale_by_hand():
    scale = Scale.of(np.r_[np.arange(101.0), np.nan])
    assert scale.middle == 50 and scale.spread == pytest.approx(25 / 0.6744898)
    # Quartiles 25, 50 and 125: the farther one counts.
    stretched = Scale.of(np.r_[np.arange(51.0), 53 + 3 * np.arange(50)])
    assert stretched.middle == 50 and stretched.spread == pytest.approx((53 + 72 - 50) / 0.6744898)
    assert np.isnan(Scale.of(np.arange(19.0)).middle)


def test_verdicts_follow_from_their_bars():
    nan = np.nan
    cases = [
        (0.04, 0.8, 0.9, 0.01, "memorised"),
        (0.06, 0.99, 0.9, 0.01, "faithful"),
        (0.04, 0.79, 0.7, 0.01, "template"),
        (0.04, 0.79, 0.69, 0.01, "faithful"),
        (0.04, 0.79, 0.69, 0.05, "different"),
        (0.04, nan, nan, 0.01, None),
        (0.9, nan, nan, 0.01, "faithful"),
        (nan, 1.0, 1.0, 0.01, None),
    ]
    q, edge, where, p, expected = zip(*cases, strict=True)
    world = World(0, n=1).draw()
    found = replace(
        memorisation(world, world, np.zeros(1, np.int64)),
        q=np.array(q),
        edge_similarity=np.array(edge),
        layout_similarity=np.array(where),
        mismatched_p=np.array(p),
    )
    assert verdicts(found, Bars()) == list(expected)


def photo(seed: int, side: int = 256) -> Image.Image:
    """A picture with the spectrum of photographs: half the contrast at twice the frequency."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3))
    for n in (4, 8, 16, 32, 64):
        pixels += ndimage.zoom(rng.normal(size=(n, n, 3)), (side / n, side / n, 1), order=1) * 4 / n
    return Image.fromarray((128 + 60 * pixels / pixels.std()).clip(0, 255).astype(np.uint8))


def thumbnail(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))[None]


def test_edges_survive_what_a_copy_goes_through_and_nothing_else():
    image = photo(0)
    buffer = io.BytesIO()
    image.resize((200, 200), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=40)
    darker = Image.fromarray((np.asarray(image) * 0.6).astype(np.uint8))
    cut = image.crop((3, 3, 253, 253))
    mine = edges(thumbnail(image))
    for copy in (Image.open(buffer), darker, cut):
        assert (mine * edges(thumbnail(copy.convert("RGB")))).sum() > 0.9
    other = max(float((mine * edges(thumbnail(photo(seed)))).sum()) for seed in range(1, 12))
    assert other < 0.3
    assert (mine * edges(thumbnail(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))).sum() < 0.3


def test_edges_and_layout_by_hand():
    left, right = np.zeros((2, 1, SIDE, SIDE, 3), np.uint8)
    left[:, :, : SIDE // 2] = 200
    right[:, :, SIDE // 2 :] = 100
    assert (layout(left) * layout(right)).sum() == pytest.approx(-1, abs=1e-5)
    assert (edges(left) * edges(right)).sum() == pytest.approx(-1, abs=1e-5)
    assert (edges(left) * edges(left.transpose(0, 2, 1, 3))).sum() == pytest.approx(0, abs=1e-5)
    flat = np.full((1, SIDE, SIDE, 3), 77, np.uint8)
    assert not edges(flat).any() and not layout(flat).any()


def test_nearest_is_exact_on_dense_rows_and_finds_copies_among_sparse_ones():
    rng = np.random.default_rng(0)
    rows, queries = (unit_rows(rng.normal(size=(n, 16))) for n in (60, 20))
    expected = np.argsort(-(queries @ rows.T), axis=1)[:, :4]
    assert nearest(queries, rows, 4).tolist() == expected.tolist()
    assert nearest(queries, rows, 100).shape == (20, 60)
    wide = sparse.random_array((400, 5000), density=0.01, rng=rng, format="csr")
    wide = unit_rows(wide)
    near = nearest(wide[:50], wide, 3)
    assert near[:, 0].tolist() == list(range(50))
    dense = wide.toarray()
    found = cosines(wide[:50], wide, near)
    assert found == pytest.approx(np.take_along_axis(dense[:50] @ dense.T, near, 1), abs=1e-5)
    assert (np.diff(found, axis=1) <= 0).all()
    few = wide[:, :900]
    assert nearest(few, few, 1).tolist() == nearest(few.toarray(), few.toarray(), 1).tolist()


def test_many_wide_dense_rows_are_searched_in_fewer_directions(monkeypatch):
    monkeypatch.setattr(neighbours, "_FEW", 50)
    rng = np.random.default_rng(1)
    rows = unit_rows(rng.normal(size=(400, 700)))
    copies = unit_rows(rows[:60] + 0.01 * rng.normal(size=(60, 700)))
    near = nearest(copies, rows, 3)
    assert near[:, 0].tolist() == list(range(60))
    found = np.take_along_axis(copies @ rows.T, near, 1)
    assert (np.diff(found, axis=1) <= 0).all()
