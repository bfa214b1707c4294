"""Are the embedded parts as good as they must be? Judged by the recogniser and by linear probes.

The recogniser reads freshly rendered scenes first: what it gets wrong there is what it may get wrong of a
generator, so its own accuracy stands beside every figure.
"""

import numpy as np
import torch
from PIL import Image

from pipeline.benchmarks import Row
from pipeline.sources.backbones import BackboneConfig, open_backbone
from pipeline.sources.generators import GeneratorConfig, open_generator
from pipeline.sources.registry import WEIGHTS
from pipeline.world.dataset import WorldDataset
from pipeline.world.evaluate import HELD_OUT_SEED, faithfulness, judge, linear_probe, pictures, repeats
from pipeline.world.recogniser import Recogniser
from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES
from pipeline.world.variants import N_MEMORISED

N_PAIRS = 300
FAITHFUL = ("tiny-sd", "tiny-pixart")
PARENT = "tiny-sd"  # of the two faulty ones


def measure() -> list[Row]:
    """All figures of the embedded world."""
    recogniser = Recogniser.load(WEIGHTS / "recogniser")
    floor = _recogniser_floor(recogniser)
    rows = [
        Row("recogniser: things on rendered scenes", floor["things"], 0.98),
        Row("recogniser: backgrounds on rendered scenes", floor["backgrounds"], 0.99),
    ]
    for name in FAITHFUL:
        figures = judge(_draw(name), recogniser, N_PAIRS)
        rows += [
            Row(
                f"{name}: named things drawn",
                figures["things"],
                0.85,
                beside=f"renderer {floor['things']:.3f}",
            ),
            Row(
                f"{name}: named backgrounds right",
                figures["backgrounds"],
                0.95,
                beside=f"renderer {floor['backgrounds']:.3f}",
            ),
            Row(f"{name}: training pairs repeated", repeats(_draw(name)), 4, at_least=False, beside="of 40"),
        ]
    rows += _planted(recogniser)
    rows.append(
        Row(
            "tiny-memorised: training pairs repeated",
            repeats(_draw("tiny-memorised")),
            36,
            beside=f"of {N_MEMORISED}",
        )
    )
    return rows + _probes()


def _draw(name: str):
    generator = open_generator(GeneratorConfig(name=name, batch_size=32))

    def draw(captions: list[str], seeds: list[int]) -> list[Image.Image]:
        return [
            drawn.image
            for drawn in generator.draw(captions, seeds, list(range(len(captions))))
            if drawn.image
        ]

    return draw


def _recogniser_floor(recogniser: Recogniser) -> dict[str, float]:
    world = WorldDataset(n_pairs=N_PAIRS, seed=HELD_OUT_SEED)
    scenes = [world.scene(i) for i in range(N_PAIRS)]
    captions = [world.caption(i) for i in range(N_PAIRS)]
    return faithfulness(scenes, captions, recogniser.see(pictures([world.image(i) for i in range(N_PAIRS)])))


def _planted(recogniser: Recogniser) -> list[Row]:
    """Faults of `tiny-suppressed`, each beside the same figure of the faithful generator it came from."""
    faulty = judge(_draw("tiny-suppressed"), recogniser, N_PAIRS)
    sound = judge(_draw(PARENT), recogniser, N_PAIRS)
    bars = {"miss": 0.8, "unasked": 0.4, "kept": 0.75}
    return [
        Row(
            f"tiny-suppressed: {name}",
            faulty[name],
            bars[name.split(".")[0]],
            beside=f"{PARENT} {sound[name]:.3f}",
        )
        for name in faulty
        if name.split(".")[0] in bars
    ]


def _probes() -> list[Row]:
    """What a linear probe reads from single patch tokens of held-out scenes."""
    backbone = open_backbone(BackboneConfig(name="tiny-dinov2"))
    world = WorldDataset(n_pairs=1500, seed=HELD_OUT_SEED)
    tokens = backbone.tokens([world.image(i) for i in range(world.n_pairs)])[:, backbone.n_prefix :]
    taken: dict[str, list[tuple[int, int, int]]] = {"background": [], "colour": [], "shape": []}
    for i in range(world.n_pairs):
        scene = world.scene(i)
        background = list(BACKGROUNDS).index(scene.background)
        taken["background"] += [(i, place, background) for place in range(64)]
        for thing in scene.things:
            # The two by two patches in the middle of a cell lie on the thing that stands there.
            for dy in (1, 2):
                for dx in (1, 2):
                    patch = (thing.cell // 2 * 4 + dy) * 8 + thing.cell % 2 * 4 + dx
                    taken["colour"].append((i, patch, list(COLOURS).index(thing.colour)))
                    taken["shape"].append((i, patch, list(SHAPES).index(thing.shape)))
    bars = {"background": 0.95, "colour": 0.95, "shape": 0.90}
    rows = []
    for family, places in taken.items():
        image, position, label = (torch.tensor(column) for column in zip(*places, strict=True))
        n_train = int((image < 1000).sum())
        accuracy = linear_probe(tokens[image, position], label, n_train)
        share = np.bincount(label[n_train:]).max() / len(label[n_train:])
        rows.append(
            Row(
                f"tiny-dinov2: probe reads {family}",
                accuracy,
                bars[family],
                beside=f"most common {share:.3f}",
            )
        )
    return rows
