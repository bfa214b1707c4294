"""An independent judge of pictures of the world: which objects, colours and background does it show?

Trained with the renderer's own truth, and used by `benchmark world` only: no stage knows it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from pipeline.world.backbone import blemish
from pipeline.world.corpus import Corpus
from pipeline.world.loop import Schedule, fit
from pipeline.world.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene

SCHEDULE = Schedule(steps=700, lr=2e-3, ema=0.98, decay=0.6)
_SHAPES, _COLOURS, _BACKGROUNDS = list(SHAPES), list(COLOURS), list(BACKGROUNDS)
_NOTHING = len(_SHAPES)
_BATCH = 32
_CROP = 40  # pixels of a cell with its surroundings


@dataclass(frozen=True)
class Seen:
    """What is in one picture: (shape, colour) per occupied cell, keyed by cell, and the background."""

    things: dict[int, tuple[str, str]]
    background: str


def _block(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1), nn.GroupNorm(8, n_out), nn.SiLU())


class Recogniser(nn.Module):
    """Two small convolutional networks: one looks at a cell, one at the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Sequential(
            _block(3, 24, 1), _block(24, 32, 2), _block(32, 64, 2), _block(64, 96, 2), nn.Flatten()
        )
        self.shape = nn.Linear(96 * 25, len(_SHAPES) + 1)
        self.colour = nn.Linear(96 * 25, len(_COLOURS))
        self.whole = nn.Sequential(
            _block(3, 24, 2), _block(24, 48, 2), _block(48, 96, 2), nn.AdaptiveAvgPool2d(1)
        )
        self.background = nn.Linear(96, len(_BACKGROUNDS))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of shape (n, 4, 9), colour (n, 4, 8) and background (n, 6) for (n, 3, 64, 64) in -1..1."""
        padded = F.pad(images, (4, 4, 4, 4), mode="replicate")
        crops = [padded[:, :, y : y + _CROP, x : x + _CROP] for y in (0, 32) for x in (0, 32)]
        cells = self.cell(torch.stack(crops, 1).flatten(0, 1)).unflatten(0, (-1, 4))
        return self.shape(cells), self.colour(cells), self.background(self.whole(images).flatten(1))

    @torch.no_grad()
    def see(self, images: np.ndarray) -> list[Seen]:
        """Read uint8 pictures (n, 64, 64, 3)."""
        seen = []
        for block in torch.from_numpy(np.ascontiguousarray(images)).split(128):
            shape, colour, background = self(block.permute(0, 3, 1, 2).float() / 127.5 - 1)
            for s, c, b in zip(shape.argmax(-1), colour.argmax(-1), background.argmax(-1), strict=True):
                things = {
                    cell: (_SHAPES[s[cell]], _COLOURS[c[cell]]) for cell in range(4) if s[cell] != _NOTHING
                }
                seen.append(Seen(things, _BACKGROUNDS[b]))
        return seen

    def save(self, folder: Path) -> None:
        """Write half-precision weights."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half() for k, v in self.state_dict().items()}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> "Recogniser":
        """Read what `save` wrote."""
        judge = cls()
        judge.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        return judge.eval()


def _truth(scenes: list[Scene]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = torch.full((len(scenes), 4), _NOTHING)
    colour = torch.full((len(scenes), 4), -100)  # ignored by the loss
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            shape[row, thing.cell] = _SHAPES.index(thing.shape)
            colour[row, thing.cell] = _COLOURS.index(thing.colour)
    return shape, colour, torch.tensor([_BACKGROUNDS.index(scene.background) for scene in scenes])


def train(corpus: Corpus, vae: AutoencoderKL, folder: Path, schedule: Schedule = SCHEDULE) -> Recogniser:
    """Train on rendered scenes, half of them seen through the autoencoder, as generated pictures are."""
    torch.manual_seed(schedule.seed)
    judge = Recogniser()
    truth = _truth(corpus.scenes)

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(corpus), (_BATCH,), generator=generator)
        images = corpus.pixels(chosen)
        with torch.no_grad():
            half = _BATCH // 4
            latents = vae.encode(images[:half]).latent_dist.mean
            latents = latents + 0.15 * torch.randn(latents.shape, generator=generator)
            images = torch.cat([vae.decode(latents).sample, blemish(images[half:], generator)])
        shape, colour, background = judge(images)
        parts = [
            F.cross_entropy(shape.flatten(0, 1), truth[0][chosen].flatten()),
            F.cross_entropy(colour.flatten(0, 1), truth[1][chosen].flatten()),
            F.cross_entropy(background, truth[2][chosen]),
        ]
        names = ("shape", "colour", "background")
        return sum(parts[1:], parts[0]), {k: v.item() for k, v in zip(names, parts, strict=True)}

    fit(judge, loss, schedule, folder, "recogniser")
    return judge
