"""Image bytes to pictures and back, safe for bytes from anywhere.

`decode` gives what a person would see on a white page: orientation applied, transparency over white,
first frame of an animation, 8-bit RGB. Embedded colour profiles are ignored.
"""

import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.registry import first_line

# How a codec begins; other formats that PIL could open (EPS, PDF, ...) are refused, they start programs.
_SIGNATURES = {
    "png": (b"\x89PNG\r\n\x1a\n",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF87a", b"GIF89a"),
    "bmp": (b"BM",),
    "tiff": (b"II*\x00", b"MM\x00*"),
}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
}
STORED_CODECS = tuple(_SAVE_OPTIONS)  # what the lake keeps as it is; anything else is encoded anew


class ImageError(ValueError):
    """The bytes cannot be used as an image; the message is one sentence that says why."""


class ImageLimits(BaseModel):
    """Which images are decoded. Both limits are checked on the header, before anything is decompressed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_side: int = Field(default=16, ge=1)  # pixels of the shorter side
    max_pixels: int = Field(default=64_000_000, ge=1, le=89_478_485)  # width x height; PIL warns above


LIMITS = ImageLimits()


def codec_of(data: bytes) -> str:
    """The codec of image bytes: png, jpeg, webp, gif, bmp or tiff. ImageError for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    for codec, signatures in _SIGNATURES.items():
        if data.startswith(signatures):
            return codec
    what = "the file is empty" if not data else "these bytes are not an image"
    raise ImageError(f"{what} (expected PNG, JPEG, WebP, GIF, BMP or TIFF).")


def decode(data: bytes, limits: ImageLimits = LIMITS) -> Image.Image:
    """The picture in `data` as 8-bit RGB (see the module's docstring).

    Raises ImageError, one sentence, for bytes that are not an image or truncated, and for images
    outside of `limits`.
    """
    codec = codec_of(data)
    try:
        image = Image.open(io.BytesIO(data), formats=[codec.upper()])
        _check_size(image.size, limits)
        image.load()
        return _to_rgb(_upright(image))
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"the image has more than {limits.max_pixels:,} pixels.") from None
    # Decoders of damaged bytes raise nearly anything, and one bad image must not end a run of thousands.
    except Exception as error:
        raise ImageError(f"the {codec} image is truncated or damaged ({first_line(error)}).") from error


def encode(image: Image.Image, codec: str = "png") -> bytes:
    """The picture as bytes of `codec`: png and webp without loss, jpeg at quality 95. The same picture
    gives the same bytes. ValueError for another codec."""
    if codec not in _SAVE_OPTIONS:
        raise ValueError(f"cannot encode {codec!r}: choose {', '.join(_SAVE_OPTIONS)}.")
    buffer = io.BytesIO()
    image.save(buffer, codec.upper(), **_SAVE_OPTIONS[codec])
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    """The SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if min(size) < limits.min_side:
        raise ImageError(f"the image is {width}x{height} pixels, its shorter side below {limits.min_side}.")
    if width * height > limits.max_pixels:
        raise ImageError(f"the image is {width:,}x{height:,} pixels, above {limits.max_pixels:,} in all.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata of a sound picture: shown as stored, as browsers do
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # PIL's own conversion clips to 255 instead of scaling
        grey = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError("the image has 32-bit samples, whose white is unknown; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, image).convert("RGB")
    return image.convert("RGB")
