"""One list of invariants that every variant of the SAE passes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sae_models import SAEConfig, activations, load
from sae_models.activations import largest
from sae_models.loss import auxiliary_loss
from tests.sae_models.reference import (
    N_CONCEPTS,
    VARIANTS,
    assert_close,
    assert_codes,
    name_of,
    reference,
    some_sae,
    some_tokens,
)

each_variant = pytest.mark.parametrize("config", VARIANTS, ids=name_of)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven tokens a block, so that every test crosses blocks."""
    monkeypatch.setitem(activations._BLOCK_ELEMENTS, "cpu", 7 * N_CONCEPTS)


@each_variant
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_agrees_with_the_dense_reference(config: SAEConfig, training: bool) -> None:
    sae = some_sae(config).train(training)
    x = some_tokens(sae)
    expected = reference(sae, x)
    rebuilt, codes = sae(x)
    assert (expected.codes > 0).sum() > len(x)  # the case is not empty
    assert_codes(codes, expected.codes)
    assert_close(rebuilt, expected.reconstruction)
    assert_close(sae.dictionary(), expected.dictionary)


@each_variant
def test_saved_and_loaded_gives_the_same(config: SAEConfig, tmp_path: Path) -> None:
    sae = some_sae(config).eval()
    x = some_tokens(sae)
    expected = reference(sae, x)
    sae.save(tmp_path)
    loaded = load(tmp_path, backbone="tiny", preprocessing={"crop": 64})
    loaded.save(tmp_path / "again")
    for other in (loaded, load(tmp_path / "again"), sae.fuse()):
        rebuilt, codes = other(x)
        assert_codes(codes, expected.codes)
        assert_close(rebuilt, expected.reconstruction)
        assert_close(other.dictionary(), expected.dictionary)
        assert other.config == config
        assert not other.training


@each_variant
@pytest.mark.parametrize("batch_size", [1, 8, 33])
def test_eval_does_not_depend_on_the_batch(config: SAEConfig, batch_size: int) -> None:
    sae = some_sae(config).eval()
    x = some_tokens(sae)
    expected = reference(sae, x)
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        assert_codes(sae.encode(x[rows]), expected.codes[rows])


@each_variant
def test_gradients_agree_with_autograd_on_the_reference(config: SAEConfig) -> None:
    sae = some_sae(config).train()
    x = some_tokens(sae)
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    expected = reference(sae, x)
    (expected.reconstruction - target.double()).square().sum().backward()
    (sae(x)[0] - target).square().sum().backward()
    wanted = dict(expected.sae.named_parameters())
    for name, parameter in sae.named_parameters():
        if name == "activation.threshold":
            continue  # a straight-through estimate, which autograd cannot give; its own test has it
        assert parameter.grad is not None, name
        gradient = wanted[name].grad
        assert gradient is not None
        assert_close(parameter.grad, gradient)


@each_variant
def test_gradient_reaches_the_tokens(config: SAEConfig) -> None:
    sae = some_sae(config).train()
    x = some_tokens(sae).requires_grad_()
    wanted = some_tokens(sae).requires_grad_()
    reference(sae, wanted).reconstruction.square().sum().backward()
    sae(x)[0].square().sum().backward()
    assert x.grad is not None
    assert wanted.grad is not None
    assert_close(x.grad, wanted.grad)


@each_variant
def test_active_concepts_of_a_token_are_different(config: SAEConfig) -> None:
    sae = some_sae(config)
    codes = sae.encode(some_tokens(sae))
    for values, indices in zip(codes.values, codes.indices, strict=True):
        active = indices[values > 0].tolist()
        assert len(active) == len(set(active))


@each_variant
def test_no_tokens_give_no_codes(config: SAEConfig) -> None:
    sae = some_sae(config).eval()
    rebuilt, codes = sae(torch.zeros(0, config.d_model))
    assert rebuilt.shape == (0, config.d_model)
    assert len(codes.values) == 0


@each_variant
def test_auxiliary_loss_agrees_with_the_reference(config: SAEConfig) -> None:
    sae = some_sae(config).train()
    x = some_tokens(sae)
    dead_ids = torch.arange(0, N_CONCEPTS, 3)
    residual = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    expected = reference(sae, x)
    dead = expected.pre_codes[:, dead_ids]
    keep = dead >= dead.detach().sort(dim=1, descending=True).values[:, 3:4]
    atoms = expected.dictionary[dead_ids] / sae.scale.double()
    left = (residual.double() - (dead.clamp_min(0) * keep) @ atoms).square().sum()
    wanted = left / (residual.double() - residual.double().mean(0)).square().sum()
    wanted.backward()
    folded = sae.encoder.folded()
    found = auxiliary_loss(sae.standardise(x), residual, folded.rows(dead_ids), sae.atoms()[dead_ids], 4)
    found.backward()
    assert_close(found, wanted)
    gradient = expected.sae.encoder.weight.grad
    assert gradient is not None
    assert_close(sae.encoder.weight.grad, gradient)


@pytest.mark.parametrize("config", [c for c in VARIANTS if c.activation == "topk"], ids=name_of)
def test_selection_returns_largest_first(config: SAEConfig) -> None:
    sae = some_sae(config)
    u = sae.standardise(some_tokens(sae))
    folded = sae.encoder.folded()
    deviation = folded.deviation(u)
    linear, indices = largest(u, folded, deviation, 6)
    values = folded.pre_codes(u, deviation, linear, indices)
    assert bool((values.diff(dim=1) <= 0).all())
