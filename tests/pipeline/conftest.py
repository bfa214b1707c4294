"""Runs of the real command line on small configurations."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SMALL = """
name = "small"
shard_size = 16
[dataset]
kind = "world"
name = "world"
n_pairs = 48
[[generators]]
name = "tiny-pixart"
steps = 2
batch_size = 16
[[generators]]
name = "tiny-suppressed"
seeds_per_caption = 2
steps = 2
batch_size = 16
[backbone]
name = "tiny-dinov2"
[sae]
n_concepts = 128
n_points = 256
k = 4
n_steps = 60
batch_size = 512
training = {checkpoint_every = 10}
[layout]
n_neighbors = 5
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "pipeline", *arguments]


def environment() -> dict[str, str]:
    """No network, and the same number of threads in every run: sums depend on it."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def pipeline(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Run `python -m pipeline ...` to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment())


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A configuration of two generators that runs in seconds."""
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def lake(small, tmp_path_factory) -> Path:
    """The lake of one undisturbed run."""
    folder = tmp_path_factory.mktemp("lakes") / "lake"
    done = pipeline("run", str(small), "--lake", str(folder))
    assert done.returncode == 0, done.stderr
    (folder / "summary.txt").write_text(done.stdout)
    return folder
