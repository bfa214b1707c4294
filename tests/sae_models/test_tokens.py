"""Streams of tokens: complete, shuffled, deterministic, resumable, and nothing held out leaks."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from sae_models import ArrayTokens, ShardTokens, TokenWriter

N, D_MODEL = 1000, 3


def numbered(n: int = N) -> np.ndarray:
    """Row i holds i, exactly also in bfloat16 once split in two bytes."""
    rows = np.arange(n)
    return np.stack([rows // 128, rows % 128, np.ones(n)], axis=1).astype(np.float32)


def row_ids(tokens: torch.Tensor) -> list[int]:
    return (tokens[:, 0] * 128 + tokens[:, 1]).long().tolist()


@pytest.fixture(params=["array", "mapped", "shards"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ArrayTokens | ShardTokens:
    data = numbered()
    if request.param == "shards":
        writer = TokenWriter(tmp_path, D_MODEL)
        for shard, start in enumerate(range(0, N, 300)):
            writer.write(shard, data[start : start + 300])
        return ShardTokens(tmp_path, chunk_rows=40, window_rows=200, held_out=0.1)
    if request.param == "mapped":
        np.save(tmp_path / "tokens.npy", data)
        data = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    return ArrayTokens(data, group=10, window_rows=200, held_out=0.1)


def test_an_epoch_gives_every_training_token_once(source: ArrayTokens | ShardTokens) -> None:
    n = len(source)
    batches = list(islice(source.batches(n // 4, seed=0), 8))
    seen = row_ids(torch.cat(batches))
    held = set(row_ids(source.held_out()))
    assert 100 <= len(held) <= 140
    assert sorted(seen[: n // 4 * 4]) == sorted(set(seen[: n // 4 * 4]))
    assert set(seen) == set(range(N)) - held
    assert len(held) + n == N
    assert seen[: n // 4] != sorted(seen[: n // 4])


def test_a_stream_starts_at_any_step(source: ArrayTokens | ShardTokens) -> None:
    batches = list(islice(source.batches(70, seed=3), 40))  # three epochs, batches across windows and epochs
    for start in (1, 12, 13, 26, 39):
        assert torch.equal(next(source.batches(70, seed=3, start_step=start)), batches[start])
    assert not torch.equal(next(source.batches(70, seed=4)), batches[0])
    assert batches[0].dtype == torch.float32


def test_a_batch_may_be_larger_than_an_epoch() -> None:
    source = ArrayTokens(numbered(10), held_out=0.0)
    ids = row_ids(next(source.batches(25, seed=0)))
    assert sorted(ids[:10]) == sorted(ids[10:20]) == list(range(10))


def test_images_are_held_out_whole() -> None:
    held = row_ids(ArrayTokens(numbered(), group=10, held_out=0.1).held_out())
    assert len(held) == 100
    assert all({row // 10 * 10 + i for i in range(10)} <= set(held) for row in held)


def test_held_out_tokens_do_not_depend_on_the_run(tmp_path: Path) -> None:
    first, second = (ArrayTokens(numbered(), held_out=0.1) for _ in range(2))
    assert torch.equal(first.held_out(), second.held_out())


def test_writer_commits_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TokenWriter(tmp_path, D_MODEL)

    def die(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("sae_models.tokens.os.replace", die)
    with pytest.raises(OSError, match="no space"):
        writer.write(0, numbered())
    assert not writer.has(0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    writer.write(0, numbered())
    assert writer.has(0)
    assert not writer.has(1)


def test_shards_carry_what_their_tokens_are(tmp_path: Path) -> None:
    TokenWriter(tmp_path, D_MODEL, backbone="tiny", preprocessing={"crop": 64}).write(0, numbered())
    source = ShardTokens(tmp_path, chunk_rows=100)
    assert (source.backbone, source.preprocessing, source.d_model) == ("tiny", {"crop": 64}, D_MODEL)
    TokenWriter(tmp_path, D_MODEL, backbone="other").write(1, numbered())
    with pytest.raises(ValueError, match="other"):
        ShardTokens(tmp_path)


def test_bad_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no token shards"):
        ShardTokens(tmp_path)
    writer = TokenWriter(tmp_path, D_MODEL)
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        writer.write(0, np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="NaN"):
        writer.write(0, np.full((4, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match="no tokens"):
        writer.write(0, np.zeros((0, 3), np.float32))
    writer.write(0, numbered())
    whole = writer.path(0).read_bytes()
    for broken in (whole[: len(whole) // 2], b"hello", b""):
        writer.path(0).write_bytes(broken)
        with pytest.raises(ValueError, match="not a whole token shard"):
            ShardTokens(tmp_path)


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        ArrayTokens(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="held_out"):
        ArrayTokens(numbered(), held_out=1.0)
    with pytest.raises(ValueError, match="left to train on"):
        ArrayTokens(numbered(), group=N, held_out=0.1)
