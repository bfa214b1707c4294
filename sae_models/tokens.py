"""Streams of tokens: from an array in memory (or mapped), or from shards on disk in bfloat16.

Both shuffle the same way: the rows are cut into chunks of neighbours, chunks are drawn in a random order a
window at a time, and the rows of a window are shuffled. Reads are sequential, every window is a function of
(seed, epoch, window), so a stream starts at any step without replaying the steps before it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_SHARD_NAME = re.compile(r"tokens-(\d{6})\.safetensors")
_HELD_OUT_SEED = (
    20_250_612  # the held-out rows belong to the data, not to a run: every seed is judged on the same
)


class TokenSource(Protocol):
    """Tokens to train on: what `train` needs of them."""

    d_model: int

    def __len__(self) -> int:
        """Training tokens in one epoch."""
        ...

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        """Endless float32 batches (batch_size, d_model), the same for the same seed, from any step on."""
        ...

    def held_out(self) -> Tensor:
        """Tokens (n, d_model) float32 that `batches` never gives."""
        ...


def checked(batch: Tensor, d_model: int) -> Tensor:
    """The batch itself. Raises ValueError when its width is not d_model or it holds NaN or infinity."""
    if batch.ndim != 2 or batch.shape[1] != d_model:
        raise ValueError(f"tokens have shape {tuple(batch.shape)}; expected (n, {d_model})")
    # NaN and infinity both survive a sum, which costs one pass and no mask.
    if not bool(torch.isfinite(batch.sum(dtype=torch.float64))):
        raise ValueError("tokens hold NaN or infinity; look at the backbone's output before training on it")
    return batch


class _Chunks:
    """The shuffle that both sources share; a subclass says how chunks are read."""

    def __init__(
        self, sizes: np.ndarray, d_model: int, window_rows: int, held_out: float, max_held_out: int
    ) -> None:
        if not 0 <= held_out < 1:
            raise ValueError(f"held_out is {held_out!r}; write a share from 0 to below 1")
        self.d_model = d_model
        self._sizes = sizes
        wanted = min(held_out * sizes.sum(), max_held_out)
        order = np.random.default_rng(_HELD_OUT_SEED).permutation(len(sizes))
        before = np.cumsum(sizes[order]) - sizes[order]
        n_held = int((before < wanted).sum())
        self._held, self._training = np.sort(order[:n_held]), np.sort(order[n_held:])
        self._n = int(sizes[self._training].sum())
        if not self._n:
            raise ValueError("no tokens are left to train on; give more tokens or a smaller held_out share")
        self._per_window = max(1, window_rows // int(sizes.max()))

    def __len__(self) -> int:
        return self._n

    def held_out(self) -> Tensor:
        """Tokens (n, d_model) float32 that `batches` never gives: whole chunks, the same for every seed."""
        return self._read(self._held).float() if len(self._held) else torch.zeros(0, self.d_model)

    def batches(self, batch_size: int, seed: int, start_step: int = 0) -> Iterator[Tensor]:
        """Endless float32 batches (batch_size, d_model); a batch may end one epoch and begin the next."""
        pending: list[Tensor] = []
        n_pending = 0
        for rows in self._windows(seed, start_step * batch_size):
            pending.append(rows)
            n_pending += len(rows)
            if n_pending < batch_size:
                continue
            joined = torch.cat(pending)
            end = n_pending - n_pending % batch_size
            for start in range(0, end, batch_size):
                yield joined[start : start + batch_size].float()
            pending, n_pending = [joined[end:]], n_pending - end

    def _windows(self, seed: int, skip: int) -> Iterator[Tensor]:
        epoch, skip = divmod(skip, self._n)
        while True:
            order = np.random.default_rng([seed, epoch]).permutation(self._training)
            for first in range(0, len(order), self._per_window):
                chunks = order[first : first + self._per_window]
                size = int(self._sizes[chunks].sum())
                if skip >= size:
                    skip -= size
                    continue
                shuffle = np.random.default_rng([seed, epoch, first + 1]).permutation(size)
                yield self._read(chunks)[torch.from_numpy(shuffle[skip:])]
                skip = 0
            epoch += 1

    def _read(self, chunks: np.ndarray) -> Tensor:
        raise NotImplementedError


class ArrayTokens(_Chunks):
    """Tokens of an array (n, d_model), in memory or mapped (`np.load(..., mmap_mode="r")`).

    `group` neighbouring rows (the tokens of one image) are held out together, since tokens of an image are
    alike. Raises ValueError when the array is not two-dimensional or empty.
    """

    def __init__(
        self,
        array: np.ndarray | Tensor,
        *,
        group: int = 1,  # rows that stay together when held out, for example the tokens per image
        held_out: float = 0.05,  # share of the rows that `batches` never gives
        max_held_out: int = 65_536,  # most held-out rows
        window_rows: int = 262_144,  # rows shuffled together, held as one copy in memory
    ) -> None:
        if array.ndim != 2 or not array.shape[0]:
            raise ValueError(
                f"tokens have shape {tuple(array.shape)}; expected (n, d_model) with n of at least 1"
            )
        self._array = array
        self._starts = np.arange(0, array.shape[0], group)
        sizes = np.diff(np.append(self._starts, array.shape[0]))
        super().__init__(sizes, int(array.shape[1]), window_rows, held_out, max_held_out)

    def _read(self, chunks: np.ndarray) -> Tensor:
        starts, sizes = self._starts[chunks], self._sizes[chunks]
        rows = np.repeat(starts - np.append(0, np.cumsum(sizes)[:-1]), sizes) + np.arange(sizes.sum())
        if isinstance(self._array, Tensor):
            return self._array[torch.from_numpy(rows)]
        return torch.from_numpy(np.ascontiguousarray(self._array[rows]))


class ShardTokens(_Chunks):
    """Tokens of a folder that `TokenWriter` wrote, read a few thousand neighbours at a time.

    `backbone` and `preprocessing` are those of the shards. Raises ValueError when there is no shard, one is
    truncated or foreign, or they disagree.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        chunk_rows: int = 2048,  # neighbours per read; a multiple of the tokens per image keeps images whole
        held_out: float = 0.05,  # share of the rows that `batches` never gives
        max_held_out: int = 65_536,  # most held-out rows
        window_rows: int = 262_144,  # size of the shuffle buffer, in rows of 2 * d_model bytes
    ) -> None:
        self._paths = sorted(path for path in Path(folder).glob("*") if _SHARD_NAME.fullmatch(path.name))
        if not self._paths:
            raise ValueError(f"no token shards in {folder}; write some with TokenWriter first")
        headers = [_shard_header(path) for path in self._paths]
        for path, (_, about) in zip(self._paths, headers, strict=True):
            if about != headers[0][1]:
                raise ValueError(f"{path} holds tokens of {about}, the shards before it of {headers[0][1]}")
        self.backbone: str = headers[0][1]["backbone"]
        self.preprocessing: dict[str, Any] = headers[0][1]["preprocessing"]
        spans = [
            (i, a, min(a + chunk_rows, n))
            for i, (n, _) in enumerate(headers)
            for a in range(0, n, chunk_rows)
        ]
        self._spans = np.array(spans, dtype=np.int64).reshape(-1, 3)
        sizes = self._spans[:, 2] - self._spans[:, 1]
        super().__init__(sizes, headers[0][1]["d_model"], window_rows, held_out, max_held_out)

    def _read(self, chunks: np.ndarray) -> Tensor:
        out = torch.empty(int(self._sizes[chunks].sum()), self.d_model, dtype=torch.bfloat16)
        offsets = np.append(0, np.cumsum(self._sizes[chunks]))
        for shard in np.unique(
            self._spans[chunks, 0]
        ):  # each file is opened once, whatever the order of its chunks
            with safe_open(self._paths[shard], framework="pt") as file:
                tokens = file.get_slice("tokens")
                for place in np.flatnonzero(self._spans[chunks, 0] == shard):
                    _, start, end = self._spans[chunks[place]].tolist()
                    out[offsets[place] : offsets[place + 1]] = tokens[start:end]
        return out


