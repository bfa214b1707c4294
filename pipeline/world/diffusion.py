"""The embedded generators: small pipelines of two real architectures, trained by flow matching.

`tiny-sd` is Stable Diffusion's (CLIP text encoder, cross-attention UNet), `tiny-pixart` is PixArt's (T5
text encoder, diffusion transformer). Both share the world's autoencoder and work from a text encoder that
has learned to read first (`reading.py`). The velocity of the straight path x_t = (1 - t) x + t noise is
predicted, v = noise - x.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from pipeline.world.captions import CLIP_LENGTH, clip_tokenizer, t5_tokenizer
from pipeline.world.corpus import Corpus
from pipeline.world.loop import Schedule, fit
from pipeline.world.reading import D_TEXT

_BATCH = 32
_UNCONDITIONAL = 0.1  # share of captions that are emptied, for guidance


def scheduler() -> DPMSolverMultistepScheduler:
    """Twenty steps of a second-order solver along the straight path."""
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0
    )


class Denoiser(nn.Module):
    """A text encoder and the core that draws from its states: (latents, times, states) to velocity."""

    def __init__(self, text: nn.Module, core: nn.Module, tokenizer, masked: bool) -> None:
        super().__init__()
        self.text, self.core, self.tokenizer, self.masked = text, core, tokenizer, masked

    def tokens(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, padded as the pipeline pads them (or less, where a mask makes it the same)."""
        padding = "longest" if self.masked else "max_length"
        batch = self.tokenizer(captions, padding=padding, truncation=True, return_tensors="pt")
        return batch["input_ids"], batch["attention_mask"]

    def read(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Text states (n, length, d_text) of token ids, as the pipeline computes them."""
        return self.text(ids, attention_mask=mask)[0] if self.masked else self.text(ids)[0]

    def forward(
        self, latents: torch.Tensor, times: torch.Tensor, states: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Velocity (n, 4, h, w) at `times` between 0 (image) and 1 (noise)."""
        steps = times * 1000
        if not self.masked:
            return self.core(latents, steps, encoder_hidden_states=states).sample
        extra = {"resolution": None, "aspect_ratio": None}
        return self.core(
            latents,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            timestep=steps,
            added_cond_kwargs=extra,
        ).sample


def tiny_sd(captions: list[str]) -> Denoiser:
    """The untrained parts of a `StableDiffusionPipeline`."""
    tokenizer = clip_tokenizer(captions)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=D_TEXT,
            intermediate_size=4 * D_TEXT,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CLIP_LENGTH,
            projection_dim=D_TEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    core = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(48, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=D_TEXT,
        attention_head_dim=4,  # heads, in spite of its name
        norm_num_groups=16,
    )
    return Denoiser(text, core, tokenizer, masked=False)


def tiny_pixart(captions: list[str]) -> Denoiser:
    """The untrained parts of a `PixArtAlphaPipeline`."""
    tokenizer = t5_tokenizer(captions)
    text = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=D_TEXT,
            d_kv=32,
            d_ff=3 * D_TEXT,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    )
    # Word order is in these biases alone; from their usual 0.09, steps of 1e-3 would take thousands to reach
    # "the word before". Wide ones make every head look somewhere else from the first step on.
    nn.init.normal_(text.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight, std=2.0)
    core = PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=32,
        cross_attention_dim=D_TEXT,
        caption_channels=D_TEXT,
        num_layers=6,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        patch_size=2,
    )
    nn.init.zeros_(core.proj_out.weight)
    nn.init.zeros_(core.proj_out.bias)
    return Denoiser(text, core, tokenizer, masked=True)


BUILDERS = {"tiny-sd": tiny_sd, "tiny-pixart": tiny_pixart}


@dataclass(frozen=True)
class Material:
    """What a generator is trained on: latents (n, 4, 16, 16) and their captions."""

    latents: torch.Tensor
    captions: list[str]


@torch.no_grad()
def encode(corpus: Corpus, vae: AutoencoderKL) -> Material:
    """The corpus as latents."""
    blocks = torch.arange(len(corpus)).split(64)
    latents = torch.cat([vae.encode(corpus.pixels(block)).latent_dist.mean for block in blocks])
    return Material((latents * vae.config["scaling_factor"]).contiguous(), corpus.captions)


def train(denoiser: Denoiser, material: Material, schedule: Schedule, folder: Path, name: str) -> Denoiser:
    """Flow matching on `material`; times are logit-normal, so that the middle of the path is seen most."""
    said = {caption: row for row, caption in enumerate(dict.fromkeys(["", *material.captions]))}
    text_of = torch.tensor([said[caption] for caption in material.captions])
    ids, masks = denoiser.tokens(list(said))
    lengths = masks.sum(1)
    denoiser.text.requires_grad_(False)
    with torch.no_grad():
        states = torch.cat(
            [denoiser.read(*block) for block in zip(ids.split(128), masks.split(128), strict=True)]
        )

    def loss(step: int, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = torch.randint(len(material.latents), (_BATCH,), generator=generator)
        latents = material.latents[chosen]
        text = text_of[chosen]
        text[torch.rand(_BATCH, generator=generator) < _UNCONDITIONAL] = said[""]
        length = int(lengths[text].max()) if denoiser.masked else ids.shape[1]
        times = torch.sigmoid(torch.randn(_BATCH, generator=generator))
        noise = torch.randn(latents.shape, generator=generator)
        at = times[:, None, None, None]
        velocity = denoiser(
            (1 - at) * latents + at * noise, times, states[text, :length], masks[text, :length]
        )
        return F.mse_loss(velocity, noise - latents), {}

    fit(denoiser, loss, schedule, folder, name)
    return denoiser


def pipeline(denoiser: Denoiser, vae: AutoencoderKL) -> DiffusionPipeline:
    """An ordinary diffusers pipeline around the trained parts."""
    if denoiser.masked:
        return PixArtAlphaPipeline(denoiser.tokenizer, denoiser.text, vae, denoiser.core, scheduler())
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text,
        tokenizer=denoiser.tokenizer,
        unet=denoiser.core,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
