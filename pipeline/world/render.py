"""Draw a scene as 64 x 64 pixels. The same scene drawn twice differs in ordinary rendering noise:
position, size, rotation, shade, background tone and texture phase."""

import math

import numpy as np
from PIL import Image, ImageDraw

from pipeline.world.scenes import Scene, Thing

SIDE = 64
_OVERSAMPLING = 4
_COLOURS = {
    "red": (214, 38, 40),
    "orange": (245, 135, 20),
    "yellow": (250, 225, 50),
    "green": (30, 150, 60),
    "blue": (35, 80, 215),
    "purple": (140, 45, 170),
    "black": (22, 22, 24),
    "white": (248, 248, 246),
}
_TONES = np.array([(160, 160, 160), (172, 158, 138), (138, 154, 172), (148, 166, 146)], float)
_RADIUS = {"small": 10.0, "large": 13.5}
_CENTRES = ((16.5, 16.5), (47.5, 16.5), (16.5, 47.5), (47.5, 47.5))


def render(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Draw `scene` as an RGB image of SIDE x SIDE pixels."""
    canvas = _background(scene.background, rng)
    for thing in scene.things:
        mask, colour = _stencil(thing, rng)
        canvas = canvas * (1 - mask[..., None]) + colour * mask[..., None]
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _background(kind: str, rng: np.random.Generator) -> np.ndarray:
    tone = _TONES[rng.integers(len(_TONES))] + rng.normal(0, 4, 3)
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    dx, dy = rng.uniform(0, 32, 2)
    x, y = x + dx, y + dy
    pattern = _PATTERNS[kind](x, y)
    return tone + (pattern[..., None] - 0.5) * rng.uniform(46, 58)


def _soft(signed: np.ndarray) -> np.ndarray:
    """Antialiased step of a signed distance in pixels: 0 outside, 1 inside."""
    return np.clip(signed + 0.5, 0, 1)


def _triangle_wave(value: np.ndarray, period: float) -> np.ndarray:
    """Distance to the nearest multiple of `period`."""
    return np.abs((value + period / 2) % period - period / 2)


def _brick(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    row = np.floor(y / 10.667)
    mortar = np.minimum(_triangle_wave(y, 10.667), _triangle_wave(x + row * 10.667, 21.333))
    return _soft(mortar - 1.2)


_PATTERNS = {
    "plain": lambda x, y: np.full_like(x, 0.5),
    "striped": lambda x, y: _soft(_triangle_wave(x, 12) - 3),
    "dotted": lambda x, y: _soft(3.0 - np.hypot(_triangle_wave(x, 10.667), _triangle_wave(y, 10.667))),
    "checkered": lambda x, y: (
        0.5 + (_soft(_triangle_wave(x, 16) - 4) - 0.5) * (_soft(_triangle_wave(y, 16) - 4) - 0.5) * 2
    ),
    "wavy": lambda x, y: _soft(_triangle_wave(y + 3.5 * np.sin(2 * np.pi * x / 21.333), 12.8) - 3.2),
    "brick": _brick,
}


def _stencil(thing: Thing, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of every pixel by the object, 0 to 1, and its colour."""
    radius = _RADIUS[thing.size] * rng.uniform(0.94, 1.06)
    centre_x, centre_y = np.array(_CENTRES[thing.cell]) + rng.uniform(-2, 2, 2)
    turn = rng.uniform(-0.14, 0.14)
    image = Image.new("L", (SIDE * _OVERSAMPLING, SIDE * _OVERSAMPLING), 0)
    pen = _Pen(ImageDraw.Draw(image), centre_x, centre_y, radius, turn)
    _SHAPES[thing.shape](pen)
    mask = np.asarray(image.reduce(_OVERSAMPLING), float) / 255
    return mask, np.array(_COLOURS[thing.colour], float) + rng.normal(0, 4, 3)


class _Pen:
    """Draws polygons and discs given in units of the object's radius around its centre."""

    def __init__(self, draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, turn: float) -> None:
        self.draw, self.x, self.y, self.radius = draw, x, y, radius
        self.cos, self.sin = math.cos(turn), math.sin(turn)

    def _place(self, u: float, v: float) -> tuple[float, float]:
        x = self.x + self.radius * (u * self.cos - v * self.sin)
        y = self.y + self.radius * (u * self.sin + v * self.cos)
        return x * _OVERSAMPLING, y * _OVERSAMPLING

    def polygon(self, points: list[tuple[float, float]]) -> None:
        self.draw.polygon([self._place(u, v) for u, v in points], fill=255)

    def disc(self, u: float, v: float, radius: float, fill: int = 255) -> None:
        x, y = self._place(u, v)
        r = radius * self.radius * _OVERSAMPLING
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)


def _star(pen: _Pen) -> None:
    spokes = [(1.12 if i % 2 == 0 else 0.45, -math.pi / 2 + i * math.pi / 5) for i in range(10)]
    pen.polygon([(r * math.cos(a), r * math.sin(a)) for r, a in spokes])


def _heart(pen: _Pen) -> None:
    steps = np.linspace(0, 2 * math.pi, 60)
    u = 16 * np.sin(steps) ** 3 / 16
    v = -(13 * np.cos(steps) - 5 * np.cos(2 * steps) - 2 * np.cos(3 * steps) - np.cos(4 * steps)) / 16
    pen.polygon(list(zip(u.tolist(), v.tolist(), strict=True)))


def _cross(pen: _Pen) -> None:
    a = 0.34
    pen.polygon([(-a, -1), (a, -1), (a, 1), (-a, 1)])
    pen.polygon([(-1, -a), (1, -a), (1, a), (-1, a)])


def _ring(pen: _Pen) -> None:
    pen.disc(0, 0, 1.0)
    pen.disc(0, 0, 0.52, fill=0)


def _moon(pen: _Pen) -> None:
    pen.disc(0, 0, 1.0)
    pen.disc(0.55, -0.1, 0.8, fill=0)


_SHAPES = {
    "circle": lambda pen: pen.disc(0, 0, 0.95),
    "square": lambda pen: pen.polygon([(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]),
    "triangle": lambda pen: pen.polygon([(0, -1.05), (1.0, 0.8), (-1.0, 0.8)]),
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "ring": _ring,
    "moon": _moon,
}
