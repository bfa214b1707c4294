"""A text tower of the real CLIP class, tiny and untrained, against transformers used directly."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.sources.text_tower import TextTower
from pipeline.world.captions import clip_tokenizer

PHRASES = ["a red star", "a blue moon", "star"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def tiny_clip(folder):
    """A folder with a CLIP of a few thousand weights, its tokenizer and image processor."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    torch.manual_seed(0)
    tokenizer = clip_tokenizer(PHRASES * 20)
    part = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **part,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 12,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**part, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    size = {"shortest_edge": 32}
    images = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def noise(seed: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def test_vectors_are_those_of_the_class_itself(clip):
    from transformers import CLIPModel, CLIPProcessor

    tower = TextTower(str(clip), device="cpu")
    pictures = [noise(0), noise(1, "L"), noise(2, "RGBA")]
    network, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    inputs = processor(
        text=PHRASES,
        images=[picture.convert("RGB") for picture in pictures],
        return_tensors="pt",
        padding=True,
    )
    with torch.inference_mode():
        out = network(**inputs)
    np.testing.assert_allclose(tower.texts(PHRASES), out.text_embeds, atol=1e-5)
    np.testing.assert_allclose(tower.images(pictures), out.image_embeds, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(tower.texts(PHRASES), axis=1), 1, rtol=1e-5)


def test_long_phrases_are_cut_and_many_go_in_batches(clip):
    tower = TextTower(str(clip), device="cpu")
    vectors = tower.texts(["star " * 100, *PHRASES * 20])
    assert vectors.shape == (61, 8)
    np.testing.assert_allclose(vectors[1:4], vectors[58:61], atol=1e-5)


def test_what_is_no_text_tower_is_refused_in_one_sentence(tmp_path):
    from transformers import BertConfig, BertModel

    with pytest.raises(ValueError, match=r"cannot be loaded from .*nowhere.*check the source"):
        TextTower(str(tmp_path / "nowhere"))
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**small)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"bert"):
        TextTower(str(tmp_path / "bert"))
