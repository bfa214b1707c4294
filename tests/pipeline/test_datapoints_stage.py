"""Pairs are scored and copies found by the real stages: on the embedded world, and on one's own pictures."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from PIL import Image
from polars.testing import assert_frame_equal

from pipeline.config import load_config
from pipeline.sources.backbones import BackboneConfig, open_backbone
from pipeline.sources.images import decode
from pipeline.stages import stage
from pipeline.workspace import Workspace
from pipeline.world.variants import memorised_pairs
from tests.pipeline.test_end_to_end import read

UNTIL_CONCEPTS = ("sample", "generate", "train-sae", "encode")


def run(config: Path, *stages: str) -> list[str]:
    """Stages in this process; what they report."""
    with Workspace.open(load_config(config)) as space:
        return [stage(name)(space) for name in stages]


def rows_of(lake: Path, generator: str) -> pl.DataFrame:
    return read(lake, "datapoints").filter(pl.col("generator") == generator)


# -- the embedded world ----------------------------------------------------------------------------

N_WORLD = 140  # the 40 pairs that tiny-memorised was taught too often are among the first 63


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """The demo's generators on its first pairs, with its seeds."""
    folder = tmp_path_factory.mktemp("world")
    config = folder / "world.toml"
    config.write_text(f"""
lake = "{folder / "lake"}"
[dataset]
kind = "world"
name = "world"
n_pairs = {N_WORLD}
[[generators]]
name = "tiny-sd"
batch_size = 32
[[generators]]
name = "tiny-memorised"
batch_size = 32
[backbone]
name = "tiny-dinov2"
[sae]
n_concepts = 512
k = 8
n_points = 768
n_steps = 200
""")
    run(config, *UNTIL_CONCEPTS, "datapoints")
    return folder / "lake"


def test_the_memorised_pairs_are_found_and_hardly_any_other(world):
    rows = rows_of(world, "tiny-memorised")
    found = set(rows.filter(pl.col("verdict") == "memorised")["pair_id"])
    assert rows["null_pairs"].unique().to_list() == ["matched"]
    assert len(found & set(memorised_pairs())) >= 36
    assert len(found - set(memorised_pairs())) <= 4


def test_a_faithful_generator_has_no_memory(world):
    rows = rows_of(world, "tiny-sd")
    counts = Counter(rows["verdict"])
    assert counts["memorised"] <= 0.01 * N_WORLD
    assert counts["faithful"] > 0.6 * N_WORLD
    assert rows["verdict"].null_count() == 0


def test_what_is_suspected_is_the_pairs_own_real_image(world):
    rows = rows_of(world, "tiny-memorised").filter(pl.col("verdict") == "memorised")
    own = rows.filter(pl.col("nearest_image_id") == pl.col("real_image_id"))
    assert own.height >= 36
    assert (own["nearest_energy"] - own["similarity"]).abs().max() < 1e-5


# -- the small run ---------------------------------------------------------------------------------


def test_embeddings_are_the_backbones_cls_tokens(lake):
    images = read(lake, "images").sort("image_id")
    stored = read(lake, "embeddings").sort("image_id")
    assert stored["image_id"].to_list() == images["image_id"].to_list()
    some = images.head(8)
    backbone = open_backbone(BackboneConfig(name="tiny-dinov2", device="cpu"))
    tokens = backbone.tokens([decode(data) for data in some["image"]])[:, 0].numpy()
    assert np.allclose(np.array(stored.head(8)["embedding"].to_list()), tokens, atol=1e-4)


