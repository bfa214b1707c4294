"""The generators' text encoders read before they draw, and drawing leaves them as they are."""

import json

import pytest
import torch

from pipeline.world import diffusion, reading
from pipeline.world.corpus import Corpus
from pipeline.world.diffusion import Material
from pipeline.world.loop import Schedule
from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing

SCENE = Scene((Thing("star", "red", "large", 0), Thing("ring", "blue", "small", 3)), "dotted")


@pytest.fixture(scope="module")
def corpus():
    return Corpus(200)


def test_what_a_caption_should_tell_by_hand():
    shape, colour, size, cell, background = reading.truth([SCENE])
    assert shape.tolist() == [
        [list(SHAPES).index("star"), list(SHAPES).index("ring"), len(SHAPES), len(SHAPES)]
    ]
    absent = -100  # ignored by the loss
    assert colour.tolist() == [[list(COLOURS).index("red"), list(COLOURS).index("blue"), absent, absent]]
    assert size.tolist() == [[1, 0, absent, absent]]
    assert cell.tolist() == [[0, 3, absent, absent]]
    assert background.tolist() == [list(BACKGROUNDS).index("dotted")]


@pytest.mark.parametrize("name", list(diffusion.BUILDERS))
def test_an_encoder_learns_to_read(name, corpus, tmp_path):
    """Guessing shape, colour, size and background among 9, 8, 2 and 6 costs 2.2, 2.1, 0.7 and 1.8."""
    torch.manual_seed(0)
    denoiser = diffusion.BUILDERS[name](corpus.captions)
    schedule = Schedule(steps=60, lr=2e-3, warmup=5, ema=0.9)
    reading.teach(denoiser, corpus.captions, corpus.scenes, tmp_path, name, schedule)
    last = json.loads((tmp_path / f"{name}-text.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 60
    assert last["shape"] < 1.3 and last["background"] < 1.0


@pytest.mark.parametrize("name", list(diffusion.BUILDERS))
def test_drawing_is_learned_around_a_finished_encoder(name, corpus, tmp_path):
    torch.manual_seed(0)
    denoiser = diffusion.BUILDERS[name](corpus.captions)
    before = {key: value.clone() for key, value in denoiser.state_dict().items()}
    material = Material(torch.randn(200, 4, 16, 16), corpus.captions)
    diffusion.train(denoiser, material, Schedule(steps=2, lr=1e-3, warmup=1), tmp_path, name)
    changed = {key for key, value in denoiser.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("core.") for key in changed)
