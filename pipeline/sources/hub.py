"""Captioned datasets of the Hugging Face Hub, streamed: a sample of a dataset of any size, none of it kept.

The sample comes from a shuffle buffer fed by up to ten of the dataset's shards in shuffled order. Of a
dataset with fewer rows than the buffer it is a uniform sample, of a larger one an approximation.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import httpx2 as httpx
import polars as pl

from pipeline.sources.datasets import DatasetConfig, download_image, manifest, read_image_file, require_column
from pipeline.sources.download import Downloader
from pipeline.sources.images import ImageError
from pipeline.sources.registry import first_line

if TYPE_CHECKING:
    from datasets import IterableDataset


class HubDataset:
    """A dataset by Hub id, or a local path that `datasets.load_dataset` opens, with an image or a URL column.

    The stream is read once, at the first call; images that come with it wait in a temporary file.
    """

    def __init__(self, config: DatasetConfig):
        if config.n_pairs is None:
            raise ValueError(f"dataset {config.path!r} is streamed; set n_pairs.")
        self.name = config.name
        self._config = config
        self._column = config.url_column or config.image_column or "image"
        self._downloader = Downloader(config.download) if config.url_column else None
        self._images = _Spool()
        self._lock = threading.Lock()
        self._rows: pl.DataFrame | None = None

    def rows(self) -> pl.DataFrame:
        """The manifest (see `Dataset.rows`); fewer rows than asked for where the dataset has fewer.
        ValueError in one sentence where the dataset, its split or its columns cannot be had."""
        with self._lock:
            if self._rows is None:
                self._rows = self._sample()
            return self._rows

    def image_bytes(self, uri: str) -> bytes:
        """The image, downloaded or from the stream; ImageError where there is none."""
        if self._downloader:
            return download_image(self._downloader, uri)
        self.rows()
        return self._images[int(uri.rpartition("#")[2])]

    def _sample(self) -> pl.DataFrame:
        from datasets import Image

        config = self._config
        self._images = _Spool()  # anew, should an earlier attempt have broken off
        stream = self._open()
        if isinstance((stream.features or {}).get(self._column), Image):
            stream = stream.cast_column(self._column, Image(decode=False))  # the bytes as they are stored
        stream = stream.shuffle(seed=config.seed, buffer_size=config.shuffle_buffer)
        captions, uris = [], []
        with _reaching(config.path):
            for index, row in enumerate(stream.take((config.n_pairs or 0) + config.spare)):
                captions.append(row[config.caption_column])
                if self._downloader:
                    uris.append(row[self._column])
                else:
                    uris.append(f"{config.path}/{config.split}?seed={config.seed}#{index}")
                    self._images.add(_bytes_of(row[self._column], Path(config.path)))
        return manifest(_strings(captions), _strings(uris))

    def _open(self) -> "IterableDataset":
        from datasets import load_dataset

        config = self._config
        with _reaching(config.path):
            stream = load_dataset(
                config.path, config.subset, split=config.split, revision=config.revision, streaming=True
            )
            columns = list(stream.features or next(iter(stream), {}))
        where = f"dataset {config.path!r}"
        require_column(config.caption_column, columns, where, "caption_column")
        require_column(self._column, columns, where, "image_column or url_column")
        return stream.select_columns([config.caption_column, self._column])


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    from datasets.exceptions import DatasetsError

    try:
        yield
    except (OSError, httpx.HTTPError, DatasetsError, ValueError) as error:
        raise ValueError(
            f"dataset {path!r} cannot be streamed ({first_line(error)}): check the id, the split and the "
            "network, and log in (hf auth login) where the dataset asks for it."
        ) from error


class _Spool:
    """Byte strings by number, in a temporary file that vanishes with the process. Reading is thread-safe."""

    def __init__(self):
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as this lives
        self._spans: list[tuple[int, int]] = []

    def add(self, data: bytes) -> None:
        self._spans.append((self._file.tell(), len(data)))
        self._file.write(data)

    def __getitem__(self, index: int) -> bytes:
        start, size = self._spans[index]
        if not size:
            raise ImageError("the dataset has no image in this row.")
        self._file.flush()
        return os.pread(self._file.fileno(), size, start)


def _bytes_of(value: Any, folder: Path) -> bytes:
    """The bytes of an undecoded image; empty where there are none to be had."""
    if not isinstance(value, Mapping):
        return value if isinstance(value, bytes) else b""
    if value.get("bytes"):
        return value["bytes"]
    path = value.get("path") or ""
    try:
        # A path in the data may point into its own repository or folder and nowhere else.
        if path.split("::")[-1].startswith("hf://"):
            with fsspec.open(path, "rb") as file:
                return file.read()  # pyright: ignore[reportAttributeAccessIssue]
        return read_image_file(folder, path)
    except ImageError:
        return b""


def _strings(values: list[Any]) -> pl.Series:
    return pl.Series(["" if value is None else str(value) for value in values], dtype=pl.String)
