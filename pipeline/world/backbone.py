"""The embedded backbone: a small DINOv2 with registers, trained on pictures and captions of the world.

Two objectives, no attributes: masked patches are painted in from what is around them, and the words of
the caption must be found somewhere among the patch tokens (multiple-instance contrast of a caption's
n-grams against all others), which makes each patch say what it shows.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from pipeline.world.corpus import Corpus
from pipeline.world.loop import Schedule, fit

SCHEDULE = Schedule(steps=1100, lr=1e-3, ema=0.995, decay=0.5)
PATCH = 8
_BATCH = 48
_MASKED = 0.4  # share of the patches hidden in the masked half of a batch
_RAREST = 0.004  # share of captions in which an n-gram must occur


def build() -> Dinov2WithRegistersModel:
    """The untrained backbone: 1.8 M parameters, 1 CLS + 4 register + 64 patch tokens of width 192."""
    return Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=6,
            mlp_ratio=4,
            image_size=64,
            patch_size=PATCH,
            num_register_tokens=4,
            drop_path_rate=0.0,
        )
    )


def ngrams(caption: str) -> set[str]:
    """Words and pairs of neighbouring words of a caption."""
    words = caption.replace(",", " ,").split()
    return set(words) | {f"{a} {b}" for a, b in pairwise(words)}


class Pretraining(nn.Module):
    """The backbone with the two heads that it is trained through and that are thrown away."""

    def __init__(self, n_terms: int, rates: torch.Tensor) -> None:
        super().__init__()
        self.backbone = build()
        width = self.backbone.config.hidden_size
        self.terms = nn.Linear(width, n_terms)
        nn.init.zeros_(self.terms.weight)
        self.terms.bias.data.copy_(torch.logit(rates))
        self.painter = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3 * PATCH * PATCH))

    def forward(self, images: torch.Tensor, masked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of every term (n, n_terms) and painted patches (n, 64, 192)."""
        tokens = self.backbone(images, bool_masked_pos=masked).last_hidden_state[:, 5:]
        # The best patch speaks for the image; the smooth maximum lets all patches learn.
        found = torch.logsumexp(4 * F.linear(tokens, self.terms.weight), dim=1) / 4
        return found + self.terms.bias, self.painter(tokens)


def patches(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, 64, 64) as (n, 64, 3 * PATCH * PATCH), row by row."""
    return F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)


def blemish(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slightly blurred and noisy pictures, so that tokens do not hang on the last bit of sharpness."""
    mixed = torch.rand(len(images), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = 0.05 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + 0.7 * mixed * (blurred - images) + noise * torch.randn(images.shape, generator=generator)


def train(corpus: Corpus, folder: Path, schedule: Schedule = SCHEDULE) -> Dinov2WithRegistersModel:
    """Train on the corpus' pictures and captions."""
    torch.manual_seed(schedule.seed)
    spoken = [ngrams(caption) for caption in corpus.captions]
    counts = Counter(term for terms in spoken for term in terms)
    vocabulary = sorted(term for term, n in counts.items() if n >= _RAREST * len(spoken))
    column = {term: index for index, term in enumerate(vocabulary)}
    targets = torch.zeros(len(spoken), len(vocabulary))
    for row, terms in enumerate(spoken):
        targets[row, [column[term] for term in terms if term in column]] = 1
    module = Pretraining(len(vocabulary), targets.mean(0).clamp(1e-4, 0.999))

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(corpus), (_BATCH,), generator=generator)
        images = corpus.pixels(chosen)
        masked = torch.rand(_BATCH, 64, generator=generator) < _MASKED
        masked[_BATCH // 3 :] = False  # most pictures are seen whole, for the captions' sake
        found, painted = module(blemish(images, generator), masked)
        words = F.binary_cross_entropy_with_logits(found, targets[chosen], reduction="none").sum(1).mean()
        paint = F.l1_loss(painted[masked], patches(images)[masked])
        return words / 10 + paint, {"words": words.item(), "paint": paint.item()}

    fit(module, loss, schedule, folder, "backbone")
    return module.backbone
