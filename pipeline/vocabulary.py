"""Names from a vocabulary of the user's, by how well a phrase fits a concept's strongest real images."""

from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse
from tqdm import tqdm

from pipeline.measures.naming import least_score, phrase_scores, strong_images
from pipeline.sources.images import decode
from pipeline.workspace import Workspace
from tables import REAL

MAX_PHRASES = 20_000
MAX_LENGTH = 100  # characters of a phrase
_BATCH = 256  # images read at a time


def read_vocabulary(path: str) -> list[str]:
    """Words and phrases of a text file, one a line, in its order; blank lines and repetitions left out.

    Raises ValueError for a file that cannot be read as UTF-8, is empty, or is too large.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the vocabulary {path} cannot be read as UTF-8 text; check the path.") from error
    phrases = list(dict.fromkeys(phrase for line in lines if (phrase := " ".join(line.split()))))
    if not 0 < len(phrases) <= MAX_PHRASES:
        raise ValueError(f"the vocabulary {path} has {len(phrases)} phrases; give it 1 to {MAX_PHRASES:,}.")
    long = next((phrase for phrase in phrases if len(phrase) > MAX_LENGTH), None)
    if long is not None:
        raise ValueError(
            f"the vocabulary {path} has a phrase of {len(long)} characters, {long[:30]!r}...; "
            f"write one phrase a line, of at most {MAX_LENGTH}."
        )
    return phrases


def phrase_names(
    space: Workspace, energies: sparse.csr_array, images: pl.DataFrame, phrases: list[str]
) -> pl.DataFrame:
    """The best phrase of every concept that has one: concept_id, found_name, confidence (`phrase_scores`).

    `energies` (n_images, n_concepts) belong to the real `images` (image_id), row by row.
    """
    from pipeline.sources.text_tower import TextTower

    settings = space.config.name_concepts
    tower = TextTower(str(settings.text_tower))
    top = strong_images(energies, 0.0, settings.n_tower_images)
    shown = np.flatnonzero(np.asarray(top.sum(0)).ravel())
    scores = phrase_scores(
        _embedded(space, tower, images["image_id"].to_numpy()[shown]),
        tower.texts(phrases),
        sparse.csr_array(top[:, shown]),
    )
    best = scores.argmax(1)
    confidence = scores[np.arange(len(best)), best]
    sure = np.flatnonzero(confidence >= least_score(len(phrases), settings.level))
    return pl.DataFrame(
        {
            "concept_id": sure.astype(np.int32),
            "found_name": [phrases[index] for index in best[sure]],
            "confidence": confidence[sure].astype(np.float64),
        },
        schema_overrides={"found_name": pl.String},
    )


def _embedded(space: Workspace, tower, image_ids: np.ndarray) -> np.ndarray:
    """Vectors of real images in the order of `image_ids`, read a few at a time."""
    parts = []
    with tqdm(total=len(image_ids), desc="text tower", unit="image", mininterval=1) as bar:
        for start in range(0, len(image_ids), _BATCH):
            ids = image_ids[start : start + _BATCH].tolist()
            rows = (
                space.images(REAL).filter(pl.col("image_id").is_in(ids)).select("image_id", "image").collect()
            )
            pictures = dict(rows.iter_rows())
            parts.append(tower.images([decode(pictures[image_id]) for image_id in ids]))
            bar.update(len(ids))
    return np.concatenate(parts)
