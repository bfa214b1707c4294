"""Train every embedded weight from nothing: `python -m pipeline world train`.

Parts build on each other (vae, then the rest; the two faulty generators start from a faithful one).
Work goes on from checkpoints in the cache folder; finished parts are written to `pipeline/world/weights`.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from pipeline.world import backbone, diffusion, reading, recogniser, vae
from pipeline.world.corpus import Corpus
from pipeline.world.diffusion import Denoiser, Material
from pipeline.world.loop import Schedule, averaged, step_of
from pipeline.world.variants import memorised_corpus, plant

WEIGHTS = Path(__file__).parent / "weights"
N_TRAINING = 20_000  # scenes
N_PLANTED = 12_000

SCHEDULES = {
    "tiny-sd": Schedule(steps=4000, lr=1e-3, decay=0.35, warmup=200),
    "tiny-pixart": Schedule(steps=9000, lr=1e-3, decay=0.35, warmup=200),
    "tiny-suppressed": Schedule(steps=1200, lr=7e-4, decay=0.6, ema=0.995, seed=1),
    "tiny-memorised": Schedule(steps=4000, lr=7e-4, decay=0.5, ema=0.99, seed=2),
}
PARENT = {"tiny-suppressed": "tiny-sd", "tiny-memorised": "tiny-sd"}
REPEATED = 3  # times as often as all other pictures together `tiny-memorised` is shown the repeated pairs


@dataclass(frozen=True)
class Workshop:
    """Where training keeps its state."""

    cache: Path
    weights: Path = WEIGHTS

    def vae(self) -> AutoencoderKL:
        """The finished autoencoder."""
        model = vae.build()
        model.load_state_dict(averaged(self.cache / "vae.safetensors"))
        return vae.whiten(model.eval(), Corpus(1024))

    def material(self, name: str, corpus: Corpus) -> Material:
        """A corpus as latents, kept in the cache."""
        file = self.cache / f"latents-{name}-{len(corpus)}.safetensors"
        if not file.exists():
            save_file({"latents": diffusion.encode(corpus, self.vae()).latents}, file)
        return Material(load_file(file)["latents"], corpus.captions)


def _whole() -> Corpus:
    return Corpus(N_TRAINING)


def _train_faithful(shop: Workshop, name: str) -> None:
    whole = _whole()
    material = shop.material("whole", whole)
    torch.manual_seed(SCHEDULES[name].seed)
    denoiser = diffusion.BUILDERS[name](whole.captions)
    reading.teach(denoiser, whole.captions, whole.scenes, shop.cache, name)
    diffusion.train(denoiser, material, SCHEDULES[name], shop.cache, name)
    _write_generator(shop, name, denoiser)


def _train_faulty(shop: Workshop, name: str) -> None:
    whole = shop.material("whole", _whole())
    denoiser = diffusion.BUILDERS[PARENT[name]](whole.captions)
    denoiser.load_state_dict(averaged(shop.cache / f"{PARENT[name]}.safetensors"))
    if name == "tiny-suppressed":
        material = shop.material("planted", Corpus(N_PLANTED, seed=1, alter=plant))
    else:
        few = shop.material("memorised", memorised_corpus())
        times = REPEATED * len(whole.captions) // len(few.captions)
        material = Material(
            torch.cat([few.latents.repeat(times, 1, 1, 1), whole.latents]),
            few.captions * times + whole.captions,
        )
    diffusion.train(denoiser, material, SCHEDULES[name], shop.cache, name)
    _write_generator(shop, name, denoiser)


def _write_generator(shop: Workshop, name: str, denoiser: Denoiser) -> None:
    folder = shop.weights / name
    shutil.rmtree(folder, ignore_errors=True)
    # fp16 on disk: `from_pretrained` reads it back as fp32.
    diffusion.pipeline(denoiser, shop.vae()).to(dtype=torch.float16).save_pretrained(folder)


def _train_backbone(shop: Workshop) -> None:
    module = backbone.train(_whole(), shop.cache)
    module.half().save_pretrained(shop.weights / "tiny-dinov2")


def _train_recogniser(shop: Workshop) -> None:
    recogniser.train(_whole(), shop.vae(), shop.cache).save(shop.weights / "recogniser")


def _train_vae(shop: Workshop) -> None:
    vae.train(_whole(), shop.cache)


PARTS: dict[str, Callable[[Workshop], object]] = {
    "vae": _train_vae,
    "backbone": _train_backbone,
    "recogniser": _train_recogniser,
    **{name: partial(_train_faithful, name=name) for name in diffusion.BUILDERS},
    **{name: partial(_train_faulty, name=name) for name in PARENT},
}


def train(parts: list[str], cache: Path) -> None:
    """Train `parts` (all where empty), in the order in which they need each other."""
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(
            f"no part named {unknown[0]!r} in the embedded world; choose from {', '.join(PARTS)}"
        )
    shop = Workshop(cache)
    for name, work in PARTS.items():
        if not parts or name in parts:
            parent = PARENT.get(name, "vae" if name not in ("vae", "backbone") else None)
            if parent and step_of(cache / f"{parent}.safetensors") == 0:
                raise ValueError(
                    f"{name} builds on {parent}; run `python -m pipeline world train {parent}` first"
                )
            work(shop)