class TokenWriter:
    """Writes token shards in bfloat16; a shard is one file, there whole or not at all, so a killed job goes
    on.

    Raises ValueError on tokens of the wrong width, with NaN, or of shape (0, d_model).
    """

    def __init__(
        self,
        folder: str | Path,
        d_model: int,
        *,
        backbone: str = "",
        preprocessing: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.d_model = d_model
        self._about = json.dumps(
            {"backbone": backbone, "preprocessing": dict(preprocessing or {})}, sort_keys=True
        )

    def path(self, shard: int) -> Path:
        """Where a shard is or will be."""
        return self.folder / f"tokens-{shard:06d}.safetensors"

    def has(self, shard: int) -> bool:
        """Whether a shard was committed."""
        return self.path(shard).exists()

    def write(self, shard: int, tokens: Tensor | np.ndarray) -> None:
        """Commits tokens (n, d_model) as one shard, in place of an older one of the same number."""
        batch = checked(torch.as_tensor(tokens), self.d_model)
        if not len(batch):
            raise ValueError(f"shard {shard} has no tokens; leave it out")
        rows = {"tokens": batch.to(torch.bfloat16).contiguous()}
        write_atomically(self.path(shard), rows, {"format": "pt", "about": self._about})


def write_atomically(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """One safetensors file that is there whole or not at all, even when the machine dies."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata=metadata)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _shard_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Rows of a shard, and what its tokens are."""
    try:
        with safe_open(path, framework="pt") as file:
            n, d_model = file.get_slice("tokens").get_shape()
            about = json.loads((file.metadata() or {})["about"])
            return n, {
                "d_model": d_model,
                "backbone": about["backbone"],
                "preprocessing": about["preprocessing"],
            }
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is not a whole token shard ({error}); write it again with TokenWriter"
        ) from error
