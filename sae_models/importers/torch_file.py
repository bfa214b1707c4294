"""Files of `torch.save`, read without torch.load: a zip with one pickle and one record per storage.

The pickle goes through `pickled.read_pickle`; a tensor in it is a `StoredTensor`, whose numbers are read from
its record when they are asked for, a block of rows at a time where it is large.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from sae_models.importers.pickled import read_pickle

_MOST_PICKLE_BYTES = 64 << 20  # the pickle without its tensors is a few kB
_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.BoolStorage": torch.bool,
}
_BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError, KeyError, NotImplementedError,
)  # fmt: skip
_NAMES = frozenset(_DTYPES) | {"torch.float32", "torch.float16", "torch.bfloat16"}


class _Storage(NamedTuple):
    record: str
    dtype: torch.dtype
    n_elements: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is still in its file."""

    path: Path
    record: str  # of the zip
    dtype: torch.dtype
    offset: int  # of the first element in the record, in elements
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """All of it. Raises ValueError when the file is truncated or was changed."""
        extent = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if not math.prod(self.shape):
            return torch.zeros(self.shape, dtype=self.dtype)
        with _record(self.path, self.record) as stream:
            flat = self._elements(stream, self.offset, extent)
        return flat.as_strided(self.shape, self.stride).contiguous()

    def row_blocks(self, n_rows: int = 1024) -> Iterator[Tensor]:
        """The rows of a matrix, n_rows at a time, with no more than those in memory."""
        n, width = self.shape
        if self.stride != (width, 1):
            yield from self.read().split(n_rows)
            return
        with _record(self.path, self.record) as stream:
            for start in range(0, n, n_rows):
                n_block = min(n_rows, n - start)
                skip = self.offset if start == 0 else 0
                yield self._elements(stream, skip, n_block * width).view(n_block, width)

    def _elements(self, stream: IO[bytes], skip: int, n: int) -> Tensor:
        stream.seek(skip * self.dtype.itemsize, 1)
        data = bytearray(stream.read(n * self.dtype.itemsize))
        if len(data) < n * self.dtype.itemsize:
            raise EOFError(f"{self.record} ends early")
        return torch.frombuffer(data, dtype=self.dtype)


def read_torch_file(path: Path, names: Collection[str] = ()) -> Any:
    """What was saved to `path`: plain values, `Record`s for objects, `StoredTensor`s for tensors.

    names: classes and functions that the pickle may mention beside those of plain tensors. Raises ValueError
    when the file is no file of torch 1.6 or later, is truncated, or mentions anything else.
    """
    with _opened(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise zipfile.BadZipFile("there is no data.pkl in it")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ValueError(
                f"{path} was saved on a big-endian machine; save it again on a little-endian one"
            )
        if archive.getinfo(pickles[0]).file_size > _MOST_PICKLE_BYTES:
            raise ValueError(f"the pickle in {path} is too large for an SAE; it was not opened")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError(f"{path} is compressed, which torch's files never are; it was not opened")
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        data = archive.read(pickles[0])
    functions = _FUNCTIONS | {"torch._utils._rebuild_tensor_v2": _rebuild_tensor(path)}
    return read_pickle(
        data, str(path), names=_NAMES | set(names), functions=functions, persistent=_storages(root, sizes)
    )


def read_json_line(path: Path) -> bytes:
    """The first line of a file, up to a MiB."""
    with open(path, "rb") as file:
        return file.readline(1 << 20)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _BROKEN as error:
        raise ValueError(
            f"{path} is truncated or was not saved by torch 1.6 or later ({error}); fetch it again, or load "
            "it where it was made and save its state_dict"
        ) from error


@contextmanager
def _record(path: Path, record: str) -> Iterator[IO[bytes]]:
    with _opened(path) as archive, archive.open(record) as stream:
        yield stream


def _storages(root: str, sizes: dict[str, int]) -> Callable[[Any], _Storage]:
    def storage(persistent_id: Any) -> _Storage:
        kind, dtype_name, key, _location, n_elements = persistent_id
        record = f"{root}data/{key}"
        found = _Storage(record, _DTYPES[dtype_name], n_elements)
        if kind != "storage" or n_elements * found.dtype.itemsize > sizes[record]:
            raise ValueError(f"{record} is smaller than the pickle says")
        return found

    return storage


def _rebuild_tensor(path: Path) -> Callable[..., StoredTensor]:
    def rebuild(
        storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> StoredTensor:
        extent = offset + 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        n_needed = math.prod(shape)
        fits = extent <= storage.n_elements and n_needed <= storage.n_elements
        if min((offset, *shape, *stride)) < 0 or (n_needed and not fits):
            raise ValueError(f"a tensor of shape {shape} does not fit {storage.record}")
        return StoredTensor(path, storage.record, storage.dtype, offset, tuple(shape), tuple(stride))

    return rebuild


# Our own stand-ins for what torch's pickles call.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": dict,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.device": lambda *where: ":".join(str(part) for part in where),
    "torch.Size": tuple,
    "builtins.set": tuple,
    "__builtin__.set": tuple,
}
