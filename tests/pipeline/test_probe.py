"""Generators are asked for concepts by name: counts by hand, a run cut short, and nothing mixed up."""

import io
import math
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from pipeline.config import ConfigError, load_config
from pipeline.energies import common_pairs
from pipeline.frames import schema_of
from pipeline.sources.backbones import BackboneConfig, open_backbone
from pipeline.sources.generators import Drawn, image_seed
from pipeline.sources.images import decode
from pipeline.stages import probe, stage
from pipeline.summary import summarise
from pipeline.thumbnails import thumbnails
from pipeline.workspace import Workspace
from tables import REAL, TABLES, edits, image_id
from tests.pipeline.conftest import command, environment, pipeline
from tests.pipeline.test_end_to_end import read, wait_for
from tests.pipeline.test_end_to_end import rows_of as count_rows
from tests.tables.rows import row

CAPTIONS = ("a star", "a red star", "Star, and moon", "a moon", "dotted wall", "starfish", "", "<b>star</b>")
N_IMAGES = 8
# Concept: name, real pairs in which it fires, energy difference, label, group's label.
CONCEPTS = {
    0: ("star", (0, 1, 5, 6), -0.5, "suppressed", "suppressed"),
    1: ("star", (2,), -0.4, "suppressed", "suppressed"),
    2: ("{name} <b>$x$</b>", (), -0.3, "suppressed", "suppressed"),
    3: (None, (3,), -0.9, "suppressed", "suppressed"),
    4: ("split", (3,), -0.8, "suppressed", "aligned"),
    5: ("moon", (3,), 0.2, "exaggerated", "exaggerated"),
}


class Painter:
    """Paints the star where its place among the prompts can be divided by 3, and fails at 5."""

    name, seeded, settings = "painter", True, {}

    def __init__(self):
        self.asked: list[tuple[str, int]] = []

    def draw(self, captions, seeds, pair_ids=None):
        self.asked += zip(captions, seeds, strict=True)
        return [
            Drawn(None, "nsfw-filtered", "it was blacked out.")
            if index == 5
            else Drawn(Image.new("RGB", (16, 16), (200 if index % 3 == 0 else 0, 0, index)))
            for index in range(len(captions))
        ]


def see(images: pl.DataFrame, concept_id: int) -> np.ndarray:
    """Red is the energy of concept 0, and no other concept is ever there."""
    red = [Image.open(io.BytesIO(data)).getpixel((0, 0))[0] for data in images["image"]]
    return np.array(red, float) / 100 * (concept_id == 0)


@pytest.fixture
def painters(monkeypatch) -> dict[str, Painter]:
    """The generators that were opened, by name."""
    opened: dict[str, Painter] = {}
    monkeypatch.setattr(probe, "open_generator", lambda config: opened.setdefault(config.name, Painter()))
    monkeypatch.setattr(probe, "_eye", lambda space: see)
    return opened


@pytest.fixture
def config(tmp_path):
    """A lake filled by hand up to the stage compare, and how its configuration is read."""
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "run.toml"
    path.write_text(f"""
lake = "{tmp_path / "lake"}"
dataset = {{kind = "world", name = "world"}}
generators = [{{name = "tiny-sd"}}, {{name = "elsewhere", images = "{tmp_path / "elsewhere"}"}}]
backbone = {{name = "tiny-dinov2"}}
probe = {{n_concepts = 2, n_images = {N_IMAGES}, templates = ["{{name}}", "one {{name}}"]}}
""")
    with Workspace.open(load_config(path)) as space:
        _fill(space)
    return lambda *settings: load_config(path, settings)


def _fill(space: Workspace) -> None:
    ids = range(len(CAPTIONS))
    pairs = [{"dataset": "world", "pair_id": k, "caption": CAPTIONS[k], "status": "ok"} for k in ids]
    _append(space, "pairs", pairs, "sample", "pairs")
    for source in space.sources:
        images = [
            {"dataset": "world", "source": source, "image_id": _id(source, k), "pair_id": k, "status": "ok"}
            for k in ids
        ]
        _append(space, "images", images, "generate", source)
        fired = [(k, pair) for k, (_, where, *_) in CONCEPTS.items() for pair in where if source == REAL]
        energies = [
            {
                "sae": space.sae,
                "source": source,
                "concept_id": k,
                "image_id": _id(source, pair),
                "pair_id": pair,
            }
            for k, pair in fired
        ]
        (shard,) = space.encode_shards(source)
        _append(space, "energies", energies, "encode", shard.id)
    names = [
        {"sae": space.sae, "concept_id": k, "name": c[0], "found_name": c[0]} for k, c in CONCEPTS.items()
    ]
    _append(space, "concepts", names, "name", "names")
    rows = [
        {
            "sae": space.sae,
            "generator": name,
            "concept_id": k,
            "difference": c[2],
            "form": "ratio",
            "label": c[3],
            "group_label": c[4],
        }
        for name in space.sources[1:]
        for k, c in CONCEPTS.items()
    ]
    _append(space, "energy_differences", rows, "compare", "differences")


