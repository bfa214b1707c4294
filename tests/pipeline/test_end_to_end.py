"""From captions to blindspots through the real command line, undisturbed and killed in the middle."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from mlflow import MlflowClient
from polars.testing import assert_frame_equal

from tables import TABLES, TableStore
from tests.pipeline.conftest import command, environment, pipeline

GENERATORS = {"tiny-pixart": 48, "tiny-suppressed": 96}  # and their images


# What no stage writes, and what needs a second SAE, a user, or a suppressed concept that has a name.
EMPTY = ("probes", "planted", "sae_agreements", "name_edits")


def read(lake: Path, table: str) -> pl.DataFrame:
    """A table as anybody else would read it, in the order of its key."""
    frame = pl.scan_delta(str(lake / "tables" / table)).collect()
    return frame.drop("run_id").sort(TABLES[table].key)


def test_every_table_opens_without_our_code(lake):
    for name, table in TABLES.items():
        delta = DeltaTable(str(lake / "tables" / name))
        assert {field.name for field in delta.schema().fields} == set(table.columns)
        assert (read(lake, name).height > 0) == (name not in EMPTY), name


def test_images_are_stored_with_their_seeds(lake):
    images = read(lake, "images")
    assert dict(images["source"].value_counts().iter_rows()) == {"real": 48, **GENERATORS}
    drawn = images.filter(pl.col("source") != "real")
    assert drawn["seed"].null_count() == 0
    assert (images["width"] == 64).all() and (images["status"] == "ok").all()


def test_the_report_reads_what_training_held_out(lake):
    (folder,) = (lake / "saes").iterdir()
    report = pipeline("sae-report", str(folder))
    assert str(folder) in report.stdout
    assert "tokens that none was trained on" in report.stdout


def test_energies_are_the_sums_of_codes(lake):
    """Recomputed from `codes` by polars alone."""
    keys = ["image_id", "concept"]
    sums = (
        read(lake, "codes")
        .explode("token", "concept", "activation")
        .group_by(keys)
        .agg(pl.col("activation").sum().alias("energy"), pl.col("activation").max().alias("peak"))
        .sort(keys)
    )
    energies = read(lake, "energies").rename({"concept_id": "concept"}).sort(keys)
    assert_frame_equal(sums, energies.select(sums.columns), check_dtypes=False, rel_tol=1e-5)


def test_energy_differences_are_means_over_pairs(lake):
    """Recomputed densely with numpy for every concept; two images of a caption count half each."""
    energies = read(lake, "energies")
    for generator, n_images in GENERATORS.items():
        rows = read(lake, "energy_differences").filter(pl.col("generator") == generator)
        means = {}
        for source in ("real", generator):
            mine = energies.filter(pl.col("source") == source)
            n = 48 if source == "real" else n_images
            means[source] = np.bincount(mine["concept_id"], mine["energy"].cast(pl.Float64), 128) / n
        assert np.allclose(rows["energy_real"], means["real"])
        assert np.allclose(rows["energy_gen"], means[generator])
        assert np.allclose(rows["difference"], means[generator] - means["real"])
        assert (rows["n_pairs"] == 48).all()
        assert (rows["n_fired_gen"] <= 48).all()


def test_labels_follow_from_thresholds_intervals_and_q(lake):
    """The rule, written once more in polars; the preset's thresholds are 0.1 and 0.9."""
    rows = read(lake, "energy_differences")
    sure = pl.col("q") < 0.05
    inside = (pl.col("low") >= 0.1) & (pl.col("high") <= 0.9) & pl.col("q").is_not_null()
    again = rows.select(
        pl.when(sure & (pl.col("ratio") < 0.1))
        .then(pl.lit("suppressed"))
        .when(sure & (pl.col("ratio") > 0.9))
        .then(pl.lit("exaggerated"))
        .when(inside)
        .then(pl.lit("aligned"))
        .otherwise(pl.lit("uncertain"))
        .alias("label")
    )
    assert again["label"].to_list() == rows["label"].to_list()
    tested = pl.max_horizontal("n_fired_real", "n_fired_gen") >= 5
    assert rows.filter(tested)["q"].null_count() == 0
    assert rows.filter(~tested)["q"].null_count() == rows.filter(~tested).height
    fires = rows.drop_nulls("ratio")
    assert (fires["low"] <= fires["ratio"] + 1e-6).all() and (fires["ratio"] <= fires["high"] + 1e-6).all()


