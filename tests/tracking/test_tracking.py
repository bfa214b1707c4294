"""Runs, registry and queries over one shared store, checked in MLflow's own database by sqlite3."""

import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from tracking import Tracker, find_sae, queries, register_sae
from tracking.location import locate
from tracking.runs import _process, git_commit
from tracking.stage import clean_key, flatten

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def no_named_store():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(scope="module")
def lake(tmp_path_factory, no_named_store) -> Path:
    return tmp_path_factory.mktemp("my lake é")


@pytest.fixture(scope="module")
def tracker(lake) -> Tracker:
    return Tracker(lake)


def ask(lake: Path, sql: str, *values) -> list[tuple]:
    with sqlite3.connect(f"file:{lake}/mlflow/mlflow.db?mode=ro", uri=True) as database:
        return database.execute(sql, values).fetchall()


def tags(lake: Path, run_id: str) -> dict[str, str]:
    return dict(ask(lake, "select key, value from tags where run_uuid = ?", run_id))


def status(lake: Path, run_id: str) -> str:
    return ask(lake, "select status from runs where run_uuid = ?", run_id)[0][0]


KILLED = """
import sys
from tracking import Tracker
with Tracker(sys.argv[1]).stage("train-sae") as stage:
    print(stage.run_id, flush=True)
    sys.stdin.read()
"""


def test_a_run_left_by_kill_9_is_ended_by_the_next_start(lake):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(lake)], cwd=ROOT, **pipes)
    run_id = process.stdout.readline().strip()
    with Tracker(lake).stage("while it lives"):
        assert status(lake, run_id) == "RUNNING"
    process.kill()
    process.communicate()
    with Tracker(lake).stage("after") as after:
        assert (status(lake, run_id), status(lake, after.run_id)) == ("KILLED", "RUNNING")
    assert "died" in tags(lake, run_id)["error"]


def test_stages_are_children_with_params_tags_and_metrics(lake, tracker):
    params = {"sae": {"k": 16, "deep": {"lr": 5e-4}}, "sizes": [1, 2], "long": "x" * 7000}
    reads = {"images": 3, "pairs": None}
    with (
        tracker.run("demo", {"preset": "demo"}) as parent,
        tracker.stage("encode", params, reads, tags={"sae": "a"}) as stage,
    ):
        for step in range(1200):
            stage.log(step=step, loss=1 / (step + 1), skipped=None)
        stage.log(r2=math.nan)
        stage.rate(40, "images")
        stage.rate(60, "images")
        stage.wrote("codes", 5)
    with tracker.stage("alone") as alone:
        pass
    found = tags(lake, stage.run_id)
    assert found["mlflow.parentRunId"] == parent.run_id
    assert "mlflow.parentRunId" not in tags(lake, parent.run_id) | tags(lake, alone.run_id)
    assert (found["delta.images.read_version"], found["delta.codes.version"], found["sae"]) == ("3", "5", "a")
    assert "delta.pairs.read_version" not in found and found["stage"] == "encode"
    stored = dict(ask(lake, "select key, value from params where run_uuid = ?", stage.run_id))
    assert stored == {"sae.k": "16", "sae.deep.lr": "0.0005", "sizes": "[1, 2]", "long": "x" * 6000}
    metrics = ask(lake, "select key, step, value, is_nan from metrics where run_uuid = ?", stage.run_id)
    assert sorted((step, value) for key, step, value, _ in metrics if key == "loss") == [
        (step, 1 / (step + 1)) for step in range(1200)
    ]
    last = {key: value for key, _, value, _ in metrics if key != "loss"}
    assert set(last) == {"r2", "images", "images_per_second", "seconds"}
    assert last["images"] == 100 and last["seconds"] > 0
    assert last["images_per_second"] * last["seconds"] == pytest.approx(100)
    assert [is_nan for key, *_, is_nan in metrics if key == "r2"] == [1]
    assert [status(lake, run.run_id) for run in (parent, stage, alone)] == ["FINISHED"] * 3


