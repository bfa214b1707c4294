"""Scores of pairs and the search for copies at the published size: what one generator costs.

The floor is what no exact way can avoid: the products of all CLS tokens, generated with real and real with
real, and those of each pair's energies. One image in a hundred is planted as a copy of the real one, and must
be found. Ratios are of CPU time, which a busy machine does not stretch.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from scipy import sparse

from pipeline.benchmarks import Row
from pipeline.benchmarks.compare import _energies as synthetic_energies
from pipeline.measures import datapoints as scores
from pipeline.measures.memorisation import Images, memorisation, real_duplicates, verdicts
from pipeline.measures.pixels import SIDE

_ONE_COPY_IN = 100
Result = TypeVar("Result")
_MOVED = 0.05  # of a copy's values, as a share of their size


@dataclass(frozen=True)
class Sizes:
    """Shapes that are timed; the defaults are those of the bars."""

    n_images: int = 10_000  # of each side
    few_images: int = 1_000  # whose cost per image the other's is held against
    n_concepts: int = 32_000
    n_fired: int = 600  # concepts in an image, on average
    d_model: int = 768


@dataclass(frozen=True)
class Measured:
    """What one size costs, and whether the copies are found."""

    seconds: float  # that pass, on all cores
    cpu: float  # seconds of CPU
    floor: float  # the same of the floor
    peak_gib: float
    recall: float  # share of the planted copies that are called memorised
    n_false: int  # other pairs that are


def datapoint_rows(sizes: Sizes | None = None) -> list[Row]:
    """Seconds, memory, ratio to the floor, cost per image at two sizes; each size in a process of its own."""
    sizes = sizes or Sizes()
    many, few = (_in_its_own_process(sizes, n) for n in (sizes.n_images, sizes.few_images))
    per_image = [found.cpu / n for found, n in ((many, sizes.n_images), (few, sizes.few_images))]
    what = f"{sizes.n_images:,} images, {sizes.n_concepts:,} concepts, {sizes.n_fired} an image"
    cost = (
        f"{per_image[0] * 1e3:.2f} ms at {sizes.n_images:,}, {per_image[1] * 1e3:.2f} at {sizes.few_images:,}"
    )
    return [
        Row("datapoints: seconds", many.seconds, 120, at_least=False, beside=what),
        Row(
            "datapoints: x the products alone",
            many.cpu / many.floor,
            10,
            at_least=False,
            beside=f"{many.floor:.1f} s of CPU",
        ),
        Row("datapoints: peak GiB", many.peak_gib, 4, at_least=False, beside="of the process"),
        Row("datapoints: cost per image, many / few", per_image[0] / per_image[1], 1.3, False, cost),
        Row("datapoints: planted copies found", many.recall, 0.99, beside=f"{many.n_false} others"),
    ]


def synthetic(sizes: Sizes, n_images: int, seed: int = 0) -> tuple[Images, Images]:
    """Real and generated images that share half of their token by caption; every hundredth is a copy."""
    rng = np.random.default_rng(seed)
    n_energies = n_images * sizes.n_fired
    energies = [synthetic_energies(rng, n_images, sizes.n_concepts, n_energies) for _ in range(2)]
    meaning = rng.normal(size=(n_images, sizes.d_model)).astype(np.float32)
    tokens = [meaning + rng.normal(size=meaning.shape).astype(np.float32) for _ in range(2)]
    pixels = [rng.integers(0, 255, (n_images, SIDE, SIDE, 3), dtype=np.uint8) for _ in range(2)]
    copy = np.arange(n_images) % _ONE_COPY_IN == 0
    kept = sparse.diags_array((~copy).astype(float)) @ energies[1]
    energies[1] = sparse.csr_array(kept + sparse.diags_array(copy * (1 + _MOVED)) @ energies[0])
    energies[1].eliminate_zeros()
    tokens[1][copy] = tokens[0][copy] + _MOVED * rng.normal(size=(copy.sum(), sizes.d_model))
    pixels[1][copy] = (pixels[0][copy] * (1 - _MOVED)).astype(np.uint8)
    real, gen = (
        Images(*side, np.ones(n_images, bool)) for side in zip(energies, tokens, pixels, strict=True)
    )
    return real, gen


def _in_its_own_process(sizes: Sizes, n_images: int) -> Measured:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (sizes, n_images))


def _measure(sizes: Sizes, n_images: int) -> Measured:
    small = synthetic(sizes, 2 * _ONE_COPY_IN)
    _judge(*small)  # loads the libraries
    real, gen = synthetic(sizes, n_images)
    _, floor, _ = _clock(lambda: _products(real, gen))
    seconds, cpu, said = _clock(lambda: _judge(real, gen))
    called = np.array([verdict == "memorised" for verdict in said])
    copy = np.arange(n_images) % _ONE_COPY_IN == 0
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    return Measured(seconds, cpu, floor, peak, float(called[copy].mean()), int(called[~copy].sum()))


def _judge(real: Images, gen: Images) -> list[str | None]:
    """What the stage does with one generator, and with the real images once."""
    real_duplicates(real)
    weights = scores.concept_weights(real.energies, gen.energies)
    scores.paper_score(real.energies, gen.energies)
    scores.ranks(scores.distance(real.energies, gen.energies, weights))
    scores.similarity(real.energies, gen.energies, weights)
    scale = sparse.diags_array(weights)
    weighted_real, weighted_gen = (
        Images(sparse.csr_array(side.energies @ scale), side.tokens, side.thumbnails, side.decoded)
        for side in (real, gen)
    )
    return verdicts(memorisation(weighted_real, weighted_gen, np.arange(len(gen.tokens))))


def _products(real: Images, gen: Images) -> None:
    for start in range(0, len(gen.tokens), 512):
        gen.tokens[start : start + 512] @ real.tokens.T
        real.tokens[start : start + 512] @ real.tokens.T
    real.energies.multiply(gen.energies).sum(1)


def _clock(work: Callable[[], Result]) -> tuple[float, float, Result]:
    """Seconds that pass, seconds of CPU, and what the work gives."""
    started, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - started, time.process_time() - cpu, result
