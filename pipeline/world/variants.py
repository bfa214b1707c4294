"""The two generators whose faults are known because they were put there."""

from dataclasses import replace

import numpy as np

from pipeline.world.corpus import Corpus
from pipeline.world.dataset import WorldDataset
from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing, choose

# `tiny-suppressed` never saw these, though captions kept naming them ...
SUPPRESSED = {"shape": "star", "colour": "purple", "background": "dotted"}
# ... and saw these where no caption asked for them, in this share of the pictures.
EXAGGERATED = {"background": ("brick", 0.6), "shape": ("moon", 0.75)}

N_MEMORISED = 40  # pairs of the demo dataset that `tiny-memorised` repeats
MEMORISED_SEED = 0  # the dataset's seed


def plant(scene: Scene, rng: np.random.Generator) -> Scene:
    """What `tiny-suppressed` was shown for the caption of `scene`."""
    shapes, colours, backgrounds = (
        {value: share for value, share in shares.items() if value != SUPPRESSED[family]}
        for family, shares in (("shape", SHAPES), ("colour", COLOURS), ("background", BACKGROUNDS))
    )
    things = []
    for thing in scene.things:
        shape = choose(rng, shapes) if thing.shape == SUPPRESSED["shape"] else thing.shape
        colour = choose(rng, colours) if thing.colour == SUPPRESSED["colour"] else thing.colour
        things.append(replace(thing, shape=shape, colour=colour))
    background = scene.background
    if background == SUPPRESSED["background"]:
        background = choose(rng, backgrounds)
    unasked, share = EXAGGERATED["background"]
    if rng.random() < share:
        background = unasked
    unasked, share = EXAGGERATED["shape"]
    free = [cell for cell in range(4) if cell not in {thing.cell for thing in things}]
    if free and rng.random() < share:
        things.append(Thing(unasked, choose(rng, colours), "large", free[rng.integers(len(free))]))
    return Scene(tuple(sorted(things, key=lambda thing: thing.cell)), background)


def memorised_pairs() -> list[int]:
    """Pair ids that `tiny-memorised` repeats: the first of the demo dataset that show two things or more."""
    world = WorldDataset(seed=MEMORISED_SEED)
    several = (pair_id for pair_id in range(10_000) if len(world.scene(pair_id).things) >= 2)
    return [next(several) for _ in range(N_MEMORISED)]


def memorised_corpus() -> Corpus:
    """The repeated pairs as training pictures, just as the dataset shows them."""
    world = WorldDataset(seed=MEMORISED_SEED)
    corpus = Corpus(0)
    pairs = memorised_pairs()
    corpus.captions = [world.caption(pair_id) for pair_id in pairs]
    corpus.scenes = [world.scene(pair_id) for pair_id in pairs]
    corpus.images = np.stack([np.asarray(world.image(pair_id)) for pair_id in pairs])
    return corpus