@pytest.mark.parametrize(
    ("error", "ending", "note"),
    [(ValueError("no GPU"), "FAILED", "ValueError: no GPU"), (KeyboardInterrupt(), "KILLED", None)],
)
def test_a_failing_block_is_recorded_and_raised(lake, tracker, error, ending, note):
    with pytest.raises(type(error)), tracker.run("outer") as outer, tracker.stage("generate") as stage:
        stage.log(step=1, done=7)
        raise error
    for run in (outer, stage):
        assert status(lake, run.run_id) == ending and tags(lake, run.run_id).get("error") == note
    assert ask(lake, "select value from metrics where run_uuid = ? and key = 'done'", stage.run_id) == [
        (7.0,)
    ]
    with tracker.stage("next") as following:
        pass
    assert "mlflow.parentRunId" not in tags(lake, following.run_id)


def test_a_metric_that_is_no_number_is_named(tracker):
    with (
        pytest.raises(ValueError, match="metric 'loss' must be a number, not 'low'"),
        tracker.stage("s") as stage,
    ):
        stage.log(loss="low")


def test_artifacts_and_their_paths(lake, tracker, tmp_path):
    from matplotlib.figure import Figure

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.json").write_text("{}")
    with tracker.stage("compare") as stage:
        stage.figure(Figure(), "plots/histogram")
        stage.image(Image.new("RGB", (2, 2), "red"), "top.png")
        stage.text("hello", "note")
        stage.artifacts(tmp_path, "report")
    names = queries.artifacts(lake, stage.run_id)
    assert names == ["note.txt", "plots/histogram.png", "report/deep/a.json", "top.png"]
    folder = lake / "mlflow" / "artifacts" / stage.run_id / "artifacts"
    assert queries.artifact_path(lake, stage.run_id, "note.txt") == folder / "note.txt"
    assert (folder / "note.txt").read_text() == "hello"
    with Image.open(folder / "top.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert queries.artifact_path(lake, stage.run_id, "../../../mlflow.db") is None
    assert queries.artifacts(lake, "..") == [] and queries.artifacts(lake, "0" * 32) == []


def test_the_registry_counts_versions(lake, tracker, tmp_path):
    (tmp_path / "cfg.json").write_text('{"k": 16}')
    assert find_sae(tracker, "ra-sae") is None
    with tracker.stage("train-sae") as stage:
        assert register_sae(tracker, tmp_path, "ra-sae", stage.run_id, {"r2": 0.5}, alias="paper") == 1
        assert register_sae(tracker, tmp_path, "ra-sae", stage.run_id, {"r2": 0.75}) == 2
    newest, paper = find_sae(tracker, "ra-sae"), find_sae(tracker, "ra-sae", "paper")
    assert newest and paper and find_sae(tracker, "ra-sae", "gone") is None
    assert (newest["version"], newest["run_id"], newest["tags"]) == (2, stage.run_id, {"r2": "0.75"})
    assert (paper["version"], paper["tags"]) == (1, {"r2": "0.5"})
    assert newest["source"].endswith(f"{stage.run_id}/artifacts/sae/ra-sae")
    assert (newest["folder"] / "cfg.json").read_text() == '{"k": 16}'
    with pytest.raises(ValueError, match="cannot be named 'a/b'"):
        register_sae(tracker, tmp_path, "a/b", stage.run_id, {})
    with pytest.raises(ValueError, match="there is no checkpoint folder"):
        register_sae(tracker, tmp_path / "gone", "a", stage.run_id, {})


def test_queries_agree_with_the_database(lake, tracker):
    with tracker.run("demo") as parent, tracker.stage("name", {"n": 3}, reads={"energies": 4}) as stage:
        stage.wrote("concepts", 1)
        for step in (2, 0, 1):
            stage.log(step=step, loss=10.0 - step)
    found = queries.runs(lake)
    assert found.schema == queries.RUNS
    assert found.height == ask(lake, "select count(*) from runs")[0][0]
    assert found["started"].is_sorted(descending=True)
    row = found.row(by_predicate=pl.col("run_id") == stage.run_id, named=True)
    assert (row["parent_id"], row["name"], row["stage"]) == (parent.run_id, "name", "name")
    assert (row["status"], row["error"], row["params"]) == ("FINISHED", None, [{"key": "n", "value": "3"}])
    assert row["read"] == [{"table": "energies", "version": 4}]
    assert row["wrote"] == [{"table": "concepts", "version": 1}]
    assert {"key": "loss", "value": 8.0} in row["metrics"]
    start, end = ask(lake, "select start_time, end_time from runs where run_uuid = ?", stage.run_id)[0]
    assert row["seconds"] == (end - start) / 1000
    assert int(row["started"].timestamp() * 1000) == start
    assert queries.metric_history(lake, stage.run_id, "loss").rows() == [(0, 10.0), (1, 9.0), (2, 8.0)]
    for run_id, key in [(stage.run_id, "gone"), ("0" * 32, "loss")]:
        history = queries.metric_history(lake, run_id, key)
        assert history.is_empty() and history.schema == queries.HISTORY


def test_a_moved_lake_keeps_its_runs_and_writes_to_its_new_place(lake, tracker, tmp_path):
    with tracker.stage("before") as before:
        before.text("old", "note")
    moved = tmp_path / "moved"
    shutil.copytree(lake, moved)
    with Tracker(moved).stage("after") as after:
        after.text("new", "note")
    assert queries.artifact_path(moved, before.run_id, "note.txt").read_text() == "old"
    assert (moved / "mlflow/artifacts" / after.run_id / "artifacts/note.txt").read_text() == "new"
    assert not (lake / "mlflow/artifacts" / after.run_id).exists()
    assert {before.run_id, after.run_id} <= set(queries.runs(moved)["run_id"])


def test_a_missing_store_is_empty_and_stays_missing(tmp_path):
    assert queries.runs(tmp_path).schema == queries.RUNS and queries.runs(tmp_path).is_empty()
    assert queries.metric_history(tmp_path, "0" * 32, "loss").schema == queries.HISTORY
    assert queries.artifacts(tmp_path, "0" * 32) == []
    assert queries.artifact_path(tmp_path, "0" * 32, "note.txt") is None
    assert find_sae(Tracker(tmp_path), "any") is None
    assert list(tmp_path.iterdir()) == []


def test_the_place_of_the_store(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert locate("lake").uri == f"sqlite:///{tmp_path}/lake/mlflow/mlflow.db"
    assert locate("s3://bucket/lake/").uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    Tracker("s3://bucket/lake")
    assert f"runs are kept in {tmp_path}/mlflow; set MLFLOW_TRACKING_URI" in caplog.text
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert (locate("lake").uri, locate("lake").folder) == ("http://tracking:5000", None)


def test_importing_the_package_does_not_load_mlflow_and_keeps_it_quiet():
    code = "import sys, os, tracking.queries; print('mlflow' in sys.modules, os.environ['DO_NOT_TRACK'])"
    environment = {key: value for key, value in os.environ.items() if key != "DO_NOT_TRACK"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.stdout.split() == ["False", "true"]


def test_only_dead_processes_of_this_host_are_ended(lake, tracker):
    host, mine = socket.gethostname(), _process(os.getpid())
    experiment = tracker.client.get_experiment_by_name("conceptual-blindspots").experiment_id
    processes = {
        f"{host} {mine}": "RUNNING",  # this very process
        f"elsewhere {os.getpid()} 1": "RUNNING",  # cannot be seen from here
        f"{host} {os.getpid()} 1": "KILLED",  # an earlier process that had this number
    }
    runs = {
        process: tracker.client.create_run(experiment, tags={"process": process}).info.run_id
        for process in processes
    }
    with Tracker(lake).stage("next"):
        pass
    assert {process: status(lake, run) for process, run in runs.items()} == processes


def test_a_process_is_alive_until_it_is_killed():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert _process(child.pid).startswith(f"{child.pid} ")
    child.kill()
    child.wait()
    assert _process(child.pid) == ""


def test_the_commit_of_a_checkout(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True
        ).stdout.strip()

    assert git_commit(tmp_path) == ("", False)
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    git_commit.cache_clear()
    assert git_commit(tmp_path) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a").write_text("2")
    git_commit.cache_clear()
    assert git_commit(tmp_path) == (git("rev-parse", "HEAD"), True)
    git_commit.cache_clear()


def test_params_and_keys():
    assert flatten({"a": {"b": {"c": None}}, "d": {}, "e": (1, "x")}) == {
        "a.b.c": "None",
        "d": "{}",
        "e": '[1, "x"]',
    }
    assert clean_key("E[gen]: é" + "x" * 300) == "E_gen__ _" + "x" * 241