def _append(space: Workspace, table: str, rows: list[dict], stage_: str, shard: str) -> None:
    frame = pl.DataFrame([row(table) | each for each in rows], schema=schema_of(table))
    space.store.append(table, frame, shard=shard, stage=stage_, run_id="by hand")


def _id(source: str, pair: int) -> int:
    return image_id("world", source, pair)


def run(config, *settings: str) -> str:
    with Workspace.open(config(*settings)) as space:
        return stage("probe")(space)


def rows_of(config, table: str, *columns: str) -> pl.DataFrame:
    rows = Workspace.open(config()).store.scan(table).collect().sort(TABLES[table].key)
    return rows.select(columns) if columns else rows.drop("run_id")


def test_hits_are_counted_beside_the_real_images(config, painters):
    """Star: drawn in images 0, 3 and 6 of 7, for the sixth failed; said by captions 0, 1, 2 and 7."""
    report = run(config)
    assert "tiny-sd is asked for 2 concepts" in report and "elsewhere is skipped" in report
    star = rows_of(config, "probes").row(0, named=True)
    assert (star["generator"], star["concept_id"], star["name"]) == ("tiny-sd", 0, "star")
    assert (star["n_hits"], star["n_images"], star["n_failed"]) == (3, 7, 1)
    assert star["energies"] == [2, 0, 0, 2, 0, 2, 0]
    assert star["prompts"] == ["star", "one star", "star", "one star", "star", "star", "one star"]
    assert (star["n_real_hits"], star["n_real"]) == (2, 4)
    assert (star["n_rest_hits"], star["n_rest"]) == (2, 4)
    for ends, n_hits, n in ((("low", "high"), 3, 7), (("real_low", "real_high"), 2, 4)):
        assert (star[ends[0]], star[ends[1]]) == pytest.approx(_wilson(n_hits, n), abs=1e-6)


