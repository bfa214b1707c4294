"""Images for pages: decoding, patch heat maps laid over them, small WebP files; all without Streamlit."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from dashboard import theme

MAX_PIXELS = 64_000_000  # a larger picture is refused, not decoded
THUMBNAIL = 224  # pixels of the longer side


def decode(data: bytes | None) -> Image.Image | None:
    """The picture in `data` as RGB, or None where there is none or it cannot be read."""
    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def placeholder(size: int = THUMBNAIL) -> Image.Image:
    """A quiet square with a cross, for an image that is missing or unreadable."""
    picture = Image.new("RGB", (size, size), (128, 130, 136))
    draw = ImageDraw.Draw(picture)
    inset = size // 3
    for line in (
        ((inset, inset), (size - inset, size - inset)),
        ((inset, size - inset), (size - inset, inset)),
    ):
        draw.line(line, fill=(190, 192, 198), width=max(2, size // 60))
    return picture


def icon(size: int = 64) -> Image.Image:
    """The tab's icon, drawn here so that nothing is fetched: a disc, half blue and half orange."""
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    low, high = (tuple(int(channel) for channel in rgb) for rgb in theme.diverging([0.0, 1.0]))
    box = (size // 12, size // 12, size - size // 12, size - size // 12)
    draw.pieslice(box, 90, 270, fill=low)
    draw.pieslice(box, 270, 450, fill=high)
    return picture


def fitted(picture: Image.Image, size: int = THUMBNAIL) -> Image.Image:
    """The picture with its longer side at `size`; small pictures are enlarged so that patches can be seen."""
    scale = size / max(picture.size)
    shape = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(shape, Image.Resampling.LANCZOS)


def patch_grid(heatmap: Sequence[float] | None, height: int, width: int) -> np.ndarray | None:
    """The codes of one concept on the patches, (height, width), or None where their number does not fit."""
    if heatmap is None or height < 1 or width < 1 or len(heatmap) != height * width:
        return None
    return np.nan_to_num(np.asarray(heatmap, dtype=np.float64).reshape(height, width), posinf=0.0, neginf=0.0)


def overlay(
    picture: Image.Image,
    grid: np.ndarray | None,
    opacity: float = 0.6,
    top: float | None = None,
    crop: float = 1.0,
) -> Image.Image:
    """Lay the codes of a concept on the patches over the picture.

    `grid` is (rows, columns), codes >= 0; `top` is the code drawn brightest (default: the grid's largest), so
    that several pictures can share a scale. The backbone sees a centred square of `crop` times the shorter
    side; the grid covers just that. A patch where the concept does not fire shows the picture; at opacity 0
    the result is the picture itself.
    """
    strongest = float(grid.max()) if grid is not None and grid.size else 0.0
    brightest = strongest if top is None else top
    if grid is None or opacity <= 0 or strongest <= 0 or brightest <= 0:
        return picture
    side = max(1, round(min(picture.size) * crop))
    left, upper = (picture.width - side) // 2, (picture.height - side) // 2
    share = Image.fromarray(np.rint(np.clip(grid / brightest, 0, 1) * 255).astype(np.uint8))
    smooth = share.resize((side, side), Image.Resampling.BILINEAR)
    colours = Image.fromarray(theme.heat(np.arange(256) / 255)[np.asarray(smooth)])
    weight = smooth.point([round(255 * min(opacity, 1.0) * (step / 255) ** 0.5) for step in range(256)])
    result = picture.copy()
    result.paste(colours, (left, upper), weight)
    return result


def webp(picture: Image.Image, quality: int = 82) -> bytes:
    """The picture as a small WebP file, by the quickest method: pages wait for it."""
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=quality, method=0)
    return buffer.getvalue()


def thumbnail(data: bytes | None, size: int = THUMBNAIL) -> bytes | None:
    """A file made small, as WebP; None where there is none or it cannot be read."""
    picture = decode(data)
    return None if picture is None else webp(fitted(picture, size), 85)


def address(data: bytes) -> str:
    """A `data:` address of a WebP file, which needs no request and no file on the server."""
    return "data:image/webp;base64," + base64.b64encode(data).decode()
