"""SAEs on tokens whose directions are known (`sae_models.planted`): are they found, and found again?

Ours beside a TopK SAE from random atoms, one from K-means points, and atoms that are random and stay so. The
stability that the archetypal dictionary is praised for may come from its points (arXiv 2606.02061), so it is
measured twice: other seeds on the same points, and other points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

import torch
from tqdm import tqdm

from pipeline.benchmarks import Row
from sae_models import SAE, ArrayTokens, SAEConfig, TrainingConfig, report, stability, train
from sae_models.metrics import best_cosines
from sae_models.planted import planted_tokens

SEEDS = (0, 1, 2)
_PLAIN = SAEConfig(d_model=64, n_concepts=512, k=4, n_points=256, dictionary="free", init="random")
RECIPES = {
    "TopK": _PLAIN,
    "K-means TopK": replace(_PLAIN, init="points"),
    "RA": replace(_PLAIN, dictionary="archetypal"),
}
TRAINING = TrainingConfig(n_steps=1500, batch_size=2048, auxiliary_weight=0.5, log_every=500, device="cpu")


@dataclass(frozen=True)
class Planted:
    """Means over the seeds of one recipe; None where it does not apply."""

    name: str
    r2: float | None  # on held-out tokens
    cosine: float  # of each planted direction with its nearest atom
    dead: float | None  # share of the concepts
    across_seeds: float  # stability, same points
    across_points: float | None  # stability, same seed


def planted_rows(found: Sequence[Planted]) -> list[Row]:
    """The archetypal SAE against its bars, the others beside it."""
    ours = next(row for row in found if row.name == "RA")

    def beside(field: str) -> str:
        values = {row.name: getattr(row, field) for row in found if row is not ours}
        return ", ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)

    assert ours.r2 is not None and ours.dead is not None
    return [
        Row("planted: R2", ours.r2, 0.93, beside=beside("r2")),
        Row("planted: cosine to the truth", ours.cosine, 0.98, beside=beside("cosine")),
        Row("planted: dead", ours.dead, 0.10, at_least=False, beside=beside("dead")),
    ]


def measure_planted(
    training: TrainingConfig = TRAINING, n_tokens: int = 400_000, seeds: Sequence[int] = SEEDS
) -> list[Planted]:
    """Train every recipe once per seed, and, where it has points, once more per set of points."""
    data = planted_tokens(n_tokens)
    tokens = ArrayTokens(data.tokens)
    n_runs = sum(len(seeds) + (len(seeds) - 1) * config.uses_points for config in RECIPES.values())
    with tqdm(total=n_runs, desc="planted", unit="SAE") as bar:

        def trained(config: SAEConfig, seed: int, points_seed: int) -> SAE:
            config = replace(config, seed=seed, points_seed=points_seed)
            sae = train(tokens, config, training, checkpoint_folder=None)
            bar.update()
            return sae

        rows = []
        for name, config in RECIPES.items():
            by_seed = [trained(config, seed, seeds[0]) for seed in seeds]
            by_points = [
                by_seed[0],
                *(trained(config, seeds[0], seed) for seed in seeds[1:] if config.uses_points),
            ]
            reports = [report(sae, tokens.held_out()) for sae in by_seed]
            atoms = [sae.dictionary() for sae in by_seed]
            rows.append(
                Planted(
                    name,
                    fmean(row.r2 for row in reports),
                    fmean(float(best_cosines(data.directions, rows).mean()) for rows in atoms),
                    fmean(row.dead for row in reports),
                    _stability(atoms),
                    _stability([sae.dictionary() for sae in by_points]) if config.uses_points else None,
                )
            )
    return [*rows, _null(data.directions, seeds)]


def as_text(rows: Sequence[Planted]) -> str:
    """The baseline table."""
    lines = [
        f"{'':<20}{'R2':>8}{'cosine':>8}{'dead':>8}{'stable across':>16}",
        f"{'':<20}{'':>8}{'to truth':>8}{'':>8}{'seeds':>8}{'points':>8}",
    ]
    for row in rows:
        values = (row.r2, row.cosine, row.dead, row.across_seeds, row.across_points)
        lines.append(
            f"{row.name:<20}" + "".join(f"{'-' if v is None else format(v, '.3f'):>8}" for v in values)
        )
    return "\n".join(lines)


def _null(directions: torch.Tensor, seeds: Sequence[int]) -> Planted:
    """Random atoms, what anything learned must beat."""
    generator = torch.Generator().manual_seed(7)
    atoms = [torch.randn(_PLAIN.n_concepts, _PLAIN.d_model, generator=generator) for _ in seeds]
    cosine = fmean(float(best_cosines(directions, rows).mean()) for rows in atoms)
    return Planted("random atoms", None, cosine, None, _stability(atoms), None)


def _stability(dictionaries: Sequence[torch.Tensor]) -> float:
    return fmean(stability(a, b) for a, b in combinations(dictionaries, 2))