def test_scores_are_those_of_the_energies(lake):
    """Recomputed densely; the scored image is the first of a caption's two."""
    energies = read(lake, "energies")

    def dense(images: pl.Series) -> np.ndarray:
        matrix = np.zeros((len(images), 128))
        place = {image: row for row, image in enumerate(images)}
        for image, concept, energy in energies.select("image_id", "concept_id", "energy").iter_rows():
            if image in place:
                matrix[place[image], concept] = energy
        return matrix

    images = read(lake, "images").filter(pl.col("source") == "tiny-suppressed")
    rows = rows_of(lake, "tiny-suppressed").sort("pair_id")
    first = images.filter(pl.col("seed_index") == 0).sort("pair_id")["image_id"]
    assert rows["image_id"].to_list() == first.to_list()
    assert (rows["n_images"] == 2).all()
    real, gen = dense(rows["real_image_id"]), dense(rows["image_id"])
    assert rows["paper_score"].to_numpy() == pytest.approx((1 / (1 + np.exp(real - gen))).mean(1))
    sides = np.vstack(
        [
            dense(read(lake, "images").filter(pl.col("source") == "real")["image_id"]),
            dense(images["image_id"]),
        ]
    )
    fires = (sides > 0).sum(0)
    weights = np.log(145 / (1 + fires)) * fires / np.maximum(sides.sum(0), 1e-9)
    a, b = real * weights, gen * weights
    assert rows["distance"].to_numpy() == pytest.approx(abs(a - b).sum(1) / (a + b).sum(1))
    assert rows["similarity"].to_numpy() == pytest.approx(
        (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    )
    assert rows.sort("distance", descending=True)["rank"].to_list() == list(range(1, 49))


def test_two_seeds_are_held_against_each_other(lake):
    vectors = dict(read(lake, "embeddings").select("image_id", "embedding").iter_rows())
    images = read(lake, "images").filter(pl.col("source") == "tiny-suppressed").sort("pair_id", "seed_index")
    by_pair = images.group_by("pair_id", maintain_order=True).agg("image_id")
    expected = []
    for pair in by_pair["image_id"]:
        a, b = (np.array(vectors[image]) for image in pair)
        expected.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    rows = rows_of(lake, "tiny-suppressed").sort("pair_id")
    assert rows["seed_similarity"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert rows_of(lake, "tiny-pixart")["seed_similarity"].null_count() == 48


# -- pictures of one's own -------------------------------------------------------------------------

N_OWN = 30
BLIND, DOUBLE, MISSING = 5, (7, 8), 11  # undecodable later, twice the same, not generated


def noise(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(path)


def write_config(folder: Path, *generators: str) -> Path:
    config = folder / f"{len(generators)}.toml"
    made = "".join(f'[[generators]]\nname = "{name}"\nimages = "{folder / name}"\n' for name in generators)
    config.write_text(f"""
lake = "{folder / "lake"}"
shard_size = 8
[dataset]
kind = "folder"
name = "mine"
path = "{folder / "real"}"
{made}
[backbone]
name = "tiny-dinov2"
[sae]
n_concepts = 64
n_points = 200
k = 4
n_steps = 20
batch_size = 256
""")
    return config


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """Real noise, other noise by `theirs`, the real pictures once more by `copier`; theirs are scored."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("real", "theirs", "copier"):
        (folder / name).mkdir()
    for index in range(N_OWN):
        noise(folder / "real" / f"{index}.png", DOUBLE[0] if index == DOUBLE[1] else index)
        noise(folder / "copier" / f"{index}.png", index)
        if index != MISSING:
            noise(folder / "theirs" / f"{index}.png", 100 + index)
    names = [f"{index}.png" for index in range(N_OWN)]
    captions = [f"noise number {index}" for index in range(N_OWN)]
    pl.DataFrame({"file_name": names, "caption": captions}).write_csv(folder / "real" / "metadata.csv")
    run(write_config(folder, "theirs"), *UNTIL_CONCEPTS, "datapoints")
    return folder


def test_another_generator_leaves_the_rows_of_the_first(own):
    lake = own / "lake"
    before = pl.read_delta(str(lake / "tables" / "datapoints"))
    report = run(write_config(own, "theirs", "copier"), "generate", "encode", "datapoints")[-1]
    after = pl.read_delta(str(lake / "tables" / "datapoints"))
    assert "theirs" not in report and "copier" in report
    mine = after.filter(pl.col("generator") == "theirs")
    assert_frame_equal(before, mine, check_row_order=False)  # with the run's id
    assert "nothing to do" in run(write_config(own, "theirs", "copier"), "datapoints")[0]


def test_a_generator_that_copies_everything_is_caught(own):
    run(write_config(own, "theirs", "copier"), "generate", "encode", "datapoints")
    rows = rows_of(own / "lake", "copier").sort("pair_id")
    assert rows["null_pairs"].unique().to_list() == ["mismatched"]
    # All but the picture whose real one the double took the place of.
    assert rows.filter(pl.col("verdict") != "memorised")["pair_id"].to_list() == [DOUBLE[1]]


def test_duplicates_and_a_missing_side(own):
    rows = rows_of(own / "lake", "theirs").sort("pair_id")
    assert rows["pair_id"].to_list() == [index for index in range(N_OWN) if index != MISSING]
    # The real pictures were sampled in another order; the address says which file a pair has.
    double = [f"{index}.png" for index in DOUBLE]
    pairs = read(own / "lake", "pairs").filter(pl.col("uri").str.split("/").list.last().is_in(double))
    assert rows.filter(pl.col("n_duplicates") == 1)["pair_id"].to_list() == sorted(pairs["pair_id"])
    assert rows["n_duplicates"].sum() == 2
    assert "memorised" not in set(rows["verdict"])


def test_a_lake_from_before_embeddings_is_filled_up(own):
    lake, config = own / "lake", write_config(own, "theirs")
    before = {name: read(lake, name) for name in ("codes", "energies", "embeddings", "datapoints")}
    codes = DeltaTable(str(lake / "tables" / "codes")).version()
    (lake / "tables" / "embeddings").rename(own / "away")
    with pytest.raises(ValueError, match="run the stage encode again"):
        run(config, "datapoints")
    run(config, "encode")
    for name in ("codes", "energies"):
        assert_frame_equal(before[name], read(lake, name))
    assert DeltaTable(str(lake / "tables" / "codes")).version() == codes
    mine = before["embeddings"].filter(pl.col("source").is_in(["real", "theirs"]))
    assert_frame_equal(mine, read(lake, "embeddings"), abs_tol=1e-5)
    assert "nothing to do" in run(config, "datapoints")[0]


def test_an_image_that_cannot_be_decoded_keeps_a_null_pixel_check(own):
    lake = own / "lake"
    DeltaTable(str(lake / "tables" / "images")).update(
        predicate=f"pair_id = {BLIND} AND source = 'theirs'", updates={"image": "X'89504E47'"}
    )
    changed = own / "changed.toml"
    changed.write_text(write_config(own, "theirs").read_text() + "[datapoints]\nn_neighbours = 4\n")
    run(changed, "datapoints")
    rows = rows_of(lake, "theirs").sort("pair_id")
    assert rows.filter(pl.col("nearest_edges").is_null())["pair_id"].to_list() == [BLIND]
    assert rows.filter(pl.col("nearest_layout").is_null())["pair_id"].to_list() == [BLIND]
    assert rows["q"].null_count() == 0
