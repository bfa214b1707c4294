"""Decoding of bytes from anywhere: what a person would see, or one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.images import ImageError, ImageLimits, codec_of, decode, encode, sha256

RED = (255, 0, 0)


def saved(image: Image.Image, codec: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, codec, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("codec", ["png", "webp", "jpeg"])
def test_round_trip(codec):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image = Image.fromarray(pixels) if codec != "jpeg" else Image.new("RGB", (30, 20), RED)
    data = encode(image, codec)
    assert data == encode(image, codec) and codec_of(data) == codec
    back = decode(data)
    assert (back.mode, back.size) == ("RGB", (30, 20))
    assert abs(np.asarray(back).astype(int) - np.asarray(image)).max() <= (2 if codec == "jpeg" else 0)


def test_encode_refuses_other_codecs():
    with pytest.raises(ValueError, match="cannot encode 'tiff': choose png, jpeg, webp"):
        encode(Image.new("RGB", (20, 20)), "tiff")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"<html>not found</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (saved(Image.effect_noise((64, 64), 50), "JPEG")[:900], "the jpeg image is truncated or damaged"),
        (saved(Image.effect_noise((64, 64), 50), "PNG")[:900], "the png image is truncated or damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"garbage" * 9, "the png image is truncated or damaged"),
        (saved(Image.new("RGB", (1, 1)), "PNG"), "the image is 1x1 pixels, its shorter side below 16"),
        (saved(Image.new("RGB", (400, 15)), "PNG"), "400x15 pixels, its shorter side below 16"),
        (png_header(30_000, 30_000), "more than 64,000,000 pixels"),
        (png_header(9_000, 9_000), "9,000x9,000 pixels, above 64,000,000"),
        (saved(Image.new("F", (20, 20)), "TIFF"), "32-bit samples"),
    ],
)
def test_bad_bytes_end_in_one_sentence(data, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        decode(data)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_limits_are_the_callers():
    small = saved(Image.new("RGB", (4, 4), RED), "PNG")
    assert decode(small, ImageLimits(min_side=4)).size == (4, 4)
    with pytest.raises(ImageError, match="above 10 in all"):
        decode(small, ImageLimits(min_side=1, max_pixels=10))


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    for codec, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = saved(frames[0], codec, save_all=True, append_images=frames[1:], **options)
        assert decode(data).getpixel((9, 9)) == RED


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    image = Image.new("RGB", (32, 16), "white")
    image.paste(RED, (0, 0, 16, 16))
    turned = decode(saved(image, "PNG", exif=exif))
    assert turned.size == (16, 32)
    assert (turned.getpixel((8, 4)), turned.getpixel((8, 28))) == (RED, (255, 255, 255))


def test_transparency_lies_over_white():
    half = Image.new("RGBA", (20, 20), (255, 0, 0, 51))  # one fifth red: 255, 204, 204
    assert decode(saved(half, "PNG")).getpixel((0, 0)) == (255, 204, 204)
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert decode(saved(palette, "PNG", transparency=0)).getpixel((0, 0)) == (255, 255, 255)
    assert decode(saved(Image.new("LA", (20, 20), (0, 0)), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_modes_become_8_bit_rgb():
    cmyk = decode(saved(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(np.array(cmyk.getpixel((5, 5))) - RED).max() <= 4
    grey16 = np.full((20, 20), 32_896, np.uint16)  # 128 * 257
    for codec in ("PNG", "TIFF"):
        assert decode(saved(Image.fromarray(grey16), codec)).getpixel((0, 0)) == (128, 128, 128)
    assert decode(saved(Image.new("1", (20, 20), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)


def test_sha256():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
