"""Metrics worked out by hand."""

from __future__ import annotations

import pytest
import torch

from sae_models import SAE, SAEConfig, report, stability
from sae_models.metrics import coherence, distance_to_data, reconstruction_report, stable_rank


def identity_sae(n_concepts: int = 3) -> SAE:
    """Concept i reads and writes dimension i; the third is never the largest of the data below."""
    config = SAEConfig(2, n_concepts, k=1, dictionary="free", atom_scale="none", init="random")
    sae = SAE(config).eval()
    with torch.no_grad():
        sae.encoder.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
        sae.atoms.rows.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    return sae


TOKENS = torch.tensor([[4.0, 0.0], [2.0, 1.0], [0.0, 2.0], [0.0, 1.0]])


def test_r2_l0_and_dead_by_hand() -> None:
    found = reconstruction_report(identity_sae(), TOKENS)
    # only [2, 1] is rebuilt as [2, 0]: error 1. Means [1.5, 1]: variance (6.25 + .25 + 2.25 + 2.25) + (1 + 0
    # + 1 + 0)
    assert found.r2 == pytest.approx(1 - 1 / 13)
    assert (found.l0_mean, found.l0_p05, found.l0_p50, found.l0_p95) == (1, 1, 1, 1)
    assert found.dead == pytest.approx(1 / 3)
    assert found.firing_rate.tolist() == [0.5, 0.5, 0.0]
    assert found.rate_histogram == [1, 0, 0, 0, 0, 0, 2]


def test_predicting_the_mean_is_worth_nothing() -> None:
    """A scalar mean would give 0.9 here, because the two dimensions sit at different heights."""
    config = SAEConfig(2, 3, k=1, dictionary="free", init="random")
    sae = SAE(config).eval()
    x = torch.tensor([[10.0, -10.0], [11.0, -11.0], [9.0, -9.0]])
    with torch.no_grad():
        sae.mean.copy_(x.mean(0))
        sae.encoder.weight.zero_()
    assert reconstruction_report(sae, x).r2 == pytest.approx(0)


def test_batches_do_not_change_the_report() -> None:
    whole, split = (reconstruction_report(identity_sae(), TOKENS, batch_size=size) for size in (4, 1))
    assert whole.r2 == pytest.approx(split.r2)
    assert whole.rate_histogram == split.rate_histogram


def test_report_has_everything_and_leaves_the_mode() -> None:
    sae = identity_sae().train()
    found = report(sae, TOKENS)
    assert sae.training
    assert set(found.scalars()) == {
        "n_tokens", "r2", "l0_mean", "l0_p05", "l0_p50", "l0_p95", "dead", "stable_rank", "coherence", "ood",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in found.scalars().values())
    with pytest.raises(ValueError, match="no held-out tokens"):
        report(sae, TOKENS[:0])


def test_stable_rank_by_hand() -> None:
    # singular values 3 and 1: (9 + 1) / 9
    assert stable_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(10 / 9)


def test_coherence_by_hand() -> None:
    atoms = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, -4.0]])
    for block in (1, 2, 1024):
        assert coherence(atoms, block) == pytest.approx(0.8)


def test_distance_to_data_by_hand() -> None:
    tokens = torch.tensor([[5.0, 0.0], [3.0, 4.0]])
    atoms = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert distance_to_data(atoms, tokens).tolist() == pytest.approx([0.0, 0.2, 1.6])
    assert distance_to_data(atoms, tokens, block=1).tolist() == pytest.approx([0.0, 0.2, 1.6])


def test_stability_by_hand() -> None:
    a = torch.eye(3)
    assert stability(a, 7 * a[[2, 0, 1]]) == pytest.approx(1)
    # [1, 1, 0] / sqrt(2) is equally near to atoms 0 and 1, of which one is taken already
    b = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert stability(a, b) == pytest.approx((2 + 0.5**0.5) / 3)
    with pytest.raises(ValueError, match="shapes"):
        stability(a, a[:2])
    with pytest.raises(ValueError, match="too many"):
        stability(torch.zeros(8193, 1), torch.zeros(8193, 1))
