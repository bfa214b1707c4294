"""Captioned datasets: one registry, `DATASETS`, of ways to open one; a new kind is a row.

An opened dataset is a manifest and a way to read each row's image. The manifest is a sample fixed by the
seed and in random order: its first m rows are a sample of m rows, and asking for more pairs later keeps
those already there and their ids.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.download import Downloader, DownloadLimits, Fetched, threaded
from pipeline.sources.images import ImageError
from pipeline.sources.registry import find, first_line, inside

# CSV without types: a caption such as 007 stays as it is written.
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": lambda path: pl.read_csv(path, infer_schema=False),
    ".tsv": lambda path: pl.read_csv(path, infer_schema=False, separator="\t"),
    ".parquet": pl.read_parquet,
    ".jsonl": lambda path: pl.read_ndjson(path, infer_schema_length=None),
}


class DatasetConfig(BaseModel):
    """A captioned dataset and how many of its pairs to take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str  # a row of DATASETS: folder, table, hub or world
    name: str = Field(min_length=1)  # what the lake calls it
    path: str = ""  # the folder, the table's file, or the Hub id (or local path) of kind hub
    n_pairs: int | None = Field(default=None, ge=1)  # pairs wanted; none: all (kinds folder and table only)
    spare: int = Field(default=0, ge=0)  # rows in the manifest beyond n_pairs, for images that turn out dead
    seed: int = 0  # of the sample
    caption_column: str = "caption"
    image_column: str | None = None  # none: file_name (folder, table) or image (hub)
    url_column: str | None = None  # instead of image_column: addresses to download; none: url (table)
    image_root: str | None = None  # folder that a table's file names start from; none: the table's folder
    split: str = "train"  # kind hub
    subset: str | None = None  # kind hub: the dataset's configuration name
    revision: str | None = None  # kind hub: commit, tag or branch
    shuffle_buffer: int = Field(default=10_000, ge=1)  # rows; kind hub samples among this many at a time
    download: DownloadLimits = DownloadLimits()


class Dataset(Protocol):
    """What every kind opens to."""

    name: str

    def rows(self) -> pl.DataFrame:
        """The manifest: pair_id (int64, contiguous from 0), caption (empty where there is none), uri."""
        ...

    def image_bytes(self, uri: str) -> bytes:
        """The encoded image of a uri of the manifest; ImageError in one sentence where there is none."""
        ...


def open_dataset(config: DatasetConfig) -> Dataset:
    """The dataset of `config`.

    Raises ValueError in one sentence for an unknown kind, a missing file or column, or a dataset that
    cannot be reached (kind hub: on the first `rows()`).
    """
    return find(DATASETS, config.kind, "dataset kind")(config)


def fetch_images(dataset: Dataset, uris: Iterable[str], workers: int = 32) -> Iterator[Fetched]:
    """The image bytes of `uris`, in their order, read by a pool of threads; a missing image is its error."""

    def read(uri: str) -> Fetched:
        try:
            return Fetched(dataset.image_bytes(uri))
        except ImageError as error:
            return Fetched(None, str(error))

    return threaded(read, uris, workers)


class FileDataset:
    """A table of captions with image files in a folder, or with image URLs."""

    def __init__(self, config: DatasetConfig, table: pl.DataFrame, where: str, root: Path):
        self.name = config.name
        self._root = root
        columns = table.columns
        url_column = config.url_column
        if not url_column and not config.image_column and "url" in columns and "file_name" not in columns:
            url_column = "url"
        column = url_column or config.image_column or "file_name"
        require_column(config.caption_column, columns, where, "caption_column")
        require_column(column, columns, where, "url_column" if url_column else "image_column")
        self._downloader = Downloader(config.download) if url_column else None
        n_rows = table.height if config.n_pairs is None else config.n_pairs + config.spare
        order = np.random.default_rng(config.seed).permutation(table.height)[:n_rows]
        sample = table.select(_text(table, config.caption_column, where), _text(table, column, where))[order]
        self._rows = manifest(sample[:, 0], sample[:, 1])

    def rows(self) -> pl.DataFrame:
        """The manifest (see `Dataset.rows`); fewer rows than asked for where the table has fewer."""
        return self._rows

    def image_bytes(self, uri: str) -> bytes:
        """The file or the download; ImageError where there is none."""
        if self._downloader:
            return download_image(self._downloader, uri)
        return read_image_file(self._root, uri)


def _open_folder(config: DatasetConfig) -> Dataset:
    folder = Path(config.path)
    found = metadata_file(folder)
    if found is None:
        what = f"has no metadata file ({', '.join(_READERS)})" if folder.is_dir() else "is not a folder"
        raise ValueError(f"dataset path {config.path!r} {what}; it needs a metadata.csv.")
    return FileDataset(config, read_table(found), found.name, folder)


def _open_table(config: DatasetConfig) -> Dataset:
    path = Path(config.path)
    if not path.is_file():
        raise ValueError(f"dataset path {config.path!r} is not a file.")
    root = Path(config.image_root) if config.image_root else path.parent
    return FileDataset(config, read_table(path), path.name, root)


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


def metadata_file(folder: Path) -> Path | None:
    """The folder's `metadata` file of a format that `read_table` knows, if it has one."""
    candidates = (folder / f"metadata{suffix}" for suffix in _READERS)
    return next((path for path in candidates if path.is_file()), None)


def read_table(path: Path) -> pl.DataFrame:
    """A CSV or TSV (all columns text), Parquet or JSONL file; ValueError in one sentence where it is not."""
    reader = find(_READERS, path.suffix.lower(), "table format")
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read as a table ({first_line(error)}).") from error


def require_column(column: str, columns: list[str], where: str, setting: str) -> None:
    """ValueError in one sentence where a column is missing; `setting` is what to set instead."""
    if column not in columns:
        raise ValueError(f"{where} has no column {column!r}; set {setting} to one of: {', '.join(columns)}.")


def _text(table: pl.DataFrame, column: str, where: str) -> pl.Expr:
    if table.schema[column].is_nested():
        raise ValueError(f"column {column!r} of {where} holds {table.schema[column]}, not text.")
    return pl.col(column).cast(pl.String).fill_null("")


def manifest(captions: pl.Series, uris: pl.Series) -> pl.DataFrame:
    """The manifest (see `Dataset.rows`) of captions and uris in their order."""
    pair_ids = pl.Series("pair_id", np.arange(len(captions)), dtype=pl.Int64)
    return pl.DataFrame([pair_ids, captions.alias("caption"), uris.alias("uri")])


def read_image_file(root: Path, name: str) -> bytes:
    """The bytes of the file `name` inside of the folder `root`; ImageError in one sentence if not."""
    if not name:
        raise ImageError("the row names no image file.")
    try:
        return inside(root, name).read_bytes()
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise ImageError(str(error)) from error


def download_image(downloader: Downloader, url: str) -> bytes:
    """The bytes at `url`; ImageError in one sentence where there are none."""
    fetched = downloader.fetch(url)
    if fetched.data is None:
        raise ImageError(fetched.error or "")
    return fetched.data
