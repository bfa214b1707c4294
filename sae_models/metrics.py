"""How good an SAE is on unseen tokens, and whether two found the same atoms (METHOD.md, section 4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from sae_models.sae import SAE

RATE_EDGES = tuple(10.0**power for power in range(-6, 1))  # of the firing-rate histogram, in shares of tokens
MATCHABLE = 8192  # atoms; the Hungarian method is cubic


@dataclass(frozen=True)
class ReconstructionReport:
    """What codes cost and give on held-out tokens."""

    n_tokens: int
    r2: float  # 1 - sum ||x - x_hat||^2 / sum ||x - mean||^2, a mean per dimension; at most 1
    l0_mean: float  # active concepts per token
    l0_p05: float
    l0_p50: float
    l0_p95: float
    dead: float  # share of concepts that fire on no token, 0 to 1
    firing_rate: Tensor  # (n_concepts,) share of tokens on which a concept fires

    @property
    def rate_histogram(self) -> list[int]:
        """Concepts that never fire, then per decade of firing rate between RATE_EDGES: 1 + 6 counts."""
        alive = self.firing_rate[self.firing_rate > 0].clamp(RATE_EDGES[0], 1).double().log10()
        counts = torch.histc(alive, bins=len(RATE_EDGES) - 1, min=-6, max=0).int().tolist()
        return [int((self.firing_rate == 0).sum()), *counts]


@dataclass(frozen=True)
class Report:
    """Everything measured of one SAE; `scalars` is what a tracker logs."""

    n_tokens: int
    r2: float
    l0_mean: float
    l0_p05: float
    l0_p50: float
    l0_p95: float
    dead: float
    rate_histogram: list[int]  # concepts: never firing, then per decade of firing rate from 1e-6 to 1
    stable_rank: float  # of the dictionary, 1 to d_model
    coherence: float  # largest |cosine| of two different atoms, 0 to 1
    ood: float  # mean distance (1 - cosine) from an atom to the nearest centred token, 0 to 2

    def scalars(self) -> dict[str, float]:
        """The numbers by name, without the histogram."""
        return {name: float(value) for name, value in asdict(self).items() if name != "rate_histogram"}


@torch.no_grad()
def reconstruction_report(sae: SAE, tokens: Tensor, batch_size: int = 4096) -> ReconstructionReport:
    """R2, L0 and firing rates of an SAE on tokens (n, d_model). Raises ValueError without tokens."""
    if not len(tokens):
        raise ValueError("there are no held-out tokens; give the token source a held_out share above 0")
    device = sae.mean.device
    mean = tokens.mean(0, dtype=torch.float64)
    error = variance = 0.0
    counts: list[Tensor] = []
    fired = torch.zeros(sae.config.n_concepts, dtype=torch.int64, device=device)
    for batch in tokens.split(batch_size):
        x = batch.to(device)
        rebuilt, codes = sae(x)
        active = codes.values > 0
        counts.append(active.sum(1).cpu())
        fired += torch.bincount(codes.indices[active], minlength=len(fired))
        error += float((x.double() - rebuilt.double()).square().sum())
        variance += float((x.double() - mean.to(device)).square().sum())
    l0 = torch.cat(counts).double()
    p05, p50, p95 = l0.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    return ReconstructionReport(
        n_tokens=len(tokens),
        r2=1 - error / max(variance, 1e-30),
        l0_mean=float(l0.mean()),
        l0_p05=p05,
        l0_p50=p50,
        l0_p95=p95,
        dead=float((fired == 0).double().mean()),
        firing_rate=(fired.double() / len(tokens)).cpu(),
    )


@torch.no_grad()
def report(sae: SAE, tokens: Tensor, batch_size: int = 4096) -> Report:
    """All metrics of an SAE, in eval mode, on held-out tokens (n, d_model); its mode is left as it was."""
    was_training = sae.training
    sae.eval()
    found = reconstruction_report(sae, tokens, batch_size)
    atoms = sae.dictionary()
    sae.train(was_training)
    shared = {name: value for name, value in vars(found).items() if name != "firing_rate"}
    return Report(
        **shared,
        rate_histogram=found.rate_histogram,
        stable_rank=stable_rank(atoms),
        coherence=coherence(atoms),
        ood=float(distance_to_data(atoms, tokens - tokens.mean(0)).mean()),
    )


@torch.no_grad()
def stable_rank(dictionary: Tensor) -> float:
    """||D||_F^2 / ||D||_2^2 of a dictionary (n_concepts, d_model), 1 to d_model."""
    values = torch.linalg.eigvalsh((dictionary.t() @ dictionary).double())
    return float(values.clamp_min(0).sum() / values[-1])


@torch.no_grad()
def coherence(dictionary: Tensor, block: int = 1024) -> float:
    """Largest |cosine| between two different atoms of a dictionary (n_concepts, d_model), 0 to 1."""
    atoms = normalize(dictionary, dim=1)
    largest = 0.0
    for start in range(0, len(atoms), block):
        cosines = (atoms[start : start + block] @ atoms.t()).abs()
        rows = torch.arange(cosines.shape[0], device=atoms.device)
        cosines[rows, rows + start] = 0
        largest = max(largest, float(cosines.max()))
    return min(1.0, largest)


@torch.no_grad()
def distance_to_data(dictionary: Tensor, centred_tokens: Tensor, block: int = 4096) -> Tensor:
    """1 - cosine of each atom (n_concepts, d) to the nearest centred token (n, d): (n_concepts,), 0 to 2."""
    atoms = normalize(dictionary, dim=1)
    nearest = torch.full((len(atoms),), -1.0, device=atoms.device)
    for x in centred_tokens.split(block):
        cosines = atoms @ normalize(x.to(atoms), dim=1).t()
        nearest = torch.maximum(nearest, cosines.amax(1))
    return (1 - nearest).clamp_min(0)


def stability(dictionary_a: Tensor, dictionary_b: Tensor) -> float:
    """Mean cosine of the atoms of two dictionaries (n_concepts, d_model), matched one to one to make it
    largest.

    1 when they are the same up to order and positive scale (RA-SAE, arXiv 2502.12892). Raises ValueError when
    the shapes differ or there are more atoms than the Hungarian method can match in minutes.
    """
    if dictionary_a.shape != dictionary_b.shape:
        raise ValueError(
            f"dictionaries have shapes {tuple(dictionary_a.shape)} and {tuple(dictionary_b.shape)}"
        )
    if len(dictionary_a) > MATCHABLE:
        raise ValueError(
            f"{len(dictionary_a):,} atoms are too many to match; give at most {MATCHABLE:,} of them"
        )
    a, b = (normalize(dictionary.detach().cpu(), dim=1) for dictionary in (dictionary_a, dictionary_b))
    cosines = (a @ b.t()).numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return float(cosines[rows, columns].mean())


@torch.no_grad()
def best_cosines(truth: Tensor, dictionary: Tensor) -> Tensor:
    """Cosine of each true direction (m, d) to its nearest atom, (m,), -1 to 1."""
    return (normalize(truth, dim=1) @ normalize(dictionary, dim=1).t()).amax(1)
