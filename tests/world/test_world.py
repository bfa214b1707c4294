"""The embedded world: scenes, captions, pictures, planted faults, and a training loop that can be killed."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.world.corpus import Corpus
from pipeline.world.dataset import WorldDataset
from pipeline.world.evaluate import faithfulness, planted_faults
from pipeline.world.loop import Schedule, fit, step_of
from pipeline.world.recogniser import Seen
from pipeline.world.render import render
from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing, describe, sample_scene
from pipeline.world.variants import memorised_pairs, plant

SCENE = Scene((Thing("star", "red", "large", 0), Thing("ring", "blue", "small", 3)), "dotted")


def test_the_world_is_as_rich_as_promised():
    assert len(SHAPES) >= 8 and len(COLOURS) >= 8 and len(BACKGROUNDS) >= 6
    scenes = [sample_scene(np.random.default_rng(i)) for i in range(300)]
    assert {len(scene.things) for scene in scenes} == {1, 2, 3, 4}
    assert {thing.shape for scene in scenes for thing in scene.things} == set(SHAPES)
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)


def test_captions_name_every_thing_with_its_colour_in_many_wordings():
    captions = {describe(SCENE, np.random.default_rng(i)) for i in range(60)}
    assert len(captions) > 30
    for caption in captions:
        assert "red star" in caption and "blue ring" in caption
        assert caption.index("red star") < caption.index("blue ring")


def test_a_pair_is_the_same_every_time_and_another_seed_is_another_world():
    once, again = WorldDataset(n_pairs=5), WorldDataset(n_pairs=5)
    assert once.rows().equals(again.rows())
    uri = once.rows()["uri"][3]
    assert once.image_bytes(uri) == again.image_bytes(uri)
    assert not once.rows().equals(WorldDataset(n_pairs=5, seed=1).rows())


def test_a_picture_shows_the_colours_where_the_scene_says():
    pixels = np.asarray(render(SCENE, np.random.default_rng(0))).astype(int)
    assert pixels.shape == (64, 64, 3)
    red, green, blue = pixels[16, 16]  # the middle of the red star, cell 0
    assert red > 180 and green < 80 and blue < 80
    corner = pixels[40:56, 40:56].reshape(-1, 3)  # the cell of the blue ring
    assert ((corner[:, 2] > 180) & (corner[:, 0] < 80)).sum() > 20


def test_the_same_scene_drawn_twice_differs_in_noise_only():
    first, second = (np.asarray(render(SCENE, np.random.default_rng(seed)), float) for seed in (1, 2))
    assert 1 < np.abs(first - second).mean() < 60


def test_planting_takes_out_and_puts_in():
    rng = np.random.default_rng(0)
    drawn = [plant(SCENE, rng) for _ in range(400)]
    assert not any(thing.shape == "star" for scene in drawn for thing in scene.things)
    assert not any(scene.background == "dotted" for scene in drawn)
    assert all(("ring", "blue") in {(t.shape, t.colour) for t in scene.things} for scene in drawn)
    brick = np.mean([scene.background == "brick" for scene in drawn])
    moon = np.mean([any(t.shape == "moon" for t in scene.things) for scene in drawn])
    assert 0.5 < brick < 0.75 and 0.6 < moon < 0.9


def test_memorised_pairs_are_forty_pairs_of_the_demo():
    pairs = memorised_pairs()
    assert len(set(pairs)) == 40 and max(pairs) < 500
    captions = {WorldDataset().caption(pair_id) for pair_id in pairs}
    assert len(captions) == 40


def test_the_corpus_keeps_its_captions_when_the_pictures_are_altered():
    plain, altered = Corpus(6, seed=3), Corpus(6, seed=3, alter=plant)
    assert plain.captions == altered.captions
    assert plain.scenes != altered.scenes


def test_faithfulness_by_hand():
    """Of a red star and a blue ring on dots, only the star is there, on dots."""
    seen = [Seen({0: ("star", "red"), 3: ("ring", "green")}, "dotted")]
    caption = "a red star and a blue ring on dotted paper"
    assert faithfulness([SCENE], [caption], seen) == {"things": 0.5, "backgrounds": 1.0}
    # Two of the same kind asked, one shown: one found.
    twins = Scene((Thing("star", "red", "large", 0), Thing("star", "red", "large", 1)), "dotted")
    assert faithfulness([twins], [caption], seen)["things"] == 0.5


def test_planted_faults_by_hand():
    seen = [Seen({0: ("circle", "red"), 1: ("moon", "red"), 3: ("ring", "blue")}, "brick")]
    faults = planted_faults([SCENE], seen)
    assert faults == {
        "kept": 1.0,
        "miss.dotted": 1.0,
        "miss.star": 1.0,
        "unasked.brick": 1.0,
        "unasked.moon": 1.0,
    }


class Killed(Exception):
    pass


def test_training_that_was_killed_ends_with_the_same_weights(tmp_path):
    schedule = Schedule(steps=12, lr=0.1, warmup=2, every=4)

    def train(name: str, dies_at: int | None = None) -> dict:
        torch.manual_seed(0)
        module = nn.Linear(3, 1)

        def loss(step: int, generator: torch.Generator):
            if step == dies_at:
                raise Killed
            x = torch.randn(8, 3, generator=generator)
            return (module(x) - x.sum(1, keepdim=True)).square().mean(), {}

        return fit(module, loss, schedule, tmp_path, name).state_dict()

    undisturbed = train("a")
    with pytest.raises(Killed):
        train("b", dies_at=6)
    assert step_of(tmp_path / "b.safetensors") == 4
    resumed = train("b")
    for key, value in undisturbed.items():
        assert torch.equal(value, resumed[key])
