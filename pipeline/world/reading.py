"""A text encoder learns to read before it learns to draw.

Trained along with a denoiser alone, a small text encoder hands over a bag of words: every object and every
colour, but not which belongs to which. So it first tells from a caption, object by object in reading order,
the shape, colour, size and place, and the background. That takes minutes, as no picture is needed. The
denoiser then works from the finished encoder, as that of Stable Diffusion or PixArt does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.world.loop import Schedule, fit
from pipeline.world.scenes import BACKGROUNDS, CELLS, COLOURS, SHAPES, SIZES, Scene

if TYPE_CHECKING:
    from pipeline.world.diffusion import Denoiser

SCHEDULE = Schedule(steps=700, lr=1e-3, decay=0.5, ema=0.98)
D_TEXT = 128  # width of the text encoders
_BATCH = 128
_SLOTS = len(CELLS)
_NOBODY = -100  # ignored by the loss
_N_CLASSES = (len(SHAPES) + 1, len(COLOURS), len(SIZES), len(CELLS))  # the extra shape: no such object


class Reader(nn.Module):
    """A text encoder and its questions: (n, length) token ids to logits.

    Four objects' shape, colour, size and cell, each (n, 4, n_classes), and the background (n, n_classes).
    """

    def __init__(self, denoiser: "Denoiser") -> None:
        super().__init__()
        self.denoiser = [denoiser]  # not as a child: only its text encoder is trained
        self.text = denoiser.text
        self.questions = nn.Parameter(torch.randn(_SLOTS + 1, D_TEXT))
        self.listen = nn.MultiheadAttention(D_TEXT, 4, batch_first=True)
        self.answers = nn.ModuleList(nn.Linear(D_TEXT, n) for n in (*_N_CLASSES, len(BACKGROUNDS)))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """Logits of shape, colour, size, cell and background."""
        [denoiser] = self.denoiser
        states = denoiser.read(ids, mask)
        asked = self.questions.expand(len(ids), -1, -1)
        heard, _ = self.listen(asked, states, states, key_padding_mask=mask == 0 if denoiser.masked else None)
        *objects, background = self.answers
        return [*(answer(heard[:, :_SLOTS]) for answer in objects), background(heard[:, _SLOTS])]


def truth(scenes: list[Scene]) -> list[torch.Tensor]:
    """Class indices per family as `Reader` orders them; an absent object has shape `len(SHAPES)` only."""
    values = torch.full((len(scenes), _SLOTS, len(_N_CLASSES)), _NOBODY)
    values[:, :, 0] = len(SHAPES)
    shapes, colours, backgrounds = list(SHAPES), list(COLOURS), list(BACKGROUNDS)
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            values[row, slot, 0] = shapes.index(thing.shape)
            values[row, slot, 1] = colours.index(thing.colour)
            values[row, slot, 2] = SIZES.index(thing.size)
            values[row, slot, 3] = thing.cell
    return [*values.unbind(2), torch.tensor([backgrounds.index(scene.background) for scene in scenes])]


def teach(
    denoiser: "Denoiser",
    captions: list[str],
    scenes: list[Scene],
    folder: Path,
    name: str,
    schedule: Schedule = SCHEDULE,
) -> None:
    """Train the text encoder of `denoiser` in place on the captions of `scenes`."""
    reader = Reader(denoiser)
    ids, mask = denoiser.tokens(captions)
    answers, lengths = truth(scenes), mask.sum(1)

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(scenes), (_BATCH,), generator=generator)
        length = int(lengths[chosen].max()) if denoiser.masked else ids.shape[1]
        logits = reader(ids[chosen, :length], mask[chosen, :length])
        parts = [
            F.cross_entropy(guess.flatten(0, -2), answer[chosen].flatten())
            for guess, answer in zip(logits, answers, strict=True)
        ]
        names = ("shape", "colour", "size", "cell", "background")
        return sum(parts[1:], parts[0]), {k: v.item() for k, v in zip(names, parts, strict=True)}

    fit(reader, loss, schedule, folder, f"{name}-text")