def _wilson(n_hits: int, n: int, z: float = 1.959963985) -> tuple[float, float]:
    """The roots of (p - share)^2 = z^2 p (1 - p) / n, by the quadratic formula."""
    a, b, c = 1 + z**2 / n, -(2 * n_hits / n + z**2 / n), (n_hits / n) ** 2
    root = math.sqrt(b**2 - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def test_a_name_that_means_harm_is_asked_for_letter_by_letter(config, painters):
    """Braces, marks and all; no caption says it, so that nothing is known of it but what is drawn."""
    run(config)
    foul = rows_of(config, "probes").row(1, named=True)
    assert (foul["concept_id"], foul["prompts"][:2]) == (2, [CONCEPTS[2][0], f"one {CONCEPTS[2][0]}"])
    assert (foul["n_hits"], foul["n_real"], foul["real_low"], foul["real_high"]) == (0, 0, 0, 1)
    assert (foul["n_rest_hits"], foul["n_rest"]) == (0, 8)


def test_images_are_kept_with_their_seeds_apart_from_those_of_pairs(config, painters):
    before = rows_of(config, "images")
    run(config)
    images = rows_of(config, "images").filter(pl.col("dataset") == "world@probe")
    assert len(images) == 2 * N_IMAGES and set(images["source"]) == {"tiny-sd@probe"}
    assert images["image_id"].n_unique() == 2 * N_IMAGES
    seeds = [image_seed(0, index) for index in range(N_IMAGES)]
    assert sorted(images["seed"]) == sorted(2 * seeds)
    assert images.filter(pl.col("status") != "ok").select("pair_id", "error").unique().rows() == [
        (5, "it was blacked out.")
    ]
    assert_frame_equal(before, rows_of(config, "images").filter(pl.col("dataset") == "world"))
    drawn = images.filter(pl.col("status") == "ok")
    assert set(drawn["image_id"]) == set(rows_of(config, "probes")["image_ids"].explode())


def test_no_other_stage_sees_them(config, painters):
    """All that stages and the summary know of images, before and after."""

    def seen() -> list:
        with Workspace.open(config()) as space:
            live = [space.live_images(source) for source in space.sources]
            drawn = [
                space.images(source).select("image_id").sort("image_id").collect() for source in space.sources
            ]
            small = thumbnails(space, "tiny-sd", live[1])[1].tolist()
            space.require_encoded()
            shards = [shard.id for source in space.sources for shard in space.encode_shards(source)]
            pairs = common_pairs(space, *space.sources).rows()
            return [
                *(frame.rows() for frame in (*live, *drawn)), small, shards, pairs, summarise(space)
            ]  # fmt: skip

    before = seen()
    run(config)
    assert seen() == before
    assert not rows_of(config, "energies").filter(pl.col("source").str.contains("probe")).height


def test_a_second_run_has_nothing_to_do(config, painters):
    run(config)
    before, asked = rows_of(config, "probes"), len(painters["tiny-sd"].asked)
    assert "nothing to do: all 2 probes" in run(config)
    assert len(painters["tiny-sd"].asked) == asked == 2 * N_IMAGES
    assert_frame_equal(before, rows_of(config, "probes"))


@pytest.mark.parametrize("where", ["draw", "see"])
def test_a_run_cut_short_goes_on_with_the_next_concept(config, painters, monkeypatch, where):
    """At the second concept: while it is drawn, or when its images are there and its row is not."""

    def fail(*_):
        raise KeyboardInterrupt

    paint, calls = Painter.draw, []

    def twice(self, captions, *rest):
        calls.append(captions[0])
        return fail() if len(calls) == 2 else paint(self, captions, *rest)

    with monkeypatch.context() as patch:
        if where == "draw":
            patch.setattr(Painter, "draw", twice)
        else:
            patch.setattr(probe, "_eye", lambda space: lambda images, k: see(images, k) if k == 0 else fail())
        with pytest.raises(KeyboardInterrupt):
            run(config)
    assert rows_of(config, "probes")["concept_id"].to_list() == [0]
    painters.clear()
    assert "asked for 1 concepts" in run(config)
    asked = painters["tiny-sd"].asked if painters else []
    assert len(asked) == (N_IMAGES if where == "draw" else 0)
    rows = rows_of(config, "probes")
    assert rows["n_hits"].to_list() == [3, 0] and rows_of(config, "images").height == (3 + 2) * N_IMAGES


def test_other_settings_ask_anew(config, painters):
    run(config)
    assert "asked for 2 concepts" in run(config, "probe.n_images=4")
    rows = rows_of(config, "probes")
    assert rows["n_images"].to_list() == [4, 4] and rows["n_hits"].to_list() == [2, 0]
    assert rows_of(config, "images").filter(pl.col("pair_id") == 0)["image_id"].n_unique() == 3 + 2 * 2


def test_concepts_that_are_named_in_the_settings_share_images_of_a_name(config, painters):
    """Also one that is not suppressed; the two stars are drawn once."""
    run(config, "probe.concepts=[5, 1, 0, 1]")
    rows = rows_of(config, "probes")
    assert rows["concept_id"].to_list() == [0, 1, 5]
    assert rows["image_ids"][0].to_list() == rows["image_ids"][1].to_list()
    assert len(painters["tiny-sd"].asked) == 2 * N_IMAGES
    assert rows["n_hits"].to_list() == [3, 0, 0]
    run(config)
    assert rows_of(config, "probes")["concept_id"].to_list() == [0, 1, 2, 5]  # what was asked before stays


def test_a_new_name_is_asked_for(config, painters):
    run(config)
    with Workspace.open(config()) as space:
        edits.rename(space.store, space.sae, 0, "five points")
    run(config)
    # The other star, until now the second of its name, is next; what was asked before stays.
    assert rows_of(config, "probes")["name"].to_list() == ["five points", "star", CONCEPTS[2][0]]


@pytest.mark.parametrize(
    ("concepts", "sentence"),
    [
        ("[3]", r"concept 3 of .* has no name to ask for; .*rename 3 NAME"),
        ("[77]", r"concept 77, but .* 0 to 5\."),
    ],
)
def test_concepts_that_cannot_be_asked_for(config, painters, concepts, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(config, f"probe.concepts={concepts}")


def test_without_a_suppressed_concept_that_has_a_name_there_is_nothing_to_do(config, painters):
    with Workspace.open(config()) as space:
        space.store.replace(
            "concepts", pl.DataFrame([row("concepts") | {"sae": space.sae, "name": None, "found_name": None}],
            schema=schema_of("concepts")), where={"sae": space.sae}, shard="x", stage="name", run_id="x",
        )  # fmt: skip
    assert "nothing to do: no generator has a suppressed concept with a name" in run(config)
    assert not painters and rows_of(config, "probes").is_empty()


def test_every_name_comes_once_before_any_comes_twice():
    rows = [
        (7, "dotted", -0.9, "suppressed", "suppressed"),
        (3, "dotted", -0.8, "suppressed", "suppressed"),
        (5, "star", -0.1, "suppressed", "suppressed"),
        (4, "moon", -0.1, "suppressed", "suppressed"),
        (1, None, -1.0, "suppressed", "suppressed"),
        (2, "split", -1.0, "suppressed", "uncertain"),
        (6, "brick", 0.9, "exaggerated", "exaggerated"),
    ]
    names = ["concept_id", "name", "difference", "label", "group_label"]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    for n, expected in ((2, [7, 4]), (9, [7, 4, 5, 3])):
        assert probe.suppressed_concepts(frame, n)["concept_id"].to_list() == expected
    assert probe.suppressed_concepts(frame.reverse(), 9)["concept_id"].to_list() == [7, 4, 5, 3]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('probe.templates=["a photo"]', "does not say the name"),
        ("probe.n_images=0", "probe.n_images = 0 is wrong"),
        ('generators.0.name="x@probe"', "marks images of prompt probes"),
        ('dataset.name="world@probe"', "marks images of prompt probes"),
    ],
)
def test_wrong_settings_are_one_sentence(config, setting, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        config(setting)
    assert "\n" not in str(caught.value)


# -- the real command line on the small run --------------------------------------------------------


def _asking(small: Path, lake: Path) -> tuple[str, ...]:
    named = read(lake, "concepts").drop_nulls("name")["concept_id"].head(2).to_list()
    return (
        "probe",
        str(small),
        "--lake",
        str(lake),
        "--set",
        f"probe.concepts={named}",
        "--set",
        "probe.n_images=5",
    )


@pytest.fixture(scope="module")
def asked(lake, small, tmp_path_factory) -> Path:
    """The small lake after both generators were asked for two concepts."""
    copy = tmp_path_factory.mktemp("asked") / "lake"
    shutil.copytree(lake, copy)
    done = pipeline(*_asking(small, copy))
    assert done.returncode == 0, done.stderr
    return copy


def test_energies_are_those_of_the_sae(asked):
    """The kept images, encoded once more; sums over tokens by numpy."""
    from sae_models import load

    backbone = open_backbone(BackboneConfig(name="tiny-dinov2", device="cpu"))
    (folder,) = (asked / "saes").iterdir()
    sae = load(folder)
    kept = dict(read(asked, "images").select("image_id", "image").iter_rows())
    rows = read(asked, "probes")
    assert rows.select("generator").to_series().to_list() == ["tiny-pixart"] * 2 + ["tiny-suppressed"] * 2
    for probed in rows.iter_rows(named=True):
        tokens = backbone.tokens([decode(kept[image]) for image in probed["image_ids"]])
        values, indices = (part.cpu().numpy() for part in sae.encode(tokens.flatten(0, 1)))
        sums = (values * (indices == probed["concept_id"])).reshape(5, -1).sum(1)
        assert probed["energies"] == pytest.approx(sums.tolist(), abs=1e-4)
        assert probed["n_hits"] == (sums > 0).sum()


def test_all_other_stages_find_what_they_left(asked, lake, small):
    done = pipeline("run", str(small), "--lake", str(asked))
    assert done.returncode == 0, done.stderr
    assert sum("nothing to do" in line for line in done.stdout.splitlines()) == 11
    for name in TABLES.keys() - {"images", "probes"}:
        assert_frame_equal(read(lake, name), read(asked, name))
    of_pairs = read(asked, "images").filter(~pl.col("dataset").str.ends_with("@probe"))
    assert_frame_equal(read(lake, "images"), of_pairs)
    summary = (lake / "summary.txt").read_text().split("\n\n", 1)[1]
    assert done.stdout.split("\n\n", 1)[1] == summary


def test_killed_in_the_middle_it_ends_with_the_same_tables(asked, lake, small, tmp_path):
    killed = tmp_path / "lake"
    shutil.copytree(lake, killed)
    process = subprocess.Popen(
        command(*_asking(small, killed)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    wait_for(lambda: count_rows(killed, "probes") > 0, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < count_rows(killed, "probes") < 4
    done = pipeline(*_asking(small, killed))
    assert done.returncode == 0, done.stderr
    for name in ("images", "probes"):
        assert_frame_equal(read(asked, name), read(killed, name))
