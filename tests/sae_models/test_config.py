"""A wrong value is a sentence that says what to write instead."""

from __future__ import annotations

import json

import pytest

from sae_models import SAEConfig, TrainingConfig


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"k": 65}, "k = 65 is above n_concepts = 64; write a k of at most n_concepts"),
        ({"k": 0}, "k is 0; write a whole number of at least 1"),
        ({"d_model": 1.5}, "d_model is 1.5; write a whole number"),
        ({"n_concepts": True}, "n_concepts is True"),
        ({"activation": "relu"}, "activation is 'relu'; write one of topk, batchtopk, threshold"),
        ({"dictionary": "pca"}, "write one of free, archetypal"),
        ({"atom_scale": "big"}, "write one of unit, learned, none"),
        ({"init": "zeros"}, "write one of points, tokens, random"),
        ({"n_points": 8}, "n_points = 8 is too few for tokens of width 8; write at least 9, better 16 to 32"),
        ({"delta": -1.0}, "delta is -1.0; write a length of 0 or more"),
        ({"delta": float("nan")}, "delta is nan"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"seed": -1}, "seed is -1"),
        ({"points_seed": -1}, "points_seed is -1"),
    ],
)
def test_wrong_sae_values(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SAEConfig(**({"d_model": 8, "n_concepts": 64, "n_points": 32} | fields))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_steps": 0}, "n_steps is 0"),
        ({"learning_rate": 1e-6}, "write 0 < final_learning_rate <= learning_rate"),
        ({"warmup": 1.0}, "warmup is 1.0; write a share"),
        ({"gradient_clip": -1}, "gradient_clip is -1"),
        ({"dead_after": -5}, "dead_after is -5"),
    ],
)
def test_wrong_training_values(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TrainingConfig(**fields)


def test_points_do_not_matter_where_none_are_used() -> None:
    assert not SAEConfig(2048, 64, dictionary="free", init="tokens").uses_points


def test_configurations_survive_json() -> None:
    config = SAEConfig(8, 64, n_points=32, preprocessing={"crop": 64})
    assert SAEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    training = TrainingConfig(n_steps=7)
    assert TrainingConfig.from_dict(json.loads(json.dumps(training.to_dict()))) == training
    with pytest.raises(ValueError, match="not the fields of TrainingConfig"):
        TrainingConfig.from_dict({"epochs": 3})
