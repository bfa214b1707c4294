"""Dead codes start again at the tokens that are rebuilt worst (resampling, after Bricken et al., 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from sae_models.encoder import Encoder
from sae_models.sae import SAE


@torch.no_grad()
def resample(sae: SAE, optimiser: torch.optim.Optimizer, x: Tensor, dead: Tensor, gain: float) -> int:
    """Moves dead codes, (n_concepts,) bool, onto the worst rebuilt of tokens x (n, d_model); how many it moved.

    A moved code has its atom and its encoder on one token, so it fires there, and no memory of past gradients.
    """
    u = sae.standardise(x)
    error = (x - sae(x)[0]).square().sum(1)
    ids = dead.nonzero().flatten()[: len(x)]
    rows = u[error.topk(len(ids)).indices]
    encoder = sae.encoder
    assert isinstance(encoder, Encoder)
    alive = ~dead
    sae.atoms.replace(ids, rows)
    length = encoder.weight[alive].norm(dim=1).mean() if bool(alive.any()) else 1.0
    directions = torch.nn.functional.normalize(sae.atoms()[ids], dim=1)
    encoder.weight[ids] = gain * length * directions
    encoder.bias[ids] = 0
    if encoder.gamma is not None and encoder.beta is not None and bool(alive.any()):
        encoder.gamma[ids] = encoder.gamma[alive].mean()
        encoder.beta[ids] = encoder.beta[alive].mean()
    n_concepts = sae.config.n_concepts
    for state in optimiser.state.values():
        for moment in state.values():
            if moment.ndim and moment.shape[0] == n_concepts:
                moment[ids] = 0
    return len(ids)
