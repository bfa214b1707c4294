"""A configuration's mistakes each end in one sentence that names the place and what to write."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError, fingerprint, load_config
from pipeline.sources.generators import GeneratorConfig
from pipeline.workspace import Workspace
from tables import TableStore
from tracking.runs import Tracker

GOOD = """
[dataset]
kind = "world"
name = "world"
n_pairs = 8
[[generators]]
name = "tiny-sd"
[backbone]
name = "tiny-dinov2"
"""


@pytest.fixture
def write(tmp_path):
    def write_(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write_


@pytest.mark.parametrize("preset", ["demo", "paper"])
def test_presets_are_valid(preset):
    assert load_config(preset).generators


def test_the_papers_preset_matches_the_papers_set_up():
    config = load_config("paper")
    assert [generator.name for generator in config.generators] == [
        "sd15",
        "sd15-dpo",
        "sd21",
        "pixart",
        "kandinsky",
    ]
    assert config.dataset.n_pairs == 10_000
    assert config.dataset.path == "laion/relaion2B-en-research-safe"
    assert config.sae.n_concepts == 32_000
    assert config.backbone.name == "dinov2-base-reg"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("n_pairs = 8", "n_paris = 8"), "unknown key 'dataset.n_paris'; did you mean 'n_pairs'?"),
        (("[backbone]", "[backbon]"), "unknown key 'backbon'; did you mean 'backbone'?"),
        (("n_pairs = 8", 'n_pairs = "many"'), "dataset.n_pairs = 'many' is wrong"),
        (('kind = "world"\n', ""), "'dataset.kind' is missing"),
        (("[dataset]", "[dataset"), "is not valid TOML"),
        (("[backbone]", '[sae]\ntrain_on = ["fake"]\n[backbone]'), "sae.train_on names 'fake'"),
        (('name = "tiny-sd"', 'name = "real"'), "cannot be called 'real'"),
        (('name = "tiny-sd"', 'name = "a"\n[[generators]]\nname = "a"'), "two generators are called 'a'"),
    ],
)
def test_a_mistake_is_one_sentence(write, change, sentence):
    path = write(GOOD.replace(*change))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert sentence in message
    assert str(path) in message
    assert "\n" not in message


def test_a_missing_file_names_the_presets():
    with pytest.raises(ConfigError, match=r"no configuration file nowhere.toml.*demo, paper"):
        load_config("nowhere.toml")


def test_set_overrides_by_key_index_and_name(write):
    path = write(GOOD)
    config = load_config(
        path, ["sae.k=4", "generators.0.steps=7", "generators.tiny-sd.guidance=2.5", "lake=there"]
    )
    assert (config.sae.k, config.lake) == (4, "there")
    assert (config.generators[0].steps, config.generators[0].guidance) == (7, 2.5)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sae.k", "is not key=value"),
        ("generators.tiny-xl.steps=3", "the entries are tiny-sd"),
        ("sae.kk=3", "unknown key 'sae.kk'"),
    ],
)
def test_a_wrong_override_is_one_sentence(write, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(write(GOOD), [override])


def test_a_fingerprint_depends_on_values_and_not_on_their_order():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_a_lake_knows_the_embedded_generators_wherever_the_checkout_lies(tmp_path, monkeypatch):
    lake = str(tmp_path / "lake")
    space = Workspace(load_config("demo", [f"lake={lake}"]), TableStore(lake), Tracker(lake))
    prints = []
    for weights in (tmp_path / "here", tmp_path / "there"):
        monkeypatch.setattr("pipeline.workspace.WEIGHTS", weights)
        for name in ("tiny-sd", "tiny-pixart"):
            source = GeneratorConfig(name="mine", source=str(weights / name))
            prints.append(space.generator_print(source))
    assert prints[:2] == prints[2:]
    assert prints[0] != prints[1]
