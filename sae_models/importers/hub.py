"""Where the files of a foreign SAE are: a local path, or a repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?:/[\w.-]+)*")  # owner/name, then folders inside the repository
_WANTED = ("*.json", "*.safetensors", "*.pt", "*.pth", "*.bin")


def locate(source: str, revision: str | None = None) -> Path:
    """The local path of `source`; if it is none, owner/name or owner/name/folder, downloaded from the Hub.

    Raises ValueError when there is neither such a path nor such a repository.
    """
    if Path(source).exists():
        return Path(source)
    if not _HUB_ID.fullmatch(source) or ".." in source.split("/"):
        raise ValueError(f"there is no file or folder {source}; write a path, or a Hub id as owner/name")
    owner, name, *folders = source.split("/")
    inside = "/".join([*folders, ""]) if folders else ""
    path = _download(f"{owner}/{name}", revision, [f"{inside}{pattern}" for pattern in _WANTED])
    if not (path / inside).is_dir():
        raise ValueError(f"the Hub repository {owner}/{name} has no folder {inside}; look at its files")
    return path / inside


def _download(repository: str, revision: str | None, patterns: list[str]) -> Path:
    import httpx2 as httpx
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise ValueError(
            f"{repository} is neither a path here nor to be had from the Hub ({reason}); check the id and "
            "the network, and log in (hf auth login) where it asks for it"
        ) from error
