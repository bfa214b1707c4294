"""Energies of concepts and the difference between generated and real ones (METHOD, section 1).

`codes` are the sparse activations z >= 0 of a concept on a token. The energy of concept k in an image is
`xi_k = sum over tokens of z_k`; in a set of images it is the mean of that over the images.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

Form = Literal["absolute", "relative", "ratio"]
FORMS: tuple[Form, ...] = ("absolute", "relative", "ratio")
TEMPERATURE = {"absolute": 0.8, "relative": 0.4}  # the published ones


@dataclass(frozen=True)
class ImageEnergies:
    """Energies of a block of images, one entry per (image, concept) that fires, ordered by both."""

    image: np.ndarray  # row of the image within the block, int64
    concept: np.ndarray  # int32
    energy: np.ndarray  # sum over tokens, > 0, float32
    peak: np.ndarray  # largest code, > 0, float32
    peak_token: np.ndarray  # the first token that has it, int32


def image_energies(
    image: np.ndarray, token: np.ndarray, concept: np.ndarray, activation: np.ndarray
) -> ImageEnergies:
    """Sum codes over tokens: xi_k(x) = sum_t z_k(x, t).

    The four arrays are parallel, one entry per nonzero code, shape (nnz,), in any order. Codes must be
    finite and > 0.
    """
    if not (np.isfinite(activation).all() and (activation > 0).all()):
        raise ValueError(
            "codes must be finite and positive; drop zeros and repair the encoder that made the rest"
        )
    order = np.lexsort((token, concept, image))
    image, token, concept, activation = image[order], token[order], concept[order], activation[order]
    new = np.ones(len(image), bool)
    new[1:] = (image[1:] != image[:-1]) | (concept[1:] != concept[:-1])
    starts = np.flatnonzero(new)
    if len(starts) == 0:
        empty = np.empty(0)
        return ImageEnergies(
            empty.astype(np.int64),
            empty.astype(np.int32),
            empty.astype(np.float32),
            empty.astype(np.float32),
            empty.astype(np.int32),
        )
    energy = np.add.reduceat(activation.astype(np.float64), starts)
    peak = np.maximum.reduceat(activation, starts)
    # The peak token is the first entry of each run that equals the run's maximum.
    run = np.cumsum(new) - 1
    at_peak = np.flatnonzero(activation == peak[run])
    first = at_peak[np.unique(run[at_peak], return_index=True)[1]]
    return ImageEnergies(
        image[starts].astype(np.int64),
        concept[starts].astype(np.int32),
        energy.astype(np.float32),
        peak.astype(np.float32),
        token[first].astype(np.int32),
    )


def energy_difference(
    energy_real: np.ndarray, energy_gen: np.ndarray, form: Form, temperature: float | None = None
) -> np.ndarray:
    """Difference of two mean energies on a scale from 0 (suppressed) over 0.5 (aligned) to 1 (exaggerated).

    Both energies are >= 0, shape (n_concepts,). Forms, with d = energy_gen - energy_real:
    `absolute` = sigmoid(d / T), T 0.8; `relative` = sigmoid(d / (energy_gen + energy_real) / T), T 0.4;
    `ratio` = energy_gen / (energy_gen + energy_real), which has no temperature. Where a concept has no
    energy on either side the result is NaN. Swapping the sides gives one minus the result.
    """
    real, gen = np.asarray(energy_real, float), np.asarray(energy_gen, float)
    if (real < 0).any() or (gen < 0).any() or np.isnan(real).any() or np.isnan(gen).any():
        raise ValueError(
            "energies must be numbers >= 0; a negative or missing one means that its codes were wrong"
        )
    total = real + gen
    with np.errstate(invalid="ignore", divide="ignore"):
        value = gen - real if form == "absolute" else (gen - real) / total
    return np.where(total > 0, on_scale(value, form, temperature), np.nan)


def on_scale(value: np.ndarray, form: Form, temperature: float | None = None) -> np.ndarray:
    """A difference of energies (`absolute`) or of their relative sizes (the others) on the 0 to 1 scale."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form!r} of the energy difference; write one of {', '.join(FORMS)}")
    if form == "ratio":
        return (1 + value) / 2
    return expit(value / (TEMPERATURE[form] if temperature is None else temperature))
