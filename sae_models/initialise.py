"""Where training starts: standardisation, K-means points, atoms on data, a tied encoder to scale."""

from __future__ import annotations

import math

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from sae_models.activations import BatchTopK, Threshold, largest
from sae_models.dictionaries import ArchetypalDictionary
from sae_models.encoder import Encoder
from sae_models.sae import SAE
from sae_models.sparse import Codes, sparse_decode
from sae_models.tokens import TokenSource, checked

_GREEDY_POINTS = 4096  # k-means++ costs points x tokens; above this, random tokens start the points


def sample_tokens(tokens: TokenSource, n: int, seed: int) -> Tensor:
    """The first n tokens of a pass, (n, d_model) float32. Raises ValueError on NaN or the wrong width."""
    batch_size = min(n, 8192)
    stream = tokens.batches(batch_size, seed)
    parts = [checked(next(stream), tokens.d_model) for _ in range(math.ceil(n / batch_size))]
    return torch.cat(parts)[:n]


def kmeans_points(u: Tensor, n_points: int, seed: int) -> Tensor:
    """K-means centroids (n_points, d_model) of standardised tokens u (n, d_model), by seeded mini-batches.

    Raises ValueError when there are fewer tokens than points.
    """
    if u.shape[0] < n_points:
        raise ValueError(f"{u.shape[0]:,} tokens cannot give n_points = {n_points:,}; write fewer points")
    start = "k-means++" if n_points <= _GREEDY_POINTS else "random"
    kmeans = MiniBatchKMeans(
        n_points,
        init=start,
        batch_size=max(4096, 2 * n_points),
        n_init=1,  # type: ignore[arg-type]
        max_iter=10,
        random_state=seed,
    )
    centres = torch.from_numpy(kmeans.fit(u.cpu().numpy()).cluster_centers_)
    return centres.to(device=u.device, dtype=u.dtype)


@torch.no_grad()
def initialise(sae: SAE, sample: Tensor) -> None:
    """Sets mean, scale, points, atoms, encoder and threshold of a new SAE from sample tokens (n, d_model)."""
    config = sae.config
    if config.centring:
        sae.mean.copy_(sample.mean(0, dtype=torch.float64))
    length = (sample - sae.mean.to(sample)).square().sum(1).mean().sqrt()
    if not length > 0:
        raise ValueError("all tokens are equal; an SAE needs tokens that vary")
    sae.scale.copy_(length)
    u = sae.standardise(sample.to(sae.mean.device))
    generator = torch.Generator().manual_seed(config.seed)
    _start_atoms(sae, u, generator)
    assert isinstance(sae.encoder, Encoder)
    sae.encoder.tie(sae.atoms())
    few = u[torch.randperm(len(u), generator=generator)[:2048].to(u.device)]
    sae.encoder.rescale(_best_factor(sae, few))
    _start_threshold(sae, few)


def _start_atoms(sae: SAE, u: Tensor, generator: torch.Generator) -> None:
    config = sae.config
    points = kmeans_points(u, config.n_points, config.seed_of_points) if config.uses_points else None
    if isinstance(sae.atoms, ArchetypalDictionary):
        assert points is not None
        sae.atoms.start(points, generator)
    elif config.init != "random":
        pool = u if points is None else points
        order = torch.randperm(len(pool), generator=generator)
        rows = pool[order[torch.arange(config.n_concepts) % len(pool)].to(pool.device)]
        # Atoms that share a row of the pool would stay equal for ever: a little noise parts them.
        noise = torch.randn(rows.shape, generator=generator).to(rows) / config.d_model**0.5
        sae.atoms.start(rows + 0.1 * noise * rows.norm(dim=1, keepdim=True))


def _best_factor(sae: SAE, u: Tensor) -> float:
    """The factor on the codes that rebuilds u best in the least-squares sense."""
    rebuilt = sparse_decode(_k_largest(sae, u), sae.atoms())
    fit = (u * rebuilt).sum() / rebuilt.square().sum().clamp_min(1e-12)
    return max(1e-3, float(fit))


def _start_threshold(sae: SAE, u: Tensor) -> None:
    """The threshold that lets k codes per token through on average."""
    if isinstance(sae.activation, BatchTopK | Threshold):
        values = _k_largest(sae, u, width=4).values.flatten()
        level = values.topk(min(len(values), sae.config.k * u.shape[0])).values.min()
        sae.activation.threshold.fill_(max(0.0, float(level)))


def _k_largest(sae: SAE, u: Tensor, width: int = 1) -> Codes:
    folded = sae.encoder.folded()
    deviation = folded.deviation(u)
    linear, indices = largest(u, folded, deviation, width * sae.config.k)
    return Codes(folded.pre_codes(u, deviation, linear, indices).relu(), indices)
