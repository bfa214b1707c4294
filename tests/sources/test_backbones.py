"""Backbones: preprocessing against hand-worked values and transformers' own, tokens of tiny DINOv2s."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.sources.backbones import BACKBONES, BackboneConfig, BackboneSpec, open_backbone, preprocess

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 70,
        "patch_size": 14,
    }
    root = tmp_path_factory.mktemp("backbones")
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(root / "plain")
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, num_register_tokens=4)).save_pretrained(
        root / "reg"
    )
    small = sizes | {"image_size": 64, "patch_size": 8}
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**small, num_register_tokens=2)).save_pretrained(
        root / "tiny"
    )
    return root


@pytest.fixture
def opened(folders):
    return lambda name, folder, **options: open_backbone(
        BackboneConfig(name=name, source=str(folders / folder), device="cpu", **options)
    )


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_crop_is_centred_and_halves_round_to_even():
    # 5 wide, 2 high, red channel 0, 10, 20, 30, 40: nothing is resized, the crop starts at round(1.5) = 2.
    pixels = np.zeros((2, 5, 3), np.uint8)
    pixels[..., 0] = [0, 10, 20, 30, 40]
    seen = preprocess(
        Image.fromarray(pixels), BackboneSpec(resize=2, crop=2, mean=(0.5, 0, 0), std=(0.25, 1, 1))
    )
    assert seen.shape == (3, 2, 2) and seen.dtype == np.float32
    np.testing.assert_allclose(seen[0], [[(20 / 255 - 0.5) / 0.25, (30 / 255 - 0.5) / 0.25]] * 2, rtol=1e-6)
    # 3 wide: round(0.5) = 0
    seen = preprocess(Image.fromarray(pixels[:, :3]), BackboneSpec(resize=2, crop=2, **PLAIN))
    np.testing.assert_allclose(seen[0] * 255, [[0, 10]] * 2, rtol=1e-6)


def test_longer_side_rounds_down_and_bicubic_is_antialiased():
    # 3 x 5 to 4 x 6 (6.67 rounds down); a flat colour stays.
    flat = preprocess(Image.new("RGB", (3, 5), (51, 102, 255)), BackboneSpec(resize=4, crop=4, **PLAIN))
    np.testing.assert_allclose(flat[:, 2, 1], [0.2, 0.4, 1.0], rtol=1e-6)
    # Half size of a checkerboard of single pixels: with antialiasing grey, without it black or white.
    board = np.indices((32, 32)).sum(0) % 2 * 255
    image = Image.fromarray(np.repeat(board[..., None], 3, 2).astype(np.uint8))
    seen = preprocess(image, BackboneSpec(resize=16, crop=8, **PLAIN))
    assert abs(seen * 255 - 127.5).max() < 4


@pytest.mark.parametrize("size", [(300, 420), (512, 360), (100, 100), (224, 1002)])
def test_agrees_with_transformers(size):
    # Sizes with an even margin: transformers crops at the floor of an odd one's half, torchvision rounds it.
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

    spec = BACKBONES["dinov2-base-reg"]
    theirs = BitImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=list(spec.mean),
        image_std=list(spec.std),
    )
    image = noise(*size)
    expected = np.asarray(theirs(image, return_tensors="np")["pixel_values"][0])
    np.testing.assert_allclose(preprocess(image, spec), expected, atol=2e-6)


def test_same_size_is_untouched():
    image = noise(64, 64)
    seen = preprocess(image, BackboneSpec(resize=64, crop=64, **PLAIN))
    assert (np.rint(seen * 255).transpose(1, 2, 0) == np.asarray(image)).all()


@pytest.mark.parametrize(
    ("name", "folder", "shape", "n_prefix", "grid"),
    [
        ("dinov2-base-reg", "reg", (3, 261, 24), 5, (16, 16)),  # positions of 5 x 5 patches, interpolated
        ("dinov2-base", "plain", (3, 257, 24), 1, (16, 16)),
        ("tiny-dinov2", "tiny", (3, 67, 24), 3, (8, 8)),
    ],
)
def test_tokens(opened, name, folder, shape, n_prefix, grid):
    backbone = opened(name, folder, batch_size=2)
    images = [noise(80, 64, seed) for seed in range(3)]
    tokens = backbone.tokens(images)
    assert tokens.shape == shape and tokens.dtype == torch.float32 and not tokens.requires_grad
    assert (backbone.n_tokens, backbone.d_model, backbone.n_prefix, backbone.grid) == (
        *shape[1:],
        n_prefix,
        grid,
    )
    assert backbone.id == name
    # After the final LayerNorm, which is fresh here: each token has mean 0 and variance 1.
    np.testing.assert_allclose(tokens.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(tokens.var(-1, correction=0), 1, atol=1e-2)
    torch.testing.assert_close(tokens[1], backbone.tokens([images[1]])[0], atol=1e-5, rtol=1e-5)
    assert backbone.tokens([]).shape == (0, *shape[1:])


def test_patches_run_row_by_row(opened):
    backbone = opened("tiny-dinov2", "tiny")
    pixels = np.full((64, 64, 3), 128, np.uint8)
    dotted = pixels.copy()
    dotted[16:24, 40:48] = 255  # patch in row 2, column 5
    change = (backbone.tokens([Image.fromarray(dotted)]) - backbone.tokens([Image.fromarray(pixels)]))[0]
    patches = change[backbone.n_prefix :].norm(dim=-1).reshape(backbone.grid)
    assert divmod(int(patches.argmax()), 8) == (2, 5)


def test_preprocessing_is_json_and_fingerprint_tells_weights_apart(opened):
    backbone, other = opened("dinov2-base-reg", "reg"), opened("dinov2-base", "plain")
    assert json.loads(json.dumps(backbone.preprocessing)) == {
        "resize": 256,
        "crop": 224,
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert backbone.fingerprint() == opened("mine", "reg").fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"name": "dinov2-large-reg"},
            "unknown backbone 'dinov2-large-reg': the nearest are dinov2-base-reg",
        ),
        ({"name": "nobody/nothing"}, "'nobody/nothing' cannot be loaded .*check the source and the network"),
        ({"name": "dinov2-base", "crop": 100}, "must be a multiple of the patch size 14"),
        ({"name": "dinov2-base", "crop": 280}, "at most resize, 256"),
    ],
)
def test_wrong_configs_end_in_one_sentence(folders, options, sentence):
    source = (
        {} if "/" in options["name"] or "large" in options["name"] else {"source": str(folders / "plain")}
    )
    with pytest.raises(ValueError, match=sentence) as caught:
        open_backbone(BackboneConfig.model_validate({"device": "cpu"} | source | options))
    assert "\n" not in str(caught.value)


def test_other_families_are_refused(tmp_path):
    from transformers import ViTConfig

    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a vit; known are dinov2 and dinov2_with_registers"):
        open_backbone(BackboneConfig(name="mine", source=str(tmp_path), device="cpu"))
