"""Scenes of the embedded world: what is in them, and what a caption says of it.

Attribute values have unequal shares, as in real data: the last ones of each list are rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHAPES = {
    "circle": 0.17,
    "square": 0.16,
    "triangle": 0.15,
    "star": 0.14,
    "cross": 0.12,
    "heart": 0.11,
    "ring": 0.10,
    "moon": 0.05,
}
COLOURS = {
    "red": 0.15,
    "blue": 0.14,
    "yellow": 0.13,
    "green": 0.13,
    "white": 0.12,
    "black": 0.12,
    "purple": 0.12,
    "orange": 0.09,
}
BACKGROUNDS = {"plain": 0.25, "striped": 0.21, "dotted": 0.19, "checkered": 0.17, "wavy": 0.13, "brick": 0.05}
SIZES = ("small", "large")
CELLS = ("top left", "top right", "bottom left", "bottom right")
N_OBJECTS = {1: 0.45, 2: 0.40, 3: 0.10, 4: 0.05}

_SHAPE_WORDS = {"circle": ["circle", "circle", "disc"], "cross": ["cross", "cross", "plus sign"]}
_SIZE_WORDS = {"small": ["small", "small", "little", "tiny"], "large": ["large", "large", "big"]}
BACKGROUND_PHRASES = {
    "plain": ["on a plain background", "against a plain wall", "on plain paper"],
    "striped": ["on a striped background", "against stripes", "in front of a striped wall"],
    "dotted": ["on a dotted background", "against a dotted wall", "on dotted paper"],
    "checkered": ["on a checkered background", "on a checkered floor", "against a checkered wall"],
    "wavy": ["on a wavy background", "over wavy water", "in front of a wavy pattern"],
    "brick": ["on a brick background", "against a brick wall", "in front of bricks"],
}
_OPENINGS = ["", "", "a picture of ", "a drawing of ", "an image with "]


@dataclass(frozen=True)
class Thing:
    """One object: its shape, colour, size and the cell of the 2 x 2 grid that it stands in."""

    shape: str
    colour: str
    size: str
    cell: int


@dataclass(frozen=True)
class Scene:
    """One to four objects, in reading order, in front of a textured background."""

    things: tuple[Thing, ...]
    background: str


def choose(rng: np.random.Generator, shares: dict) -> str:
    """One of the keys, with chances in proportion to the values."""
    values = list(shares)
    weights = np.fromiter(shares.values(), float)
    return values[rng.choice(len(values), p=weights / weights.sum())]


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene; cells are distinct, everything else is independent."""
    n = int(choose(rng, N_OBJECTS))
    cells = sorted(rng.choice(4, size=n, replace=False).tolist())
    things = tuple(
        Thing(choose(rng, SHAPES), choose(rng, COLOURS), SIZES[rng.integers(2)], cell) for cell in cells
    )
    return Scene(things, choose(rng, BACKGROUNDS))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _noun(thing: Thing, rng: np.random.Generator, with_size: bool) -> str:
    size = f"{_pick(rng, _SIZE_WORDS[thing.size])} " if with_size else ""
    phrase = f"{size}{thing.colour} {_pick(rng, _SHAPE_WORDS.get(thing.shape, [thing.shape]))}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _relation(things: tuple[Thing, ...], rng: np.random.Generator) -> str | None:
    """A word for how two objects lie to each other, or None where there is no plain one."""
    if len(things) != 2:
        return None
    first, second = things[0].cell, things[1].cell
    if second - first == 1 and first % 2 == 0:
        return _pick(rng, ["next to", "beside", "to the left of"])
    if second - first == 2:
        return _pick(rng, ["above", "over"])
    return None


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """A caption: names every object with its colour, most often the size, position and background too.

    Objects come in reading order (top left to bottom right).
    """
    with_size = rng.random() < 0.7
    nouns = [_noun(thing, rng, with_size) for thing in scene.things]
    relation = _relation(scene.things, rng)
    style = rng.random()
    if relation and style < 0.5:
        body = f"{nouns[0]} {relation} {nouns[1]}"
    elif style < 0.75:
        where = _pick(rng, ["at the", "in the"])
        body = _join(
            [f"{noun} {where} {CELLS[thing.cell]}" for noun, thing in zip(nouns, scene.things, strict=True)]
        )
    else:
        body = _join(nouns)
    behind = f" {_pick(rng, BACKGROUND_PHRASES[scene.background])}" if rng.random() < 0.92 else ""
    return f"{_pick(rng, _OPENINGS)}{body}{behind}"
