"""SAEs of other libraries become ours. One file per format; nothing of a foreign file is ever run."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from sae_models.importers import (
    dictionary_learning,
    overcomplete,
    overcomplete_pickle,
    saelens,
    saev,
    sparsify,
)
from sae_models.importers.foreign import Options
from sae_models.importers.hub import locate
from sae_models.sae import SAE

__all__ = ["FORMATS", "Options", "import_sae", "locate"]

# Name: a module with `matches(path)` and `read(path, options)`. Particular formats before general ones.
_FOLDERS: dict[str, ModuleType] = {
    "saelens": saelens,
    "sparsify": sparsify,
    "dictionary_learning": dictionary_learning,
}
_FILES: dict[str, ModuleType] = {
    "saev": saev,
    "overcomplete-pickle": overcomplete_pickle,
    "overcomplete": overcomplete,
}
FORMATS = _FOLDERS | _FILES


def import_sae(path: str | Path, options: Options | None = None) -> SAE:
    """The SAE in a file or folder of another library (`FORMATS`), fused and in eval mode.

    It computes on raw tokens what its own library computes in eval mode. Raises ValueError, in one sentence,
    when the format is not known, the file is truncated or foreign, and, before anything of it is used, when a
    pickle mentions what no SAE needs.
    """
    path, options = Path(path), options or Options()
    for reader in _FOLDERS.values():
        if path.is_dir() and reader.matches(path):
            return reader.read(path, options).sae(options, path)
    file = _only_file(path) if path.is_dir() else path
    for reader in _FILES.values():
        if reader.matches(file):
            return reader.read(file, options).sae(options, file)
    raise ValueError(f"{file} is of no known format; known are {', '.join(FORMATS)}")


def _only_file(folder: Path) -> Path:
    """The one weights file of a folder."""
    files = sorted(path for ending in ("pt", "pth", "bin") for path in folder.glob(f"*.{ending}"))
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise ValueError(
            f"{folder} is of no known format ({', '.join(FORMATS)}); weights files in it: {found}; "
            "name one file"
        )
    return files[0]
