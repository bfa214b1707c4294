"""Tiny pipelines and backbones of the real classes, random weights, saved as their libraries save them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def _offline():
    """No test reaches a hub, whatever it asks for."""
    import datasets.config
    import huggingface_hub.constants

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny pipeline: sd, dpo (a UNet alone), nsfw (all is flagged), pixart, kandinsky."""
    root, built = tmp_path_factory.mktemp("pipelines"), {}

    def folder(name: str) -> Path:
        if name not in built:
            built[name] = _BUILDERS[name](root / name)
        return built[name]

    return folder


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _clip_config(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 16,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }


def _unet(seed: int, **options: Any) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    sizes = {"in_channels": 4, "out_channels": 4, "block_out_channels": (8,), "cross_attention_dim": 16}
    blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    small = {"layers_per_block": 1, "attention_head_dim": 4, "norm_num_groups": 4, "sample_size": 16}
    return UNet2DConditionModel(**sizes | blocks | small | options)


def _vae(n_blocks: int = 2) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4,) * n_blocks,
        down_block_types=("DownEncoderBlock2D",) * n_blocks,
        up_block_types=("UpDecoderBlock2D",) * n_blocks,
        norm_num_groups=2,
        latent_channels=4,
        layers_per_block=1,
    )


def _build_sd(folder: Path, checker: Any = None) -> Path:
    import torch
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPImageProcessorPil, CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = _clip_tokenizer()
    StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_clip_config(len(tokenizer)))),
        tokenizer=tokenizer,
        unet=_unet(1),
        scheduler=PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        safety_checker=checker,
        feature_extractor=CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size=8),
        requires_safety_checker=checker is not None,
    ).save_pretrained(folder)
    return folder


def _build_nsfw(folder: Path) -> Path:
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = CLIPConfig(vision_config=vision | {"image_size": 8, "patch_size": 4}, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data = torch.full((17,), -2.0)  # every cosine is above: all flagged
    return _build_sd(folder, checker)


def _build_dpo(folder: Path) -> Path:
    _unet(2).save_pretrained(folder / "unet")
    return folder


def _build_pixart(folder: Path) -> Path:
    import torch
    from diffusers import DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    tokenizer = T5Tokenizer(vocab=words + [(chr(97 + i), -3.0) for i in range(26)], extra_ids=0)
    text = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=16,
        sample_size=32,  # one of the sizes whose resolutions PixArt bins
        patch_size=2,
        caption_channels=16,
    )
    PixArtAlphaPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(text),
        vae=_vae(4),
        transformer=transformer,
        scheduler=DPMSolverMultistepScheduler(),
    ).save_pretrained(folder)
    return folder


def _build_kandinsky(folder: Path) -> Path:
    """As on the Hub: a decoder whose page names the prior, which lies elsewhere."""
    import torch
    from diffusers import DDIMScheduler, KandinskyPipeline, VQModel
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP
    from transformers import XLMRobertaTokenizer

    torch.manual_seed(0)
    letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *letters, ("<mask>", 0.0)], model_max_length=77)
    text = MultilingualCLIP(
        MCLIPConfig(
            numDims=16,
            transformerDimensions=16,
            hidden_size=16,
            intermediate_size=16,
            num_attention_heads=2,
            num_hidden_layers=1,
            vocab_size=len(tokenizer),
            max_position_embeddings=80,
        )
    )
    unet = _unet(
        1,
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(8, 8),
        addition_embed_type="text_image",
        addition_embed_type_num_heads=2,
        encoder_hid_dim_type="text_image_proj",
        encoder_hid_dim=16,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=(32, 32),  # its spatial norm has 32 groups, whatever norm_num_groups says
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        num_vq_embeddings=8,
        vq_embed_dim=4,
        norm_num_groups=4,
        norm_type="spatial",
    )
    KandinskyPipeline(
        text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(), movq=movq
    ).save_pretrained(folder)
    prior = _build_kandinsky_prior(folder.with_name("kandinsky-prior"))
    (folder / "README.md").write_text(f"---\nprior:\n- {prior}\ntags:\n- text-to-image\n---\n")
    return folder


def _build_kandinsky_prior(folder: Path) -> Path:
    from diffusers import KandinskyPriorPipeline, PriorTransformer, UnCLIPScheduler
    from transformers import (
        CLIPImageProcessorPil,
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    tokenizer = _clip_tokenizer()
    config = _clip_config(len(tokenizer))
    KandinskyPriorPipeline(
        prior=PriorTransformer(num_attention_heads=2, attention_head_dim=8, embedding_dim=16, num_layers=1),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                projection_dim=16,
                image_size=8,
                patch_size=4,
            )
        ),
        text_encoder=CLIPTextModelWithProjection(CLIPTextConfig(**config)),
        tokenizer=tokenizer,
        scheduler=UnCLIPScheduler(prediction_type="sample", num_train_timesteps=1000),
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size=8),
    ).save_pretrained(folder)
    return folder


_BUILDERS = {
    "sd": _build_sd,
    "dpo": _build_dpo,
    "nsfw": _build_nsfw,
    "pixart": _build_pixart,
    "kandinsky": _build_kandinsky,
}
