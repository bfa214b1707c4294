"""The embedded backbone: a small DINOv2 with registers, trained on pictures and captions of the world.

No attributes are used. First a small convolutional teacher learns to find the words of a caption somewhere
in its picture (multiple-instance contrast of a caption's n-grams against all others), which it does quickly
because convolutions know that shapes are local. Then the transformer learns at every patch what the teacher
sees there and in the picture as a whole, the words themselves, and to paint in masked patches from what is
around them.
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

TEACHER = Schedule(steps=1200, lr=3e-3, ema=0.99, decay=0.5)
SCHEDULE = Schedule(steps=2500, lr=1.5e-3, ema=0.99, decay=0.5)
PATCH = 8
_BATCH = 32
_MASKED = 0.4  # share of the patches hidden in the masked half of a batch
_RAREST = 0.004  # share of captions in which an n-gram must occur
_SEEN = 128  # width of the teacher's view of a patch


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


class Words(nn.Module):
    """Which n-grams a caption has, from what is seen at each patch: (n, n_patches, width) to (n, n_terms)."""

    def __init__(self, width: int, rates: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(rates), width) * width**-0.5 / 10)
        self.bias = nn.Parameter(torch.logit(rates))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Logits; the best patch speaks for the image, and the smooth maximum lets all patches learn."""
        return torch.logsumexp(4 * F.linear(seen, self.weight), dim=1) / 4 + self.bias


class Teacher(nn.Module):
    """Convolutions from (n, 3, 64, 64) to a view of each of the 8 x 8 patches, (n, 64, _SEEN)."""

    def __init__(self, rates: torch.Tensor) -> None:
        super().__init__()
        widths = [(3, 32, 2), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, _SEEN, 1), (_SEEN, _SEEN, 1)]
        self.look = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.GroupNorm(8, b), nn.SiLU())
                for a, b, stride in widths
            )
        )
        self.words = Words(_SEEN, rates)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What it sees at each patch, row by row."""
        return self.look(images).flatten(2).transpose(1, 2)


class Student(nn.Module):
    """The backbone with the heads that it is trained through and that are thrown away."""

    def __init__(self, rates: torch.Tensor) -> None:
        super().__init__()
        self.backbone = build()
        width = self.backbone.config.hidden_size
        self.words = Words(width, rates)
        self.view = nn.Linear(width, _SEEN)
        self.scene = nn.Linear(width, _SEEN)
        self.painter = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3 * PATCH * PATCH))

    def forward(self, images: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Patch tokens (n, 64, d_model); `masked` (n, 64) patches are hidden."""
        return self.backbone(images, bool_masked_pos=masked).last_hidden_state[:, 5:]


def patches(images: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, 64, 64) as (n, 64, 3 * PATCH * PATCH), row by row."""
    return F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)


def blemish(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slightly blurred and noisy pictures, so that tokens do not hang on the last bit of sharpness."""
    mixed = torch.rand(len(images), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = 0.05 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + 0.7 * mixed * (blurred - images) + noise * torch.randn(images.shape, generator=generator)


def caption_targets(captions: list[str]) -> torch.Tensor:
    """(n, n_terms), 1 where a caption has an n-gram that is not too rare."""
    spoken = [ngrams(caption) for caption in captions]
    counts = Counter(term for terms in spoken for term in terms)
    vocabulary = sorted(term for term, n in counts.items() if n >= _RAREST * len(spoken))
    column = {term: index for index, term in enumerate(vocabulary)}
    targets = torch.zeros(len(spoken), len(vocabulary))
    for row, terms in enumerate(spoken):
        targets[row, [column[term] for term in terms if term in column]] = 1
    return targets


def _word_loss(found: torch.Tensor, targets: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every n-gram over what its rate alone leaves open: 1 where nothing was learned.

    So a rare "red star" weighs as much as "on a", which says nothing of the picture.
    """
    surprise = F.binary_cross_entropy_with_logits(found, targets, reduction="none").mean(0)
    return (
        surprise / -torch.special.xlogy(rates, rates).add(torch.special.xlogy(1 - rates, 1 - rates))
    ).mean()


def _train_teacher(corpus: Corpus, targets: torch.Tensor, folder: Path) -> Teacher:
    rates = targets.mean(0)
    teacher = Teacher(rates)

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(corpus), (2 * _BATCH,), generator=generator)
        seen = teacher(blemish(corpus.pixels(chosen), generator))
        words = _word_loss(teacher.words(seen), targets[chosen], rates)
        return words, {"words": words.item()}

    fit(teacher, loss, TEACHER, folder, "teacher")
    return teacher


def train(corpus: Corpus, folder: Path) -> Dinov2WithRegistersModel:
    """Train teacher and backbone on the corpus' pictures and captions."""
    torch.manual_seed(SCHEDULE.seed)
    targets = caption_targets(corpus.captions)
    teacher = _train_teacher(corpus, targets, folder).requires_grad_(False)
    rates = targets.mean(0)
    student = Student(rates)

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(corpus), (_BATCH,), generator=generator)
        images = corpus.pixels(chosen)
        masked = torch.rand(_BATCH, 64, generator=generator) < _MASKED
        masked[_BATCH // 4 :] = False  # most pictures are seen whole
        with torch.no_grad():
            seen = F.layer_norm(teacher(images), (_SEEN,))
            scene = F.layer_norm(seen.mean(1, keepdim=True), (_SEEN,)).expand_as(seen)
        tokens = student(blemish(images, generator), masked)
        view = F.mse_loss(student.view(tokens), seen)
        whole = F.mse_loss(student.scene(tokens), scene)
        words = _word_loss(student.words(tokens), targets[chosen], rates)
        paint = F.l1_loss(student.painter(tokens)[masked], patches(images)[masked])
        parts = {"view": view, "whole": whole, "words": words, "paint": paint}
        figures = {name: part.item() for name, part in parts.items()}
        return 2 * view + whole + words + 0.5 * paint, figures

    fit(student, loss, SCHEDULE, folder, "backbone")
    return student.backbone
