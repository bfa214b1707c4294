"""Are two pictures the same picture? From thumbnails of SIDE x SIDE pixels, uint8 arrays (n, SIDE, SIDE, 3).

A hash of 64 bits only says that two pictures are close; correlations of thumbnails say how close, and survive
what a copy goes through: another codec, another size, another brightness or contrast.
"""

import numpy as np

SIDE = 32  # pixels; what a decoder of a latent eight times smaller than 256 pixels still reproduces
_BLOCK = 256  # pictures at a time
_COARSE = 4  # pixels of a thumbnail that make one of the layout, which is 8 x 8


def edges(thumbnails: np.ndarray) -> np.ndarray:
    """Differences of neighbouring pixels of every colour, (n, d) float32 rows of length 1.

    The product of two rows is the correlation of the pictures' edges, -1 to 1: 1 for the same edges in the
    same places, whatever the brightness. Its square is the share of the one that is explained by the other.
    A picture without edges is a row of zeros.
    """
    out = np.empty((len(thumbnails), 2 * 3 * (SIDE - 1) ** 2), np.float32)
    for start in range(0, len(out), _BLOCK):
        pixels = thumbnails[start : start + _BLOCK].astype(np.float32)
        across = np.diff(pixels, axis=2)[:, :-1]
        down = np.diff(pixels, axis=1)[:, :, :-1]
        rows = np.stack([across, down], -1).reshape(len(pixels), out.shape[1])
        out[start : start + _BLOCK] = _unit(rows)
    return out


def layout(thumbnails: np.ndarray) -> np.ndarray:
    """Colours of 8 x 8 fields less the picture's mean colour, (n, 192) float32 rows of length 1.

    The product of two rows is the correlation of where the pictures are light and dark and of what colour,
    -1 to 1. A picture of one colour is a row of zeros.
    """
    n = SIDE // _COARSE
    fields = thumbnails.astype(np.float32).reshape(-1, n, _COARSE, n, _COARSE, 3).mean((2, 4))
    return _unit((fields - fields.mean((1, 2), keepdims=True)).reshape(len(fields), n * n * 3))


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-6)
