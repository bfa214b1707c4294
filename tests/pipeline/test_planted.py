"""The planted-truth benchmark on worlds that are small, but whose faults are as large as faults can be."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.benchmarks.planted import keep, power_table, rows_of, run_trials
from pipeline.benchmarks.planted_worlds import (
    Eye,
    Truth,
    World,
    concept_values,
    judge,
    learn_truth,
    plant,
)
from pipeline.measures.evidence import weigh
from pipeline.world.planting import VALUES, Value, shows, with_unasked, without
from pipeline.world.scenes import Scene, Thing, sample_scene
from tables import TableStore

STAR, RED, BRICK = Value("shape", "star"), Value("colour", "red"), Value("background", "brick")
SCENE = Scene((Thing("star", "red", "small", 0), Thing("ring", "blue", "large", 3)), "brick")


@pytest.mark.parametrize("value", [STAR, RED, BRICK])
def test_a_value_is_replaced_and_nothing_else(value):
    changed = without(SCENE, value, np.random.default_rng(0))
    assert shows(SCENE, value)
    assert not shows(changed, value)
    assert changed.things[1] == SCENE.things[1]
    others = {"shape", "colour", "size", "cell"} - {value.family}
    assert all(getattr(changed.things[0], name) == getattr(SCENE.things[0], name) for name in others)
    assert (changed.background == "brick") == (value != BRICK)


def test_a_value_is_put_in_where_it_is_not():
    plain = Scene((Thing("ring", "blue", "large", 3),), "plain")
    for value in (STAR, RED, BRICK):
        assert shows(with_unasked(plain, value, np.random.default_rng(0)), value)
        assert with_unasked(SCENE, value, np.random.default_rng(0)) == SCENE


def test_concepts_belong_to_what_their_energy_predicts():
    """Concept 0 fires just where a star is, concept 1 just where none is, concept 2 by chance."""
    scenes = [sample_scene(np.random.default_rng(i)) for i in range(300)]
    star = np.array([shows(scene, STAR) for scene in scenes], float)
    energies = np.stack([star, 1 - star, np.random.default_rng(0).random(300)], 1)
    belongs = concept_values(sparse.csr_array(energies), scenes)
    assert belongs[STAR].tolist() == [True, False, False]
    assert not any(belongs[value][2] for value in VALUES)


def test_the_fault_is_in_the_share_that_was_asked_for():
    plain = sparse.csr_array(np.ones((10, 1)))
    rows = np.array([1, 3, 5, 7, 9])
    world = World(
        sparse.csr_array((10, 1)),
        plain,
        plain,
        {(STAR, "suppressed"): (rows, sparse.csr_array(np.full((5, 1), 2.0)))},
    )
    for rate, n_pairs, changed in ((100, 10, 5), (40, 10, 2), (100, 6, 3), (0, 10, 0)):
        energies = plant(world, STAR, "suppressed", rate, n_pairs, seed=0).toarray().ravel()
        assert len(energies) == n_pairs
        assert (energies == 2).sum() == changed
        assert (energies[::2] == 1).all()


def test_a_trial_by_hand():
    """Concept 0 is the star's and is gone. Concepts 1 to 3 are the colour's: as it was, a side effect that
    the fault is known for, and one that is found although the fault leaves it alone."""
    real = np.ones((40, 4))
    gen = np.tile([0.0, 1.0, 0.5, 0.5], (40, 1))
    evidence = weigh(real, gen, n_resamples=100, n_flips=100)
    star = np.array([True, False, False, False])
    change = np.array([-1.0, 0.0, -0.4, 0.009])  # at 100%; at 50% the last is below 0.5%
    faults = {(STAR, "suppressed"): change, (STAR, "exaggerated"): -change}
    truth = Truth({STAR: star, RED: ~star}, faults)
    test, ours, absolute, relative = judge(evidence, truth, STAR, "suppressed", 50)
    for row in (test, ours):
        assert (row["found"], row["n_positive"], row["n_hits"], row["auroc"]) == (
            True,
            1,
            1,
            0.75,
        )  # above one, tied
        assert (row["n_negative"], row["n_false"]) == (2, 1)
        assert (row["n_touched"], row["n_side"], row["n_side_right"]) == (1, 1, 1)
    assert not absolute["found"]  # sigmoid(-1 / 0.8) = 0.22 is not below 0.1
    assert relative["found"]  # sigmoid(-1 / 0.4) = 0.08
    whole = judge(evidence, truth, STAR, "suppressed", 100)[0]
    assert (whole["n_negative"], whole["n_touched"], whole["n_side"], whole["n_side_right"]) == (1, 2, 2, 1)
    assert not judge(evidence, truth, STAR, "exaggerated", 50)[0]["found"]
    alone = Truth({STAR: star, RED: ~star}, {(STAR, "suppressed"): np.full(4, -0.5)})
    assert judge(evidence, alone, STAR, "suppressed", 100)[0]["auroc"] is None  # no negative is left


class _Red:
    """Energies that a person can count: concept 0 is the number of red pixels, concept 1 always 1."""

    def energies(self, images):
        pixels = [np.asarray(image, int) for image in images]
        red = [((p[..., 0] > 190) & (p[..., 1] < 70) & (p[..., 2] < 70)).sum() for p in pixels]
        return sparse.csr_array(np.stack([red, np.ones(len(red))], 1).astype(float))


def test_what_a_fault_changes_is_measured():
    truth = learn_truth(_Red(), n=150)
    assert truth.belongs[RED].tolist() == [True, False]
    assert truth.change[RED, "suppressed"][0] < -0.95  # all red is gone, but for the edge of another hue
    assert truth.change[RED, "exaggerated"][0] > 1  # most pictures do not ask for red, and all get it
    assert truth.change[RED, "suppressed"][1] == truth.change[RED, "exaggerated"][1] == 0


def test_trials_from_pictures_to_the_table(tmp_path):
    eye = Eye(n_training=150, n_steps=150)
    trials = run_trials(eye, learn_truth(eye, n=200, n_redrawn=10), 0, (100,), (120,))
    assert set(trials["rule"]) == {"labels", "q", "absolute", "relative"}
    assert set(trials["family"]) <= {"shape", "colour", "background"}
    background = trials.filter(family="background", rule="q", direction="exaggerated")
    assert background["found"].all()
    keep(trials, str(tmp_path / "lake"))
    keep(trials, str(tmp_path / "lake"))
    assert TableStore(str(tmp_path / "lake")).scan("planted").collect().height == trials.height
    assert "exaggerated" in power_table(trials, "labels")
    assert [row.what for row in rows_of(trials)][2] == "false among all discoveries"
