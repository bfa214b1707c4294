"""What does co-occurrence cost at the published size? Against the bare sparse products that it is made of.

10,000 images of 261 tokens with 10 codes each over 32,000 concepts. Codes are drawn so that an image has as
many distinct concepts as real ones do, a few hundred: a topic is 400 concepts drawn by a power law (rank to
the -0.7); an image draws 80 concepts of each of 3 topics out of 500, and 40 of the 400 first concepts; each
of its tokens has 10 different ones of these, the first in the image's random order more often. A generator's
image has the topics of its real twin and 60 draws of every 80 in common with it. Everything is measured in
processes of their own, whose peak memory includes the codes themselves. Ratios are of the CPU seconds of all
cores, which other work on the machine disturbs less.
"""

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from os import cpu_count
from typing import TypeVar

import numpy as np
from scipy import sparse

from pipeline.benchmarks import Row
from pipeline.measures.communities import communities
from pipeline.measures.company import Portion, Resampled, Side, blocks, company_change, in_threads
from pipeline.measures.cooccurrence import BLOCK, Cooccurrence, ImageSet, cooccurrence, image_set
from pipeline.measures.evidence import bootstrap_weights

Found = TypeVar("Found")


@dataclass(frozen=True)
class Sizes:
    """Shapes that are measured; the defaults are those of the bars."""

    n_images: int = 10_000
    few_images: int = 1_000  # the other end of the cost per image
    n_tokens: int = 261
    k: int = 10  # codes per token
    n_concepts: int = 32_000
    n_topics: int = 500
    top: int = 50  # partners per concept
    n_resamples: int = 1_000


def cooccurrence_rows(sizes: Sizes | None = None) -> list[Row]:
    """Seconds, memory and ratio to the floor: of counting, of the change, and of communities."""
    sizes = sizes or Sizes()
    count, few, change, group = (
        _apart(work, sizes, n)
        for work, n in (
            (_count, sizes.n_images),
            (_count, sizes.few_images),
            (_change, sizes.n_images),
            (_communities, sizes.n_images),
        )
    )
    size = f"{sizes.n_images:,} images, {sizes.n_concepts:,} concepts, top {sizes.top}"
    each, each_of_few = count["busy"] / sizes.n_images, few["busy"] / sizes.few_images
    pairs = f"{change['pairs']:,.0f} pairs, {sizes.n_resamples:,} resamples"
    return [
        Row("co-occurrence: seconds", count["seconds"], 180, False, f"{count['busy']:.0f} s of CPU; {size}"),
        Row("co-occurrence: CPU, ratio to the products", count["busy"] / count["floor"], 2, False,
            f"products alone {count['floor']:.1f} s, {count['per_image']:.0f} concepts an image"),
        Row("co-occurrence: peak GiB", count["gib"], 4, False, f"{count['pairs']:,.0f} pairs kept"),
        Row("co-occurrence: CPU per image, many / few", each / each_of_few, 1.3, False,
            f"{1e3 * each:.2f} ms at {sizes.n_images:,}, {1e3 * each_of_few:.2f} ms at {sizes.few_images:,}"),
        Row("change of company: seconds", change["seconds"], 180, False,
            f"{change['busy']:.0f} s of CPU; {pairs}"),
        Row("change of company: CPU, ratio to resampling", change["busy"] / change["floor"], 3, False,
            f"resampled counts and one sort alone {change['floor']:.1f} s"),
        Row("change of company: peak GiB", change["gib"], 4, False),
        Row("communities: seconds", group["seconds"], 180, False, f"{group['found']:.0f} communities"),
    ]  # fmt: skip


