"""Training: it learns, it stops and goes on to the same bits, and it refuses what it cannot train on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_models import SAE, ArrayTokens, SAEConfig, TrainingConfig, report, train
from sae_models.initialise import initialise, kmeans_points
from sae_models.loss import step_loss
from sae_models.planted import planted_tokens
from sae_models.resume import STATE_FILE
from sae_models.revive import resample
from sae_models.training import learning_rate, make_optimiser
from tests.sae_models.reference import assert_close

CONFIG = SAEConfig(d_model=16, n_concepts=48, k=3, n_points=40)
TRAINING = TrainingConfig(
    n_steps=60, batch_size=128, n_sample=2000, log_every=10, checkpoint_every=10, dead_after=2000
)
KINDS = {
    "topk": CONFIG,
    "batchtopk": replace(CONFIG, activation="batchtopk", layer_norm=True),
    "threshold": replace(CONFIG, activation="threshold", dictionary="free", init="tokens"),
}


def source() -> ArrayTokens:
    return ArrayTokens(planted_tokens(4000, d_model=16, n_directions=32, n_active=3, seed=1).tokens)


def weights(sae: SAE) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in sae.state_dict().items()}


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    config = KINDS[kind]
    undisturbed: list[tuple[int, float]] = []
    whole = train(
        source(),
        config,
        TRAINING,
        checkpoint_folder=None,
        log=lambda s, m: undisturbed.append((s, m.get("loss", 0))),
    )

    def stop(step: int, n_steps: int) -> None:
        if step == 37:
            raise Stop

    with pytest.raises(Stop):
        train(source(), config, TRAINING, checkpoint_folder=tmp_path, progress=stop)
    resumed: list[tuple[int, float]] = []
    sae = train(
        source(),
        config,
        TRAINING,
        checkpoint_folder=tmp_path,
        log=lambda s, m: resumed.append((s, m.get("loss", 0))),
    )
    assert weights(sae).keys() == weights(whole).keys()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(sae)[name]), name
    assert resumed == [entry for entry in undisturbed if entry[0] > 30]


def test_killed_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    script = (
        "import os, signal, torch; torch.set_num_threads(1)\n"
        "from tests.sae_models.test_training import *\n"
        "train(source(), CONFIG, TRAINING, checkpoint_folder=" + repr(str(tmp_path)) + ",\n"
        "      progress=lambda s, n: os.kill(os.getpid(), signal.SIGKILL) if s == 43 else None)\n"
    )
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert child.returncode == -signal.SIGKILL
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps: list[int] = []
        sae = train(
            source(), CONFIG, TRAINING, checkpoint_folder=tmp_path, progress=lambda s, n: steps.append(s)
        )
        whole = train(source(), CONFIG, TRAINING, checkpoint_folder=None)
    finally:
        torch.set_num_threads(n_threads)
    assert steps[0] == 41
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(sae)[name]), name


def test_a_finished_run_has_nothing_to_do(tmp_path: Path) -> None:
    short = replace(TRAINING, n_steps=10)
    first = train(source(), CONFIG, short, checkpoint_folder=tmp_path)
    steps: list[int] = []
    again = train(source(), CONFIG, short, checkpoint_folder=tmp_path, progress=lambda s, n: steps.append(s))
    assert steps == []
    assert torch.equal(first.dictionary(), again.dictionary())


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    short = replace(TRAINING, n_steps=10)
    train(source(), CONFIG, short, checkpoint_folder=tmp_path)
    with pytest.raises(ValueError, match="different run"):
        train(source(), replace(CONFIG, seed=1), short, checkpoint_folder=tmp_path)
    path = tmp_path / STATE_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole training state"):
        train(source(), CONFIG, short, checkpoint_folder=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_reports(kind: str) -> None:
    logged: dict[int, dict[str, float]] = {}
    data = source()
    training = replace(TRAINING, n_steps=300, batch_size=256, evaluate_every=150)
    sae = train(
        data,
        KINDS[kind],
        training,
        checkpoint_folder=None,
        log=lambda s, m: logged.setdefault(s, {}).update(m),
    )
    found = report(sae, data.held_out())
    assert found.r2 > 0.8
    assert 2 <= found.l0_mean <= 4
    assert logged[300]["held_out/r2"] == pytest.approx(found.r2, abs=1e-6)
    assert {"loss", "r2", "l0", "dead", "learning_rate", "tokens_per_second"} <= logged[10].keys()
    assert "held_out/l0" in logged[150]
    assert not sae.training


def test_constraints_hold_after_training() -> None:
    sae = train(source(), CONFIG, TRAINING, checkpoint_folder=None)
    weights, relaxation = sae.atoms.weights, sae.atoms.relaxation
    assert weights.min() >= 0
    assert_close(weights.sum(1), torch.ones(CONFIG.n_concepts))
    assert relaxation.norm(dim=1).max() <= CONFIG.delta * (1 + 1e-6)


def test_initialisation_is_centred_tied_and_to_scale() -> None:
    x = planted_tokens(3000, d_model=16, n_directions=32, n_active=3, seed=1).tokens
    sae = SAE(CONFIG)
    initialise(sae, x)
    assert_close(sae.mean, x.mean(0))
    assert sae.scale.item() == pytest.approx((x - x.mean(0)).square().sum(1).mean().sqrt().item(), rel=1e-5)
    cosines = torch.cosine_similarity(sae.encoder.weight, sae.atoms(), dim=1)
    assert_close(cosines, torch.ones(CONFIG.n_concepts))
    dead = torch.zeros(CONFIG.n_concepts, dtype=torch.bool)
    assert step_loss(sae, x, dead, TRAINING).reconstruction < 0.7


def test_points_are_seeded_and_inside_the_data() -> None:
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    points = kmeans_points(x, 20, seed=1)
    assert torch.equal(points, kmeans_points(x, 20, seed=1))
    assert not torch.equal(points, kmeans_points(x, 20, seed=2))
    assert points.norm(dim=1).max() < x.norm(dim=1).max()


def test_points_have_a_seed_of_their_own() -> None:
    def started(seed: int, points_seed: int | None) -> SAE:
        config = replace(CONFIG, seed=seed, points_seed=points_seed)
        return train(source(), config, replace(TRAINING, n_steps=1), checkpoint_folder=None)

    first, same_points, other_points = started(0, None), started(1, 0), started(0, 1)
    assert torch.equal(same_points.atoms.points, first.atoms.points)
    assert not torch.equal(same_points.dictionary(), first.dictionary())
    assert not torch.equal(other_points.atoms.points, first.atoms.points)


def test_learning_rate_by_hand() -> None:
    training = TrainingConfig(n_steps=101, learning_rate=1.0, final_learning_rate=0.2, warmup=0.099)
    assert learning_rate(0, training) == pytest.approx(0.1)
    assert learning_rate(9, training) == pytest.approx(1.0)
    assert learning_rate(10, training) == pytest.approx(1.0)
    assert learning_rate(55, training) == pytest.approx(0.6)
    assert learning_rate(100, training) == pytest.approx(0.2)


def test_dead_codes_get_gradient_from_the_auxiliary_loss_only() -> None:
    sae = SAE(replace(CONFIG, dictionary="free", init="random"))
    with torch.no_grad():
        sae.encoder.weight[7] *= 1e-3  # never among the k largest
    dead = torch.zeros(CONFIG.n_concepts, dtype=torch.bool)
    x = planted_tokens(200, d_model=16, n_directions=32, n_active=3).tokens
    for weight, revived in ((0.0, False), (1 / 32, True)):
        sae.zero_grad()
        dead[7] = True
        step_loss(sae, x, dead, replace(TRAINING, auxiliary_weight=weight)).total.backward()
        assert sae.encoder.weight.grad is not None
        assert bool(sae.encoder.weight.grad[7].abs().sum() > 0) == revived


def test_tokens_that_cannot_be_trained_on_are_refused() -> None:
    with pytest.raises(ValueError, match=r"16 wide and config.d_model is 8"):
        train(source(), replace(CONFIG, d_model=8), TRAINING, checkpoint_folder=None)
    x = source()._array.numpy().copy()
    x[1234, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        train(ArrayTokens(x, held_out=0.0), CONFIG, replace(TRAINING, n_sample=4000), checkpoint_folder=None)
    with pytest.raises(ValueError, match="cannot give n_points"):
        train(ArrayTokens(x[:30]), CONFIG, TRAINING, checkpoint_folder=None)
    with pytest.raises(ValueError, match="tokens that vary"):
        train(ArrayTokens(np.ones((500, 16), np.float32)), CONFIG, TRAINING, checkpoint_folder=None)


def test_more_concepts_than_memory_are_refused_before_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = replace(CONFIG, n_concepts=10**9)
    with pytest.raises(ValueError, match=r"needs [\d,]+ bytes"):
        train(source(), huge, TRAINING, checkpoint_folder=None)
    with pytest.raises(ValueError, match=r"needs [\d,]+ bytes"):
        SAE(huge)


def test_a_float64_or_bfloat16_token_is_welcome() -> None:
    sae = SAE(CONFIG).eval()
    x = planted_tokens(5, d_model=16, n_directions=32, n_active=3).tokens
    assert sae.encode(x.double()).values.dtype == torch.float32
    assert sae.encode(x.bfloat16()).values.dtype == torch.float32
    with pytest.raises(ValueError, match=r"takes \(n, 16\)"):
        sae.encode(x[:, :5])
    for bad in (float("nan"), float("inf"), -float("inf")):
        x[2, 3] = bad
        with pytest.raises(ValueError, match="NaN or infinity"):
            sae(x)


@pytest.mark.parametrize(
    "config", [CONFIG, replace(CONFIG, dictionary="free", layer_norm=True)], ids=["plain", "norm"]
)
def test_resampling_puts_dead_codes_on_the_worst_tokens(config: SAEConfig) -> None:
    sae = SAE(config)
    x = planted_tokens(300, d_model=16, n_directions=32, n_active=3).tokens
    initialise(sae, planted_tokens(3000, d_model=16, n_directions=32, n_active=3).tokens)
    optimiser = make_optimiser(sae, TRAINING)
    dead = torch.zeros(config.n_concepts, dtype=torch.bool)
    step_loss(sae, x, dead, TRAINING).total.backward()
    optimiser.step()
    sae.constrain()
    dead[[4, 9]] = True
    before, error = sae.atoms().detach(), (x - sae(x)[0]).square().sum(1)
    assert resample(sae, optimiser, x, dead).tolist() == [4, 9]
    after = sae.atoms().detach()
    assert torch.equal(before[~dead], after[~dead])
    worst = sae.standardise(x[error.topk(2).indices])
    assert torch.cosine_similarity(after[dead], worst, dim=1).min() > 0.8
    assert_close(torch.cosine_similarity(sae.encoder.weight[dead], after[dead], dim=1), torch.ones(2))
    assert optimiser.state[sae.encoder.weight]["exp_avg"][dead].abs().max() == 0
    assert optimiser.state[sae.encoder.weight]["exp_avg"][~dead].abs().max() > 0
