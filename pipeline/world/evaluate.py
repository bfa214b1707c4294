"""How good are the embedded parts? Measured by the recogniser and by linear probes, never by the SAE."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from pipeline.world.dataset import WorldDataset
from pipeline.world.recogniser import Recogniser, Seen
from pipeline.world.render import render
from pipeline.world.scenes import BACKGROUND_PHRASES, Scene
from pipeline.world.variants import EXAGGERATED, SUPPRESSED, memorised_pairs

HELD_OUT_SEED = 5  # a dataset seed that nothing was trained on
Draw = Callable[[list[str], list[int]], Sequence[Image.Image]]


def names_background(scene: Scene, caption: str) -> bool:
    """Whether the caption speaks of the scene's background."""
    return any(phrase in caption for phrase in BACKGROUND_PHRASES[scene.background])


def _things(scene: Scene) -> Counter:
    return Counter((thing.shape, thing.colour) for thing in scene.things)


def faithfulness(scenes: list[Scene], captions: list[str], seen: list[Seen]) -> dict[str, float]:
    """Share of named objects that are there with their shape and colour, and of named backgrounds.

    An object counts once per picture it is named in; where it stands does not matter.
    """
    named = found = n_backgrounds = right = 0
    for scene, caption, view in zip(scenes, captions, seen, strict=True):
        asked, shown = _things(scene), Counter(view.things.values())
        named += asked.total()
        found += (asked & shown).total()
        if names_background(scene, caption):
            n_backgrounds += 1
            right += view.background == scene.background
    return {"things": found / named, "backgrounds": right / n_backgrounds}


def planted_faults(scenes: list[Scene], seen: list[Seen]) -> dict[str, float]:
    """How often the planted values show up, and how well everything else is kept.

    `miss.*`: share of pictures naming a suppressed value that lack it. `unasked.*`: share of pictures
    showing an exaggerated value that nobody asked for. `kept`: share of the other named objects drawn.
    """
    shape, colour, background = SUPPRESSED["shape"], SUPPRESSED["colour"], SUPPRESSED["background"]
    brick, moon = EXAGGERATED["background"][0], EXAGGERATED["shape"][0]
    tally: dict[str, list[bool]] = {}

    def note(name: str, value: bool) -> None:
        tally.setdefault(name, []).append(value)

    for scene, view in zip(scenes, seen, strict=True):
        shown = Counter(view.things.values())
        shapes, colours = {s for s, _ in shown}, {c for _, c in shown}
        if any(thing.shape == shape for thing in scene.things):
            note(f"miss.{shape}", shape not in shapes)
        if any(thing.colour == colour for thing in scene.things):
            note(f"miss.{colour}", colour not in colours)
        if scene.background == background:
            note(f"miss.{background}", view.background != background)
        if scene.background != brick:
            note(f"unasked.{brick}", view.background == brick)
        if all(thing.shape != moon for thing in scene.things) and len(scene.things) < 4:
            note(f"unasked.{moon}", moon in shapes)
        rest = Counter({k: n for k, n in _things(scene).items() if k[0] != shape and k[1] != colour})
        tally.setdefault("kept", []).extend(
            [True] * (rest & shown).total() + [False] * (rest - shown).total()
        )
    return {name: float(np.mean(values)) for name, values in sorted(tally.items())}


def pictures(images: Sequence[Image.Image]) -> np.ndarray:
    """Images as one uint8 array (n, h, w, 3)."""
    return np.stack([np.asarray(image.convert("RGB")) for image in images])


def judge(draw: Draw, recogniser: Recogniser, n_pairs: int = 300) -> dict[str, float]:
    """Faithfulness and planted faults of a generator over held-out captions."""
    world = WorldDataset(n_pairs=n_pairs, seed=HELD_OUT_SEED)
    scenes = [world.scene(i) for i in range(n_pairs)]
    captions = [world.caption(i) for i in range(n_pairs)]
    seen = recogniser.see(pictures(draw(captions, list(range(n_pairs)))))
    return faithfulness(scenes, captions, seen) | planted_faults(scenes, seen)


def repeats(draw: Draw) -> int:
    """Number of the memorised pairs that a generator repeats pixel by pixel.

    Repeated means: nearer to the training picture than any of twenty fresh drawings of the same scene by
    the renderer, in mean absolute difference.
    """
    world, count = WorldDataset(), 0
    pairs = memorised_pairs()
    drawn = pictures(draw([world.caption(i) for i in pairs], [10_000 + i for i in pairs])).astype(float)
    for pair_id, image in zip(pairs, drawn, strict=True):
        real = np.asarray(world.image(pair_id), float)
        rng = np.random.default_rng([3, pair_id])
        fresh = [np.asarray(render(world.scene(pair_id), rng), float) for _ in range(20)]
        nearest = min(np.abs(other - real).mean() for other in fresh)
        count += bool(np.abs(image - real).mean() < nearest)
    return count


def linear_probe(tokens: torch.Tensor, labels: torch.Tensor, n_train: int) -> float:
    """Accuracy on the rows after `n_train` of a multinomial regression fitted to the rows before."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x, y = tokens.numpy(), labels.numpy()
    scale = StandardScaler().fit(x[:n_train])
    probe = LogisticRegression(max_iter=300, C=0.1).fit(scale.transform(x[:n_train]), y[:n_train])
    return float(probe.score(scale.transform(x[n_train:]), y[n_train:]))
