"""Formulas worked out by hand, and the traps that other libraries fell into."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sae_models import SAE, Codes, SAEConfig, load
from sae_models.activations import BatchTopK, Threshold
from sae_models.dictionaries import ArchetypalDictionary
from sae_models.sparse import sparse_decode
from tests.sae_models.reference import VARIANTS, assert_close, name_of, some_sae, some_tokens

PLAIN = SAEConfig(d_model=2, n_concepts=3, k=1, dictionary="free", atom_scale="none", init="random")


def by_hand(config: SAEConfig, weight: list[list[float]], atoms: list[list[float]]) -> SAE:
    sae = SAE(config)
    with torch.no_grad():
        sae.encoder.weight.copy_(torch.tensor(weight))
        sae.atoms.rows.copy_(torch.tensor(atoms))
    return sae


def test_topk_by_hand() -> None:
    sae = by_hand(PLAIN, [[1, 0], [0, 1], [-1, -1]], [[2, 0], [0, 3], [1, 1]])
    with torch.no_grad():
        sae.mean.copy_(torch.tensor([1.0, 1.0]))
        sae.scale.fill_(2.0)
        sae.bias.copy_(torch.tensor([0.5, 0.0]))
    # u = ([5, 3] - 1) / 2 = [2, 1]; pre_codes [2, 1, -3]; the largest is concept 0 with 2
    rebuilt, codes = sae(torch.tensor([[5.0, 3.0]]))
    assert codes.values.tolist() == [[2.0]]
    assert codes.indices.tolist() == [[0]]
    # mean + scale * (2 * [2, 0] + [0.5, 0]) = 1 + 2 * [4.5, 0]
    assert rebuilt.tolist() == [[10.0, 1.0]]
    assert sae.dictionary().tolist() == [[4, 0], [0, 6], [2, 2]]


def test_topk_leaves_negative_pre_codes_out() -> None:
    sae = by_hand(PLAIN, [[1, 0], [1, 1], [2, 1]], [[1, 0], [0, 1], [1, 1]])
    rebuilt, codes = sae(torch.tensor([[-1.0, -1.0]]))
    assert codes.values.tolist() == [[0.0]]
    assert rebuilt.tolist() == [[0.0, 0.0]]


def test_layer_norm_by_hand() -> None:
    sae = by_hand(replace(PLAIN, layer_norm=True), [[1, 0], [0, 1], [0, 0]], [[1, 0], [0, 1], [1, 1]])
    # linear [3, 0, 0]: mean 1, variance (4 + 1 + 1) / 3 = 2
    values = sae.encode(torch.tensor([[3.0, 0.0]])).values
    assert values.item() == pytest.approx(2 / math.sqrt(2 + 1e-5), rel=1e-6)


def test_archetypal_atom_by_hand() -> None:
    dictionary = ArchetypalDictionary(d_model=2, n_concepts=2, n_points=3, delta=0.5, scale="none")
    with torch.no_grad():
        dictionary.points.copy_(torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, -4.0]]))
        dictionary.weights.copy_(torch.tensor([[3.0, 1.0, -2.0], [-1.0, -1.0, -1.0]]))
        dictionary.relaxation.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.0]]))
    dictionary.constrain()
    # weights [3, 1, 0] / 4; relaxation [3, 4] shortened from 5 to 0.5
    assert dictionary.weights[0].tolist() == [0.75, 0.25, 0.0]
    assert_close(dictionary()[0], torch.tensor([3.0 + 0.3, 1.0 + 0.4]))
    # all weights clipped: the mean of the points, never a zero atom
    assert_close(dictionary()[1], torch.tensor([0.3, 0.0]))


def test_archetypal_learned_scale_by_hand() -> None:
    dictionary = ArchetypalDictionary(d_model=2, n_concepts=1, n_points=3, delta=0.5, scale="learned")
    assert dictionary.log_scale is not None
    with torch.no_grad():
        dictionary.points.copy_(torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]]))
        dictionary.log_scale.fill_(math.log(5))
    assert_close(dictionary(), torch.tensor([[5.0, 5.0]]))


def test_jumprelu_gradients_by_hand() -> None:
    config = replace(PLAIN, activation="threshold", bandwidth=0.4)
    sae = by_hand(config, [[1, 0], [0, 1], [0, 0]], [[1, 0], [0, 1], [1, 1]]).train()
    assert isinstance(sae.activation, Threshold)
    with torch.no_grad():
        sae.activation.threshold.copy_(torch.tensor([1.0, 1.0, 1.0]))
    # concept 0 at 1.1: active and in the window of 0.2 either side; concept 1 at 0.9: in the window, silent
    codes, l0 = sae.activation.forward_with_l0(torch.tensor([[1.1, 0.9]]), sae.encoder.folded())
    assert codes.dense(3).tolist() == [[pytest.approx(1.1), 0, 0]]
    assert l0.item() == 1
    (3 * codes.values.sum() + 10 * l0).backward()
    gradient = sae.activation.threshold.grad
    assert gradient is not None
    # -(threshold * 3 + 10) / bandwidth for both
    assert gradient.tolist() == [pytest.approx(-32.5), pytest.approx(-32.5), 0]
    assert sae.encoder.weight.grad is not None
    assert_close(sae.encoder.weight.grad, torch.tensor([[3.3, 2.7], [0, 0], [0, 0]]))


def test_batchtopk_shares_the_batch_by_hand() -> None:
    sae = by_hand(replace(PLAIN, activation="batchtopk"), [[1, 0], [0, 1], [1, 1]], [[1, 0], [0, 1], [1, 1]])
    sae.train()
    # pre_codes [4, 3, 7] and [1, 0.5, 1.5]: the two largest of the batch are 7 and 4, both of the first token
    codes = sae.encode(torch.tensor([[4.0, 3.0], [1.0, 0.5]]))
    assert codes.dense(3).tolist() == [[4, 0, 7], [0, 0, 0]]


def test_batchtopk_k_is_per_token() -> None:
    config = next(c for c in VARIANTS if c.activation == "batchtopk" and not c.layer_norm)
    sae = some_sae(config).train()
    for n in (16, 64):
        active = (sae.encode(some_tokens(sae, n)).values > 0).sum()
        assert active == config.k * n


def test_batchtopk_looks_past_its_candidates() -> None:
    config = SAEConfig(
        d_model=2, n_concepts=30, k=1, activation="batchtopk", dictionary="free", init="random"
    )
    sae = SAE(config).train()
    with torch.no_grad():
        sae.encoder.weight.copy_(torch.linspace(1, 2, 30)[:, None].expand(30, 2))
    # one loud token owns 10 of the 10 largest pre_codes of the batch, more than the 4 candidates first looked
    # at
    x = torch.cat([torch.full((1, 2), 100.0), torch.full((9, 2), 0.01)])
    codes = sae.encode(x)
    assert (codes.values > 0).sum(1).tolist() == [10, *[0] * 9]


def test_batchtopk_threshold_follows_the_smallest_code() -> None:
    activation = BatchTopK(PLAIN)
    activation.remember(Codes(torch.tensor([[3.0, 2.0, 0.0]]), torch.zeros(1, 3, dtype=torch.int64)), 0.75)
    assert activation.threshold.item() == pytest.approx(2.0)
    assert activation.threshold.item() < 2.0  # so that the code 2.0 itself is above it
    activation.remember(Codes(torch.tensor([[6.0]]), torch.zeros(1, 1, dtype=torch.int64)), 0.75)
    assert activation.threshold.item() == pytest.approx(0.75 * 2 + 0.25 * 6)


@pytest.mark.parametrize("config", VARIANTS, ids=name_of)
def test_state_loaded_after_eval_is_the_one_used(config: SAEConfig) -> None:
    sae, other = some_sae(config, seed=0).eval(), some_sae(config, seed=5).eval()
    x = some_tokens(other)
    sae(x)  # anything that could be cached is cached now
    sae.load_state_dict(other.state_dict())
    assert torch.equal(sae.dictionary(), other.dictionary())
    assert torch.equal(sae(x)[0], other(x)[0])


def test_threshold_survives_the_checkpoint(tmp_path: Path) -> None:
    for config in VARIANTS:
        if config.activation != "topk":
            sae = some_sae(config)
            sae.save(tmp_path)
            loaded = load(tmp_path).activation
            assert isinstance(loaded, BatchTopK | Threshold)
            assert torch.equal(loaded.threshold, sae.activation.threshold)


def test_fewer_points_than_concepts_leave_no_zero_or_equal_atoms() -> None:
    dictionary = ArchetypalDictionary(d_model=4, n_concepts=50, n_points=6, delta=0.1, scale="none")
    generator = torch.Generator().manual_seed(0)
    dictionary.start(torch.randn(6, 4, generator=generator), generator)
    atoms = dictionary()
    assert bool((atoms.norm(dim=1) > 0.05).all())
    assert_close(dictionary.weights.sum(1), torch.ones(50))
    assert torch.cdist(atoms, atoms).add(torch.eye(50)).min() > 1e-4


def test_decode_of_empty_slots_adds_nothing() -> None:
    codes = Codes(torch.tensor([[2.0, 0.0]]), torch.tensor([[1, 0]]))
    assert sparse_decode(codes, torch.tensor([[5.0, 5.0], [1.0, -1.0]])).tolist() == [[2.0, -2.0]]
