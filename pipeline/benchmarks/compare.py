"""What does the evidence cost at the published size? Against the bare sparse products that it is made of.

10,000 pairs, 32,000 concepts, 6 million energies on either side, 1,000 resamples and 1,000 sign flips, over
all pairs and apart for those whose captions ask for a concept: ten words each out of 5,000.
"""

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from pipeline.benchmarks import Row
from pipeline.measures.asking import asking_pairs
from pipeline.measures.evidence import BLOCK, bootstrap_weights, weigh

N_PAIRS, N_CONCEPTS, N_ENERGIES, N_DRAWS = 10_000, 32_000, 6_000_000, 1_000
N_TERMS = 5_000


def measure(
    n_pairs: int = N_PAIRS, n_concepts: int = N_CONCEPTS, n_energies: int = N_ENERGIES, n_draws: int = N_DRAWS
) -> list[Row]:
    """Seconds, memory, and the ratio to the floor measured in the same process."""
    rng = np.random.default_rng(0)
    real, gen = (_energies(rng, n_pairs, n_concepts, n_energies) for _ in range(2))
    terms = _energies(rng, n_pairs, N_TERMS, 10 * n_pairs)
    terms.data[:] = 1
    # As if each concept had a telling word, which by chance next to none has.
    words = sparse.csr_array(
        (np.ones(n_concepts), (rng.integers(0, N_TERMS, n_concepts), np.arange(n_concepts))),
        shape=(N_TERMS, n_concepts),
    )
    asked = sparse.csr_array(terms @ words)
    floor = _clock(lambda: _products(real, gen, n_draws))
    whole = _clock(lambda: asking_pairs(real, gen, terms))
    whole += _clock(lambda: weigh(real, gen, asked=asked, n_resamples=n_draws, n_flips=n_draws))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    size = f"{n_pairs:,} pairs, {n_concepts:,} concepts, {real.nnz + gen.nnz:,} energies"
    return [
        Row("compare: seconds", whole, 90, at_least=False, beside=f"products alone {floor:.1f} s"),
        Row("compare: ratio to the products", whole / floor, 2.0, at_least=False, beside=size),
        Row("compare: peak memory, GiB", memory, 4, at_least=False, beside="of the process"),
    ]


def _energies(rng: np.random.Generator, n_pairs: int, n_concepts: int, n_energies: int) -> sparse.csr_array:
    """Concepts fire by a power law, energies are gamma distributed."""
    share = 1 / np.arange(1, n_concepts + 1) ** 0.7
    wanted = np.minimum(share / share.sum() * n_energies, 0.9 * n_pairs)
    rate = np.minimum(wanted * n_energies / wanted.sum(), 0.95 * n_pairs)
    counts = np.maximum(rng.poisson(rate), 1).clip(max=n_pairs)
    rows = np.concatenate([rng.choice(n_pairs, n, replace=False) for n in counts])
    columns = np.repeat(np.arange(n_concepts), counts)
    return sparse.csr_array((rng.gamma(2, 1, len(rows)), (rows, columns)), shape=(n_pairs, n_concepts))


def _products(real: sparse.csr_array, gen: sparse.csr_array, n_draws: int) -> None:
    """Resamples of both sides and flips of their difference: what no way of computing them can avoid."""
    rng = np.random.default_rng(0)
    weights = bootstrap_weights(real.shape[0], n_draws, rng)
    sides = [sparse.csr_array(side.T, dtype=np.float32) for side in (real, gen, gen - real)]

    def work(start: int) -> None:
        for side in sides:
            side[start : start + BLOCK] @ weights

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(0, real.shape[1], BLOCK)))


def _clock(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
