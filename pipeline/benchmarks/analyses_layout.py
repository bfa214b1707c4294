"""Names and map: what they cost at the published size, and whether names say what concepts are.

The map's floor is the product of all atoms' cosines, which no exact neighbours can avoid; the names' is the
product that counts which concept's images have which term.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from scipy import sparse

from pipeline.benchmarks import Row
from pipeline.benchmarks.planted_worlds import Eye, concept_values
from pipeline.measures.layout import umap_positions
from pipeline.measures.naming import count_terms, evidence_words, strong_images
from pipeline.measures.regions import find_regions
from pipeline.stages.settings import NameConfig
from pipeline.world.dataset import WorldDataset

N_ATOMS, D_MODEL = 32_000, 768
N_IMAGES, N_FIRED, N_WORDS = 10_000, 600, 12  # concepts per image, words per caption
_N_TOPICS = 500
_N_PAIRS = 500  # of the embedded default
_FIRST = 3  # evidence words that are looked at
# Words for a value beside its own name, as captions of the world say it.
SAID = {"circle": {"disc"}, "cross": {"plus sign"}, "striped": {"stripes"}, "brick": {"bricks"}}

Result = TypeVar("Result")


def layout_rows() -> list[Row]:
    """All figures of this file."""
    return [*map_rows(), name_cost_row(), names_row()]


def map_rows(n_atoms: int = N_ATOMS, d_model: int = D_MODEL) -> list[Row]:
    """Seconds of the map of synthetic atoms that lie around topics, and of its regions."""
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(_N_TOPICS, d_model))
    atoms = topics[rng.integers(_N_TOPICS, size=n_atoms)] + rng.normal(size=(n_atoms, d_model))
    unit = (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(np.float32)
    floor, _ = _clock(lambda: _cosines(unit))
    seconds, positions = _clock(lambda: umap_positions(unit))
    grouping, region = _clock(lambda: find_regions(positions))
    beside = f"{seconds / floor:.1f} times the cosines alone, {floor:.1f} s"
    n_regions = len(set(region[region >= 0].tolist()))
    return [
        Row(f"layout: UMAP of {n_atoms:,} x {d_model}, seconds", seconds, 240, at_least=False, beside=beside),
        Row("layout: regions, seconds", grouping, 30, at_least=False, beside=f"{n_regions} regions"),
    ]


def _cosines(unit: np.ndarray) -> None:
    for start in range(0, len(unit), 512):
        unit[start : start + 512] @ unit.T


def name_cost_row(n_concepts: int = N_ATOMS, n_images: int = N_IMAGES) -> Row:
    """Seconds for the words of all concepts; captions and concepts by a power law, without relation."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{k}" for k in range(20_000)])
    often = 1 / np.arange(1, len(words) + 1)
    said = rng.choice(words, (n_images, N_WORDS), p=often / often.sum())
    captions = [" ".join(row) for row in said]
    concepts = np.minimum(rng.zipf(1.3, (n_images, N_FIRED)) - 1, n_concepts - 1)
    concepts = np.where(
        rng.random(concepts.shape) < 0.5, concepts, rng.integers(n_concepts, size=concepts.shape)
    )
    place = (np.repeat(np.arange(n_images), N_FIRED), concepts.ravel())
    energies = sparse.csr_array((rng.gamma(2, 1, concepts.size), place), shape=(n_images, n_concepts))
    how = _settings()
    seconds, _ = _clock(lambda: evidence_words(energies, captions, **how))
    strong = strong_images(energies, how["strong_share"], how["least_strong"])
    terms, _ = count_terms(captions, longest=how["longest"], least_images=how["least_images"])
    floor = _clock(lambda: [strong[start : start + 2048] @ terms for start in range(0, n_concepts, 2048)])[0]
    beside = f"{seconds / floor:.1f} times the counts alone, {floor:.1f} s; {energies.nnz:,} energies"
    return Row(f"names: {n_concepts:,} concepts, seconds", seconds, 30, at_least=False, beside=beside)


def names_row(n_pairs: int = _N_PAIRS, eye: Eye | None = None) -> Row:
    """Of the concepts that belong to an attribute value, the share with its word among their first three.

    A concept belongs to a value where its energy on the pairs' real scenes predicts it with an AUROC of 0.9.
    """
    dataset = WorldDataset(n_pairs=n_pairs)
    energies = (eye or Eye()).energies([dataset.image(pair) for pair in range(n_pairs)])
    belongs = concept_values(energies, [dataset.scene(pair) for pair in range(n_pairs)])
    captions = [dataset.caption(pair) for pair in range(n_pairs)]
    evidence, terms = evidence_words(energies, captions, **_settings())
    hits, n = 0, 0
    for value, concepts in belongs.items():
        wanted = {value.name} | SAID.get(value.name, set())
        for concept in np.flatnonzero(concepts):
            first = [terms[term] for term in evidence.term[evidence.concept == concept][:_FIRST]]
            hits += any(wanted & {word, *word.split()} for word in first)
            n += 1
    beside = f"{n} concepts of {sum(part.any() for part in belongs.values())} values"
    return Row("names: own word in the first three", hits / max(n, 1), 0.8, beside=beside)


def _settings() -> dict:
    """The arguments of `evidence_words` by default."""
    names = ("strong_share", "least_strong", "least_images", "longest", "n_words", "level")
    return NameConfig().model_dump(include=set(names))


def _clock(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