def test_groups_hold_the_energies_of_their_members(lake):
    rows = read(lake, "energy_differences")
    sums = rows.group_by("generator", "group").agg(
        (pl.col("energy_gen").sum() / (pl.col("energy_gen") + pl.col("energy_real")).sum()).alias("sum")
    )
    both = rows.join(sums, on=["generator", "group"]).drop_nulls("group_delta")
    assert both.height > 100
    assert np.allclose(both["group_delta"], both["sum"])
    groups = read(lake, "concepts").select("concept_id", "group")
    shown = rows.select("concept_id", "group").unique()
    assert_frame_equal(shown.sort("concept_id"), groups.sort("concept_id"))


def test_nulls_count_the_tested_concepts(lake):
    """Halves of the real images for everyone; the generator that drew twice also against itself."""
    tested = read(lake, "energy_differences").drop_nulls("q").group_by("generator").len()
    n_tested = dict(tested.iter_rows())
    sums = read(lake, "nulls").group_by("generator", "kind", "form").agg(pl.col("n_concepts").sum())
    kinds = {(generator, kind) for generator, kind, *_ in sums.iter_rows()}
    assert kinds == {("tiny-pixart", "real"), ("tiny-suppressed", "real"), ("tiny-suppressed", "self")}
    for generator, _, _, n in sums.iter_rows():
        assert 0 < n <= n_tested[generator]


def test_agreement_is_the_correlation_of_the_ratios(lake):
    rows = read(lake, "energy_differences").drop_nulls("q")
    both = rows.pivot("generator", index="concept_id", values="ratio").drop_nulls()
    stored = read(lake, "agreements").filter(pl.col("statistic") == "pearson").row(0, named=True)
    assert (stored["generator_a"], stored["generator_b"]) == tuple(GENERATORS)
    expected = np.corrcoef(*(both[name].to_numpy() for name in GENERATORS))[0, 1]
    assert stored["value"] == pytest.approx(expected, abs=1e-4)
    assert stored["low"] < stored["value"] < stored["high"]


def test_differences_by_caption_mention(lake):
    """One named concept, again with polars: energies of the pairs that say its name, and of the others."""
    row = read(lake, "caption_differences").filter(pl.col("n_mentioned") >= 3).row(0, named=True)
    said = read(lake, "pairs").select(
        "pair_id", pl.col("caption").str.contains(rf"\b{row['word']}\b").alias("said")
    )
    assert said["said"].sum() == row["n_mentioned"]
    energies = (
        read(lake, "energies").filter(pl.col("concept_id") == row["concept_id"]).join(said, on="pair_id")
    )
    for part, where in (("mentioned", pl.col("said")), ("rest", ~pl.col("said"))):
        sums = dict(energies.filter(where).group_by("source").agg(pl.col("energy").sum()).iter_rows())
        n = row["n_mentioned"] if part == "mentioned" else row["n_rest"]
        real = sums.get("real", 0) / n
        gen = sums.get(row["generator"], 0) / n / (GENERATORS[row["generator"]] / 48)
        if real + gen > 0:
            assert row[part] == pytest.approx(gen / (real + gen), abs=1e-5)


def test_top_images_are_those_with_most_energy_and_carry_their_heat_map(lake):
    top, energies, codes = read(lake, "top_images"), read(lake, "energies"), read(lake, "codes")
    best = top.filter((pl.col("source") == "real") & (pl.col("rank") == 0)).row(0, named=True)
    mine = energies.filter((pl.col("source") == "real") & (pl.col("concept_id") == best["concept_id"]))
    assert best["energy"] == mine["energy"].max()
    image = codes.filter(pl.col("image_id") == best["image_id"]).row(0, named=True)
    heat = np.zeros(64, np.float32)
    for token, concept, value in zip(image["token"], image["concept"], image["activation"], strict=True):
        if concept == best["concept_id"] and token >= image["n_prefix"]:
            heat[token - image["n_prefix"]] = value
    assert best["heatmap"] == heat.tolist()
    assert (best["grid_height"], best["grid_width"]) == (8, 8)


