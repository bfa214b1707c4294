"""Generators with faults of known size: the renderer itself, with one attribute value replaced or put in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing, choose

FAMILIES = {"shape": SHAPES, "colour": COLOURS, "background": BACKGROUNDS}
Direction = Literal["suppressed", "exaggerated"]
Change = Callable[[Scene, "Value", np.random.Generator], Scene]


@dataclass(frozen=True)
class Value:
    """One attribute value of the world, such as the colour red."""

    family: str
    name: str


VALUES = tuple(Value(family, name) for family, names in FAMILIES.items() for name in names)


def shows(scene: Scene, value: Value) -> bool:
    """Whether a scene has the value anywhere."""
    if value.family == "background":
        return scene.background == value.name
    return any(getattr(thing, value.family) == value.name for thing in scene.things)


def _changed(thing: Thing, family: str, name: str) -> Thing:
    return replace(thing, shape=name) if family == "shape" else replace(thing, colour=name)


def without(scene: Scene, value: Value, rng: np.random.Generator) -> Scene:
    """The scene with every occurrence of the value replaced by others of its family, by their shares."""
    others = {name: share for name, share in FAMILIES[value.family].items() if name != value.name}
    if value.family == "background":
        return replace(scene, background=choose(rng, others)) if shows(scene, value) else scene
    things = tuple(
        _changed(thing, value.family, choose(rng, others))
        if getattr(thing, value.family) == value.name
        else thing
        for thing in scene.things
    )
    return replace(scene, things=things)


def with_unasked(scene: Scene, value: Value, rng: np.random.Generator) -> Scene:
    """The scene with the value in it: another background, or one of its objects changed."""
    if shows(scene, value):
        return scene
    if value.family == "background":
        return replace(scene, background=value.name)
    at = int(rng.integers(len(scene.things)))
    changed = _changed(scene.things[at], value.family, value.name)
    return replace(scene, things=(*scene.things[:at], changed, *scene.things[at + 1 :]))


CHANGES: dict[Direction, Change] = {"suppressed": without, "exaggerated": with_unasked}
