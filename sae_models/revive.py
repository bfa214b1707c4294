"""Dead codes start again at the tokens that are rebuilt worst: resampling, after Bricken et al. (2023)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae_models.encoder import Encoder
from sae_models.sae import SAE

_GAIN = 0.8  # length of a moved encoder row, as a share of the others': loud at its token, quiet elsewhere


@torch.no_grad()
def resample(sae: SAE, optimiser: torch.optim.Optimizer, x: Tensor, dead: Tensor) -> Tensor:
    """Moves dead codes, (n_concepts,) bool, onto the worst rebuilt of tokens x (n, d_model); returns their
    ids.

    At most n codes are moved. A moved code has its atom and its encoder on one token and no memory of past
    gradients.
    """
    encoder = sae.encoder
    assert isinstance(encoder, Encoder)
    ids = dead.nonzero().flatten()[: len(x)]
    error = (x - sae(x)[0]).square().sum(1)
    sae.atoms.replace(ids, sae.standardise(x)[error.topk(len(ids)).indices])
    others = ~dead if bool((~dead).any()) else dead
    length = encoder.weight[others].norm(dim=1).mean()
    encoder.weight[ids] = _GAIN * length * normalize(sae.atoms()[ids], dim=1)
    encoder.bias[ids] = 0
    for part in (encoder.gamma, encoder.beta):
        if part is not None:
            part[ids] = part[others].mean()
    for moments in optimiser.state.values():
        for moment in moments.values():
            if moment.ndim and len(moment) == len(dead):  # rows are concepts
                moment[ids] = 0
    return ids
