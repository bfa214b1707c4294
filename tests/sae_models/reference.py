"""The SAE once more, dense and in float64, straight from the equations; and SAEs to try it on."""

from __future__ import annotations

import copy
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from sae_models import SAE, Codes, SAEConfig
from sae_models.activations import BatchTopK, Threshold, TopK
from sae_models.dictionaries import ArchetypalDictionary, FreeDictionary
from sae_models.encoder import Encoder

D_MODEL, N_CONCEPTS, K = 12, 40, 5

VARIANTS = [
    SAEConfig(
        d_model=D_MODEL,
        n_concepts=N_CONCEPTS,
        k=K,
        activation=activation,
        layer_norm=layer_norm,
        dictionary=dictionary,
        atom_scale=atom_scale,
        n_points=24,
        backbone="tiny",
        preprocessing={"crop": 64},
    )
    for activation, layer_norm, (dictionary, atom_scale) in product(
        ("topk", "batchtopk", "threshold"),
        (False, True),
        (("free", "unit"), ("free", "none"), ("archetypal", "unit"), ("archetypal", "learned")),
    )
]


def name_of(config: SAEConfig) -> str:
    norm = "layernorm" if config.layer_norm else "plain"
    return f"{config.activation}-{norm}-{config.dictionary}-{config.atom_scale}"


def some_sae(config: SAEConfig, seed: int = 0) -> SAE:
    """An SAE with every parameter and buffer away from its initial value, and all constraints held."""
    sae = SAE(config)
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    with torch.no_grad():
        sae.mean.copy_(3 * noise(sae.mean))
        sae.scale.fill_(1.7)
        for parameter in sae.parameters():
            parameter.add_(0.3 * noise(parameter))
        if isinstance(sae.activation, BatchTopK | Threshold):
            sae.activation.threshold.copy_(0.4 + 0.1 * noise(sae.activation.threshold).abs())
    sae.constrain()
    return sae


def some_tokens(sae: SAE, n: int = 33, seed: int = 1) -> Tensor:
    noise = torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(seed))
    return sae.mean + sae.scale * noise


class Reference(NamedTuple):
    """Dense and in float64: what an SAE gives."""

    codes: Tensor
    pre_codes: Tensor
    reconstruction: Tensor
    dictionary: Tensor
    sae: SAE


def reference(sae: SAE, x: Tensor) -> Reference:
    """What `sae` should give for x in its mode, with the float64 copy that takes the gradients."""
    sae = copy.deepcopy(sae).double()
    x = x.double()
    u = (x - sae.mean) / sae.scale
    encoder = sae.encoder
    assert isinstance(encoder, Encoder)
    pre_codes = u @ encoder.weight.t() + encoder.bias
    if encoder.gamma is not None and encoder.beta is not None:
        mean = pre_codes.mean(1, keepdim=True)
        variance = ((pre_codes - mean) ** 2).mean(1, keepdim=True)
        pre_codes = encoder.gamma * (pre_codes - mean) / (variance + 1e-5).sqrt() + encoder.beta
    codes = _dense_codes(sae, pre_codes)
    atoms = _dense_atoms(sae)
    reconstruction = sae.mean + sae.scale * (codes @ atoms + sae.bias)
    return Reference(codes, pre_codes, reconstruction, sae.scale * atoms, sae)


def _dense_codes(sae: SAE, pre_codes: Tensor) -> Tensor:
    k = sae.config.k
    batch = isinstance(sae.activation, BatchTopK)
    if isinstance(sae.activation, Threshold) or (batch and not sae.training):
        assert not isinstance(sae.activation, TopK)
        keep = pre_codes > sae.activation.threshold
    elif batch:
        lowest = pre_codes.detach().flatten().sort(descending=True).values[k * len(pre_codes) - 1]
        keep = pre_codes >= lowest
    else:
        lowest = pre_codes.detach().sort(dim=1, descending=True).values[:, k - 1 : k]
        keep = pre_codes >= lowest
    return pre_codes.clamp_min(0) * keep.detach()


def _dense_atoms(sae: SAE) -> Tensor:
    atoms = sae.atoms
    if isinstance(atoms, ArchetypalDictionary):
        rows = atoms.weights @ atoms.points + atoms.relaxation
    else:
        assert isinstance(atoms, FreeDictionary)
        rows = atoms.rows
    if sae.config.atom_scale == "unit":
        return rows / (rows**2).sum(1, keepdim=True).sqrt()
    return rows if atoms.log_scale is None else rows * atoms.log_scale.exp()[:, None]


def assert_close(found: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    """Largest difference at most `relative` times the largest expected value."""
    difference = (found.double() - expected.double()).abs().max()
    assert difference <= relative * expected.double().abs().max(), float(difference)


def assert_codes(codes: Codes, expected: Tensor) -> None:
    assert codes.indices.dtype == torch.int64
    assert bool((codes.values >= 0).all())
    assert_close(codes.dense(expected.shape[1]), expected)


def assert_same(sae: SAE, x: Tensor, codes: Tensor, rebuilt: Tensor, relative: float = 1e-5) -> None:
    """In eval mode, dense codes and reconstruction of x, at the tolerance of `assert_close`."""
    assert not sae.training
    assert (codes > 0).any()
    found, sparse = sae(x)
    assert_close(sparse.dense(codes.shape[1]), codes, relative)
    assert_close(found, rebuilt, relative)
