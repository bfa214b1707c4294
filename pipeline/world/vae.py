"""The autoencoder that all embedded generators share: 64 x 64 pixels to 16 x 16 x 4 latents.

Latents are whitened per channel inside the 1 x 1 `quant_conv` layers, so that the scaling factor is 1.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from pipeline.world.corpus import Corpus
from pipeline.world.loop import Schedule, fit

SCHEDULE = Schedule(steps=1500, lr=3e-3, ema=0.995, decay=0.5)
_BATCH = 16


def build() -> AutoencoderKL:
    """The untrained autoencoder, 0.5 M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def _edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return image[..., 1:] - image[..., :-1], image[..., 1:, :] - image[..., :-1, :]


def train(corpus: Corpus, folder: Path, schedule: Schedule = SCHEDULE) -> AutoencoderKL:
    """Train on the corpus' images by absolute error of pixels and of edges, with a faint KL term."""
    torch.manual_seed(schedule.seed)
    vae = build().to(memory_format=torch.channels_last)

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(corpus), (_BATCH,), generator=generator)
        images = corpus.pixels(chosen).contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        drawn = vae.decode(posterior.mean + posterior.std * noise).sample
        pixel = F.l1_loss(drawn, images) + F.mse_loss(drawn, images)
        edge = sum(F.l1_loss(a, b) for a, b in zip(_edges(drawn), _edges(images), strict=True))
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        return pixel + edge + 2e-4 * kl, {"l1": F.l1_loss(drawn, images).item(), "kl": kl.item()}

    fit(vae, loss, schedule, folder, "vae")
    return whiten(vae, corpus)


@torch.no_grad()
def whiten(vae: AutoencoderKL, corpus: Corpus) -> AutoencoderKL:
    """Give the latents mean 0 and variance 1 per channel by folding it into the 1 x 1 layers."""
    blocks = torch.arange(1024).split(64)
    latents = torch.cat([vae.encode(corpus.pixels(block)).latent_dist.mean for block in blocks])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    quant, post = vae.quant_conv, vae.post_quant_conv
    n = len(mean)
    quant.weight[:n] /= std[:, None, None, None]
    quant.bias[:n] = (quant.bias[:n] - mean) / std
    quant.bias[n:] -= 2 * std.log()  # the log-variance of the scaled latents
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight *= std[None, :, None, None]
    return vae
