"""Captioned datasets: one registry, `DATASETS`, of ways to open one; a new kind is a row.

An opened dataset is a manifest and a way to read each row's image. The manifest is a sample fixed by the
seed and in random order: its first m rows are a sample of m rows, and asking for more pairs later keeps
those already there and their ids.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.download import Downloader, DownloadLimits, Fetched, threaded
from pipeline.sources.images import ImageError
from pipeline.sources.registry import find, first_line, inside

_CSV = {"infer_schema": False}  # a caption such as 007 stays as it is written
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": lambda path: pl.read_csv(path, **_CSV),
    ".tsv": lambda path: pl.read_csv(path, separator="\t", **_CSV),
    ".parquet": pl.read_parquet,
    ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}


class DatasetConfig(BaseModel):
    """A captioned dataset and how many of its pairs to take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str  # a row of DATASETS: folder, table, hub or world
    name: str = Field(min_length=1)  # what the lake calls it
    path: str = ""  # the folder, the table's file, or the Hub id (or local path) of kind hub
    n_pairs: int | None = Field(None, ge=1)  # pairs wanted; none: all (kinds folder and table only)
    spare: int = Field(0, ge=0)  # rows in the manifest beyond n_pairs, for images that turn out dead
    seed: int = 0  # of the sample
    caption_column: str = "caption"
    image_column: str | None = None  # none: file_name (folder, table) or image (hub)
    url_column: str | None = None  # instead of image_column: addresses to download; none: url (table)
    image_root: str | None = None  # folder that a table's file names start from; none: the table's folder
    split: str = "train"  # kind hub
    subset: str | None = None  # kind hub: the dataset's configuration name
    revision: str | None = None  # kind hub: commit, tag or branch
    shuffle_buffer: int = Field(10_000, ge=1)  # rows; kind hub samples among this many at a time
    download: DownloadLimits = DownloadLimits()


class Dataset(Protocol):
    """What every kind opens to."""

    name: str

    def rows(self) -> pl.DataFrame:
        """The manifest: pair_id (int64, contiguous from 0), caption (empty where there is none), uri."""
        ...

    def image_bytes(self, row: Mapping[str, Any]) -> bytes:
        """The encoded image of a row of the manifest; ImageError in one sentence where there is none."""
        ...


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset of `config`.

    Raises ValueError in one sentence for an unknown kind, a missing file or column, or a dataset that
    cannot be reached (kind hub: on the first `rows()`).
    """
    return find(DATASETS, config.kind, "dataset kind")(config)


def fetch_images(dataset: Dataset, rows: Iterable[Mapping[str, Any]], workers: int = 32) -> Iterator[Fetched]:
    """The image bytes of `rows`, in their order, read by a pool of threads; a missing image is its error."""

    def read(row: Mapping[str, Any]) -> Fetched:
        try:
            return Fetched(dataset.image_bytes(row))
        except ImageError as error:
            return Fetched(None, str(error))

    return threaded(read, rows, workers)


class FileDataset:
    """A table of captions with image files in a folder, or with image URLs."""

    def __init__(self, config: DatasetConfig, table: pl.DataFrame, where: str, root: Path):
        self.name = config.name
        self._root = root
        columns = table.columns
        use_url = config.url_column or (not config.image_column and "file_name" not in columns and "url" in columns)
        self._downloader = Downloader(config.download) if use_url else None
        column = (config.url_column or "url") if use_url else (config.image_column or "file_name")
        require_column(config.caption_column, columns, where, "caption_column")
        require_column(column, columns, where, "url_column" if use_url else "image_column")
        n_rows = table.height if config.n_pairs is None else config.n_pairs + config.spare
        order = np.random.default_rng(config.seed).permutation(table.height)[:n_rows]
        sample = table.select(_text(table, config.caption_column, where), _text(table, column, where))[order]
        self._rows = manifest(sample[:, 0], sample[:, 1])

    def rows(self) -> pl.DataFrame:
        return self._rows

    def image_bytes(self, row: Mapping[str, Any]) -> bytes:
        if self._downloader:
            return download_image(self._downloader, row["uri"])
        return read_image_file(self._root, row["uri"])


def _open_folder(config: DatasetConfig) -> Dataset:
    folder = Path(config.path)
    metadata = [folder / f"metadata{suffix}" for suffix in _READERS]
    found = next((path for path in metadata if path.is_file()), None)
    if found is None:
        what = f"has no {', '.join(path.name for path in metadata)}" if folder.is_dir() else "is not a folder"
        raise ValueError(f"dataset path {config.path!r} {what}; it needs one with file_name and caption.")
    return FileDataset(config, _read_table(found), found.name, folder)


def _open_table(config: DatasetConfig) -> Dataset:
    path = Path(config.path)
    if not path.is_file():
        raise ValueError(f"dataset path {config.path!r} is not a file.")
    root = Path(config.image_root) if config.image_root else path.parent
    return FileDataset(config, _read_table(path), path.name, root)


def _open_hub(config: DatasetConfig) -> Dataset:
    from pipeline.sources.hub import HubDataset

    return HubDataset(config)


def _open_world(config: DatasetConfig) -> Dataset:
    from pipeline.world.dataset import WorldDataset

    if config.n_pairs is None:
        raise ValueError("dataset kind 'world' has no end; set n_pairs.")
    return WorldDataset(config.name, config.n_pairs, config.seed)


DATASETS: dict[str, Callable[[DatasetConfig], Dataset]] = {
    "folder": _open_folder,  # an imagefolder: pictures and metadata.csv, .tsv, .parquet or .jsonl
    "table": _open_table,  # a CSV, TSV, Parquet or JSONL file of file_name or url, and caption
    "hub": _open_hub,  # a Hugging Face dataset with images or with URLs
    "world": _open_world,  # the embedded world, rendered
}


def _read_table(path: Path) -> pl.DataFrame:
    reader = find(_READERS, path.suffix.lower(), "table format")
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read as {path.suffix[1:].upper()}: {first_line(error)}.") from error


def require_column(column: str, columns: list[str], where: str, setting: str) -> None:
    if column not in columns:
        raise ValueError(f"{where} has no column {column!r}; set {setting} to one of: {', '.join(columns)}.")


def _text(table: pl.DataFrame, column: str, where: str) -> pl.Expr:
    if table.schema[column].is_nested():
        raise ValueError(f"column {column!r} of {where} holds {table.schema[column]}, not text.")
    return pl.col(column).cast(pl.String).fill_null("")


def manifest(captions: pl.Series, uris: pl.Series) -> pl.DataFrame:
    pair_ids = pl.Series("pair_id", np.arange(len(captions)), dtype=pl.Int64)
    return pl.DataFrame([pair_ids, captions.alias("caption"), uris.alias("uri")])


def read_image_file(root: Path, name: str) -> bytes:
    if not name:
        raise ImageError("the row names no image file.")
    try:
        return inside(root, name).read_bytes()
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ImageError(str(error)) from error


def download_image(downloader: Downloader, url: str) -> bytes:
    fetched = downloader.fetch(url)
    if fetched.data is None:
        raise ImageError(fetched.error or "")
    return fetched.data
