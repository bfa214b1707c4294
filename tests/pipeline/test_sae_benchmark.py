"""The SAE benchmark at small sizes: it runs, and says what is not installed."""

import sys
from dataclasses import replace

import pytest
import torch

from pipeline.benchmarks import sae_peers, sae_planted, sae_speed

SMALL = sae_speed.Sizes(
    d_model=8, n_concepts=64, k=4, batch=32, points=(16, 32),
    wide_d_model=8, wide_concepts=400, wide_batch=16, wide_points=24,
)  # fmt: skip


@pytest.fixture
def no_peers(monkeypatch):
    for name in ("overcomplete", "sparsify", "sae_lens"):
        monkeypatch.setitem(sys.modules, name, None)


def test_rounds_are_interleaved_and_the_fastest_counts(monkeypatch):
    order: list[str] = []
    clock = iter([0, 0, *(0, 1), *(1, 6), *(6, 10), *(10, 12)])  # a takes 1 s and 4, b takes 5 s and 2
    monkeypatch.setattr(sae_speed.time, "perf_counter", lambda: next(clock))
    seconds = sae_speed.fastest({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, n_rounds=2)
    assert order == ["a", "b"] * 3
    assert seconds == {"a": 1, "b": 2}


def test_the_speed_of_small_saes_is_measured(no_peers):
    rows = sae_speed.speed_rows(SMALL, n_rounds=2)
    assert [row.bar for row in rows] == [1.4, 2.0, 3.6, 1.1]
    assert all(row.figure > 0 and not row.at_least for row in rows)
    assert rows[0].beside == "overcomplete not installed, sparsify not installed, SAELens not installed"
    assert rows[2].beside.startswith("free TopK ")


def test_peers_are_timed_where_they_are(no_peers, monkeypatch):
    def peer(x: torch.Tensor, n_concepts: int, k: int, points: tuple[int, ...]) -> dict:
        names = [
            *(f"overcomplete RATopK {n}:step" for n in points),
            "sparsify TopK:step",
            "sparsify TopK:encode",
        ]
        return dict.fromkeys(names, lambda: x @ x.t())

    monkeypatch.setattr(sae_peers, "_overcomplete", peer)
    rows = sae_speed.speed_rows(SMALL, n_rounds=1)
    assert [row.bar for row in rows] == [1.4, 2.0, 3.6, 3.0, 3.0, 1.15, 1.1]
    assert "sparsify TopK " in rows[0].beside


def test_memory_is_that_of_a_process_of_its_own():
    row = sae_speed.memory_row(SMALL)
    assert 0.05 < row.figure < 4
    assert row.holds


def test_the_baseline_table_has_every_recipe():
    training = replace(sae_planted.TRAINING, n_steps=2, batch_size=64, n_sample=512)
    found = sae_planted.measure_planted(training, n_tokens=4000, seeds=(0, 1))
    assert [row.name for row in found] == ["TopK", "K-means TopK", "RA", "random atoms"]
    table = sae_planted.as_text(found).splitlines()
    assert table[-1].split()[:2] == ["random", "atoms"]
    assert found[0].across_points is None and found[2].across_points is not None
    rows = sae_planted.planted_rows(found)
    assert [(row.bar, row.at_least) for row in rows] == [(0.93, True), (0.98, True), (0.10, False)]
    assert "random atoms" in rows[1].beside
