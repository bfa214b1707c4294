"""A generator that has already drawn: a folder of pictures, matched to the pairs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.sources.datasets import metadata_file, read_image_file, read_table, require_column
from pipeline.sources.generators import MISSING, UNREADABLE, Drawn, GeneratorConfig, Numbers, Texts
from pipeline.sources.images import STORED_CODECS, ImageError, codec_of, decode

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


class PictureFolder:
    """Pictures named by their pair id (`17.png`, `000017.jpg`), or listed in a metadata file (CSV, TSV,
    Parquet or JSONL) with `file_name` and either `pair_id` or `caption`. One picture per pair."""

    seeded = False

    def __init__(self, config: GeneratorConfig):
        self._folder = Path(str(config.images))
        self.name = config.name
        self.settings: dict[str, Any] = {"images": str(config.images)}
        if not self._folder.is_dir():
            raise ValueError(f"generator {config.name!r}: {config.images!r} is not a folder.")
        if config.seeds_per_caption > 1:
            raise ValueError(f"generator {self.name!r} has one picture per pair: set seeds_per_caption to 1.")
        listed = metadata_file(self._folder)
        self._by_caption = False
        if listed:
            table = read_table(listed)
            require_column("file_name", table.columns, listed.name, "a column")
            self._by_caption = "pair_id" not in table.columns
            key = "caption" if self._by_caption else "pair_id"
            require_column(key, table.columns, listed.name, "a column pair_id or caption")
            self._files = _unique(_pairs(table, key, listed.name))
        else:
            files = [path for path in sorted(self._folder.iterdir()) if path.suffix.lower() in _SUFFIXES]
            self._files = _unique((int(path.stem), path.name) for path in files if path.stem.isdecimal())
        if not self._files:
            raise ValueError(
                f"generator {self.name!r}: {config.images!r} has no picture named by its pair id, such as "
                "0.png, and no metadata.csv of file_name and pair_id or caption."
            )

    def draw(self, captions: Texts, seeds: Numbers, pair_ids: Numbers | None = None) -> list[Drawn]:
        """See `Generator.draw`; the seeds are not used."""
        keys: Sequence[Any] | None = captions if self._by_caption else pair_ids
        if keys is None:
            raise ValueError(f"generator {self.name!r} has pictures of the pairs only, not of a new caption.")
        return [self._picture(key) for key in keys]

    def _picture(self, key: Any) -> Drawn:
        if key not in self._files:
            what = f"caption {key!r}" if self._by_caption else f"pair {key}"
            return Drawn(None, MISSING, f"{self._folder.name}/ has no picture for {what}.")
        name = self._files[key]
        try:
            data = read_image_file(self._folder, name)
            image = decode(data)
            return Drawn(image, data=data if codec_of(data) in STORED_CODECS else None)
        except ImageError as error:
            return Drawn(None, UNREADABLE, f"{name}: {error}")


def _pairs(table: pl.DataFrame, key: str, where: str) -> list[tuple[Any, str]]:
    try:
        keys = table[key].cast(pl.Int64 if key == "pair_id" else pl.String)
    except pl.exceptions.PolarsError:
        raise ValueError(f"column pair_id of {where} holds something that is not a whole number.") from None
    return list(zip(keys.to_list(), table["file_name"].cast(pl.String).fill_null("").to_list(), strict=True))


def _unique(pairs: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    files: dict[Any, str] = {}
    for key, name in pairs:
        if files.setdefault(key, name) != name:
            raise ValueError(f"{files[key]} and {name} are both the picture of {key!r}; keep one.")
    return files
