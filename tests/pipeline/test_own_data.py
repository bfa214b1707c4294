"""A folder of one's own pictures with captions, a folder of generated ones, and what can be wrong."""

import struct
import zlib

import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake
from PIL import Image

from tests.pipeline.conftest import pipeline
from tests.pipeline.test_end_to_end import read

N = 12


def noise(path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 80)).save(path)


def huge_png(path) -> None:
    """A picture that says it has 30,000 x 30,000 pixels."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.fixture
def own(tmp_path):
    """Real pictures with `metadata.csv`, generated pictures by pair id, and a configuration for both."""
    real, made = tmp_path / "real", tmp_path / "made"
    real.mkdir()
    made.mkdir()
    for index in range(N):
        noise(real / f"{index}.jpg", index)
        noise(made / f"{index}.png", 100 + index)
    names = [f"{index}.jpg" for index in range(N)]
    pl.DataFrame({"file_name": names, "caption": [f"noise number {i}" for i in range(N)]}).write_csv(
        real / "metadata.csv"
    )
    config = tmp_path / "my.toml"
    config.write_text(
        f"""
lake = "{tmp_path / "lake"}"
shard_size = 8
[dataset]
kind = "folder"
name = "mine"
path = "{real}"
[[generators]]
name = "theirs"
images = "{made}"
[backbone]
name = "tiny-dinov2"
[sae]
n_concepts = 64
n_points = 200
k = 4
n_steps = 20
batch_size = 256
[layout]
n_neighbors = 5
"""
    )
    return tmp_path


def test_own_pictures_against_generated_ones(own):
    done = pipeline("run", str(own / "my.toml"))
    assert done.returncode == 0, done.stderr
    assert f"theirs: {N} pairs, {N} images;" in done.stdout
    images = read(own / "lake", "images")
    assert set(images["codec"]) == {"jpeg", "png"}
    # A folder's pictures were drawn by somebody else: their seeds are not known.
    assert images.filter(pl.col("source") == "theirs")["seed"].null_count() == N


def test_bad_pictures_are_rows_with_a_status_and_the_good_ones_go_on(own):
    (own / "real" / "0.jpg").write_bytes((own / "real" / "0.jpg").read_bytes()[:300])
    Image.new("RGB", (1, 1)).save(own / "real" / "1.jpg")
    huge_png(own / "real" / "2.jpg")
    (own / "real" / "3.jpg").unlink()
    done = pipeline("sample", str(own / "my.toml"))
    assert done.returncode == 0, done.stderr
    assert f"{N - 4} live pairs of 'mine', 4 rows failed (see pairs.error)" in done.stdout
    bad = read(own / "lake", "pairs").filter(pl.col("status") != "ok")
    assert bad.height == 4
    for sentence in bad["error"]:
        assert sentence.endswith(".") and "\n" not in sentence
    assert read(own / "lake", "images").filter(pl.col("status") == "ok").height == N - 4


def refused(done, *words: str) -> None:
    """One sentence, exit code 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_caption_file_without_captions(own):
    pl.DataFrame({"file_name": ["0.jpg"], "text": ["a"]}).write_csv(own / "real" / "metadata.csv")
    refused(pipeline("sample", str(own / "my.toml")), "metadata.csv", "text", "caption_column")


def test_an_unknown_generator(own):
    config = (
        (own / "my.toml")
        .read_text()
        .replace(f'images = "{own / "made"}"', "")
        .replace("theirs", "tiny-pixert")
    )
    (own / "my.toml").write_text(config)
    refused(pipeline("run", str(own / "my.toml")), "tiny-pixert", "tiny-pixart")


def test_a_lake_that_cannot_be_written(own):
    (own / "file").write_text("")
    refused(pipeline("sample", str(own / "my.toml"), "--lake", str(own / "file" / "lake")), "lake")


def test_a_table_of_somebody_elses(own):
    write_deltalake(str(own / "lake" / "tables" / "pairs"), pl.DataFrame({"x": [1]}).to_arrow())
    refused(pipeline("sample", str(own / "my.toml")), "pairs")


def test_other_settings_under_an_old_name_are_not_mixed_in(own):
    assert pipeline("sample", str(own / "my.toml")).returncode == 0
    refused(pipeline("sample", str(own / "my.toml"), "--set", "dataset.seed=1"), "'mine'", "another name")


def test_status_of_no_lake(own):
    refused(pipeline("status", "--lake", str(own / "nowhere")), "no lake", "pipeline demo")
