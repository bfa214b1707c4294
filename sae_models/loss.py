"""The loss of one step, in shares of the tokens' variance: 1 - R2, and what keeps codes alive and sparse."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sae_models.activations import Threshold, largest
from sae_models.config import TrainingConfig
from sae_models.encoder import Folded
from sae_models.sae import SAE
from sae_models.sparse import Codes, sparse_decode


class StepLoss(NamedTuple):
    """The parts of one step's loss, each a () tensor, and the codes."""

    total: Tensor
    reconstruction: Tensor  # mean squared error over mean squared norm of standardised tokens, 0 to about 1
    auxiliary: Tensor  # share of the residual that dead codes cannot rebuild; 0 when none is dead
    sparsity: Tensor  # (L0 / k - 1)^2 of the threshold activation; 0 for the others
    codes: Codes


def step_loss(sae: SAE, x: Tensor, dead: Tensor, training: TrainingConfig) -> StepLoss:
    """Loss of tokens x (n, d_model); `dead` (n_concepts,) bool marks codes to revive."""
    u = sae.standardise(x)
    folded = sae.encoder.folded()
    zero = u.new_zeros(())
    sparsity = zero
    if isinstance(sae.activation, Threshold):
        codes, l0 = sae.activation.forward_with_l0(u, folded)
        sparsity = (l0 / sae.config.k - 1).square()
    else:
        codes = sae.activation(u, folded)
    atoms = sae.atoms()
    residual = u - sae.bias - sparse_decode(codes, atoms)
    reconstruction = residual.square().sum(1).mean()
    auxiliary = zero
    dead_ids = dead.nonzero().flatten()
    if training.auxiliary_weight and len(dead_ids):
        k = training.auxiliary_k or max(1, sae.config.d_model // 2)
        auxiliary = auxiliary_loss(u, residual.detach(), folded.rows(dead_ids), atoms[dead_ids], k)
    total = reconstruction + training.auxiliary_weight * auxiliary + training.sparsity_weight * sparsity
    return StepLoss(total, reconstruction, auxiliary, sparsity, codes)


def auxiliary_loss(u: Tensor, residual: Tensor, dead: Folded, dead_atoms: Tensor, k: int) -> Tensor:
    """Share of the residual's variance left when the k largest dead codes rebuild it (AuxK, arXiv
    2406.04093).

    Only dead codes get a gradient: the residual is taken as given.
    """
    deviation = dead.deviation(u)
    linear, indices = largest(u, dead, deviation, k)
    codes = Codes(dead.pre_codes(u, deviation, linear, indices).relu(), indices)
    left = (residual - sparse_decode(codes, dead_atoms)).square().sum()
    return left / (residual - residual.mean(0)).square().sum().clamp_min(1e-12)
