"""The planted-truth benchmark on worlds that are small, but whose faults are as large as faults can be."""

import numpy as np
import pytest
from scipy import sparse

from pipeline.benchmarks.planted import keep, power_table, rows_of, run_trials
from pipeline.benchmarks.planted_worlds import Eye, World, concept_values, judge, plant
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
        [SCENE] * 10, plain, plain, {(STAR, "suppressed"): (rows, sparse.csr_array(np.full((5, 1), 2.0)))}
    )
    for rate, n_pairs, changed in ((100, 10, 5), (40, 10, 2), (100, 6, 3), (0, 10, 0)):
        energies = plant(world, STAR, "suppressed", rate, n_pairs, seed=0).toarray().ravel()
        assert len(energies) == n_pairs
        assert (energies == 2).sum() == changed
        assert (energies[::2] == 1).all()


def test_a_trial_by_hand():
    """Concept 0 is the value's and is gone; concept 1 is another's and is as it was."""
    real = np.ones((40, 2))
    gen = np.stack([np.zeros(40), np.ones(40)], 1)
    evidence = weigh(real, gen, n_resamples=100, n_flips=100)
    rows = judge(evidence, np.array([True, False]), np.array([False, True]), "suppressed")
    ours, test, absolute, relative = rows
    assert test["found"]
    assert (ours["found"], ours["n_hits"], ours["n_false"], ours["auroc"]) == (True, 1, 0, 1.0)
    assert not absolute["found"]  # sigmoid(-1 / 0.8) = 0.22 is not below 0.1
    assert relative["found"]  # sigmoid(-1 / 0.4) = 0.08
    exaggerated = judge(evidence, np.array([True, False]), np.array([False, True]), "exaggerated")
    assert not exaggerated[0]["found"]


def test_trials_from_pictures_to_the_table(tmp_path):
    trials = run_trials(Eye(n_training=150, n_steps=150), [0], (100,), (120,))
    assert set(trials["rule"]) == {"labels", "q", "absolute", "relative"}
    assert set(trials["family"]) <= {"shape", "colour", "background"}
    background = trials.filter(family="background", rule="q", direction="exaggerated")
    assert background["found"].all()
    keep(trials, str(tmp_path / "lake"))
    keep(trials, str(tmp_path / "lake"))
    assert TableStore(str(tmp_path / "lake")).scan("planted").collect().height == trials.height
    assert "exaggerated" in power_table(trials, "labels")
    assert [row.what for row in rows_of(trials)][2] == "false among all discoveries"
