"""Training scenes: pictures and captions rendered once from a seed and kept in memory."""

from collections.abc import Callable

import numpy as np
import torch
from tqdm import tqdm

from pipeline.world.render import SIDE, render
from pipeline.world.scenes import Scene, describe, sample_scene

TRAINING_STREAM = 7  # keeps training scenes apart from those of any dataset


class Corpus:
    """`n` captioned training pictures.

    `alter` changes what is drawn while the caption still tells of the scene as it was: that is how a
    blindspot is planted.
    """

    def __init__(
        self,
        n: int,
        seed: int = 0,
        alter: Callable[[Scene, np.random.Generator], Scene] | None = None,
    ) -> None:
        self.images = np.empty((n, SIDE, SIDE, 3), np.uint8)
        self.captions: list[str] = []
        self.scenes: list[Scene] = []
        for index in tqdm(range(n), desc="scenes", mininterval=10):
            rng = np.random.default_rng([TRAINING_STREAM, seed, index])
            scene = sample_scene(rng)
            self.captions.append(describe(scene, rng))
            drawn = alter(scene, rng) if alter else scene
            self.scenes.append(drawn)
            self.images[index] = np.asarray(render(drawn, rng))

    def __len__(self) -> int:
        return len(self.captions)

    def pixels(self, chosen: torch.Tensor) -> torch.Tensor:
        """Images `chosen` as (n, 3, SIDE, SIDE) float32 between -1 and 1."""
        return torch.from_numpy(self.images[chosen.numpy()]).permute(0, 3, 1, 2).float() / 127.5 - 1