def synthetic(sizes: Sizes, n_images: int, seed: int = 0) -> ImageSet:
    """Codes as described above; `seed` 0 and 1 are two sides of the same captions."""
    shared, rng = np.random.default_rng(7), np.random.default_rng(seed)
    share = 1 / np.arange(1, sizes.n_concepts + 1) ** 0.7
    n_of_topic = min(400, sizes.n_concepts // 2)
    wide = shared.standard_exponential((sizes.n_topics, sizes.n_concepts), np.float32) / share
    topics = np.argpartition(wide, n_of_topic, axis=1)[:, :n_of_topic].astype(np.int32)
    del wide
    chosen = shared.integers(0, sizes.n_topics, (n_images, 3))
    n_codes = sizes.n_tokens * sizes.k
    concept = np.empty((n_images, n_codes), np.int32)
    for image in range(n_images):
        pool = [shared.choice(topics[topic], 60) for topic in chosen[image]]
        pool += [rng.choice(topics[topic], 20) for topic in chosen[image]]
        pool.append(rng.integers(0, n_of_topic, 40))
        own = np.unique(np.concatenate(pool))
        rng.shuffle(own)
        start = (rng.random(sizes.n_tokens) ** 2 * len(own)).astype(int)
        step = (rng.random((sizes.n_tokens, sizes.k)) ** 2 * (len(own) // sizes.k)).astype(int)
        place = start[:, None] + np.arange(sizes.k) * (len(own) // sizes.k) + step  # all of a token differ
        concept[image] = own[place % len(own)].ravel()
    indptr = np.arange(0, concept.size + 1, sizes.k)
    values = rng.standard_gamma(2, concept.size, np.float32)
    codes = sparse.csr_array((values, concept.ravel(), indptr), shape=(len(indptr) - 1, sizes.n_concepts))
    return image_set(codes, np.repeat(np.arange(n_images), sizes.n_tokens), n_images)


def _apart(work: Callable[[Sizes, int], dict[str, float]], sizes: Sizes, n_images: int) -> dict[str, float]:
    """What `work` measures in a fresh process, with the peak memory of that process."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, sizes, n_images))


def _measured(
    work: Callable[[Sizes, int], dict[str, float]], sizes: Sizes, n_images: int
) -> dict[str, float]:
    found = work(sizes, n_images)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return found | {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}


def _count(sizes: Sizes, n_images: int) -> dict[str, float]:
    images = synthetic(sizes, n_images)
    _, floor, _ = _clock(lambda: _products(images))
    seconds, busy, kept = _clock(lambda: cooccurrence(images, sizes.top, least_images=3))
    per_image = images.presence.nnz / n_images
    found = {"seconds": seconds, "busy": busy, "floor": floor}
    return found | {"pairs": len(kept.concept_a), "per_image": per_image}


def _products(images: ImageSet) -> None:
    """Both sparse products, block by block on all cores, and nothing done with them."""
    by_concept = [sparse.csr_array(side.T) for side in (images.codes, images.presence)]

    def work(start: int) -> None:
        for side, whole in zip(by_concept, (images.codes, images.presence), strict=True):
            side[start : start + BLOCK] @ whole

    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(work, range(0, images.n_concepts, BLOCK)))


def _kept(sizes: Sizes, n_images: int, seed: int) -> tuple[sparse.csr_array, Cooccurrence]:
    images = synthetic(sizes, n_images, seed)
    return images.presence, cooccurrence(images, sizes.top, least_images=3)


def _change(sizes: Sizes, n_images: int) -> dict[str, float]:
    """The best pairs of both sides, with what no bootstrap of them can avoid as the floor."""
    (real, before), (gen, after) = (_kept(sizes, n_images, seed) for seed in (0, 1))
    keys = [side.concept_a.astype(np.int64) * sizes.n_concepts + side.concept_b for side in (before, after)]
    a, b = np.divmod(np.union1d(*keys), sizes.n_concepts)
    sides = [Side(presence, np.arange(n_images)) for presence in (real, gen)]
    _, floor, _ = _clock(lambda: _resample(sides, a, b, n_images, sizes.n_resamples))
    settings = {"n_pairs": n_images, "n_resamples": sizes.n_resamples}
    seconds, busy, _ = _clock(lambda: company_change(sides[0], sides[1], a, b, **settings))
    return {"seconds": seconds, "busy": busy, "floor": floor, "pairs": len(a)}


def _resample(sides: list[Side], a: np.ndarray, b: np.ndarray, n_images: int, n_resamples: int) -> None:
    """The resampled counts of both sides, and the order of one number per pair and resample."""
    weights = bootstrap_weights(n_images, n_resamples, np.random.default_rng(0))
    halves = np.zeros((2, n_resamples), np.float32)
    resampled = [Resampled(side, weights, halves) for side in sides]

    def work(portion: Portion) -> None:
        for owner, others, _ in portion:
            shared = [side.shared(owner, others) for side in resampled]
            shared[0].sort(axis=1)

    in_threads(work, blocks(resampled, a, b))


def _communities(sizes: Sizes, n_images: int) -> dict[str, float]:
    _, kept = _kept(sizes, n_images, 0)
    seconds, _, found = _clock(
        lambda: communities(kept.concept_a, kept.concept_b, kept.correlation, sizes.n_concepts)
    )
    return {"seconds": seconds, "found": found.max() + 1}


def _clock(work: Callable[[], Found]) -> tuple[float, float, Found]:
    """Seconds by the clock, seconds of all cores, and the result."""
    started, busy = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - started, time.process_time() - busy, result