def test_the_summary_names_every_generator(lake):
    summary = (lake / "summary.txt").read_text()
    for generator, n_images in GENERATORS.items():
        assert f"{generator}: 48 pairs, {n_images} images;" in summary
        assert " concepts, by chance " in summary and "below the threshold" in summary


def test_a_second_run_has_nothing_to_do_and_says_why(lake, small):
    before = {name: read(lake, name) for name in TABLES}
    done = pipeline("run", str(small), "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    stages = [line for line in done.stdout.splitlines() if "nothing to do" in line]
    assert len(stages) == 11
    for name, frame in before.items():
        assert_frame_equal(frame, read(lake, name))


def test_runs_and_tables_point_at_each_other(lake):
    client = MlflowClient(f"sqlite:///{(lake / 'mlflow' / 'mlflow.db').absolute()}")
    experiment = client.search_experiments(filter_string="name = 'conceptual-blindspots'")[0]
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    for table in ("pairs", "images", "codes", "energy_differences", "layout"):
        run_ids = pl.scan_delta(str(lake / "tables" / table)).select("run_id").unique().collect()["run_id"]
        for run_id in run_ids:
            assert f"delta.{table}.version" in runs[run_id].data.tags
    parents = [run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags]
    assert [run.data.tags["stage"] for run in parents] == ["run"]
    # Ten stages, of which generate runs once per generator; probe has nothing to do.
    assert len(runs) == 1 + 11


def wait_for(condition, process: subprocess.Popen) -> None:
    """Wait until the condition holds while the process is at work."""
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed there"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rows_of(lake: Path, table: str) -> int:
    try:
        return TableStore(lake).scan(table).select(pl.len()).collect().item()
    except Exception:  # the table is being made
        return 0


MOMENTS = {
    "some images are drawn": lambda lake: rows_of(lake, "images") > 60,
    "the SAE is half trained": lambda lake: any((lake / "tokens").glob("*/checkpoint/*.safetensors")),
    "some images are encoded": lambda lake: rows_of(lake, "codes") > 20,
}


def test_killed_three_times_it_ends_with_the_same_tables(lake, small, tmp_path):
    killed = tmp_path / "lake"
    for condition in MOMENTS.values():
        process = subprocess.Popen(
            command("run", str(small), "--lake", str(killed)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        wait_for(lambda condition=condition: condition(killed), process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = pipeline("run", str(small), "--lake", str(killed))
    assert done.returncode == 0, done.stderr
    for name in TABLES:
        assert_frame_equal(read(lake, name), read(killed, name))


def test_two_runs_on_one_lake_at_once(small, tmp_path):
    with TableStore(tmp_path).lock():
        second = pipeline("sample", str(small), "--lake", str(tmp_path))
    assert second.returncode == 2
    assert second.stderr.count("\n") == 1
    assert str(os.getpid()) in second.stderr
    assert pipeline("sample", str(small), "--lake", str(tmp_path)).returncode == 0


def test_encoding_waits_for_the_images(small, tmp_path):
    """Else a generator whose images are still missing would count as encoded for ever."""
    assert pipeline("sample", str(small), "--lake", str(tmp_path)).returncode == 0
    done = pipeline("encode", str(small), "--lake", str(tmp_path))
    assert done.returncode == 2 and "run the stage generate first" in done.stderr
    assert read(tmp_path, "codes").is_empty()


def test_growing_the_sample_keeps_what_is_there(small, tmp_path):
    for n_pairs in (20, 40):
        done = pipeline("sample", str(small), "--lake", str(tmp_path), "--set", f"dataset.n_pairs={n_pairs}")
        assert done.returncode == 0, done.stderr
        pairs = read(tmp_path, "pairs")
        assert pairs["pair_id"].to_list() == list(range(n_pairs))
        assert read(tmp_path, "images").height == n_pairs


@pytest.mark.parametrize("stage", ["generate", "encode", "compare", "layout"])
def test_a_stage_before_its_turn_names_the_stage_that_is_missing(stage, small, tmp_path):
    done = pipeline(stage, str(small), "--lake", str(tmp_path))
    assert done.returncode == 2
    assert "first" in done.stderr and done.stderr.count("\n") == 1
