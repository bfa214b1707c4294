"""What the registries share: finding a row, and reading files that may come from anywhere."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

WEIGHTS = Path(__file__).parents[1] / "world" / "weights"  # of the embedded generators and backbone

Row = TypeVar("Row")


def find(rows: Mapping[str, Row], name: str, what: str, hint: str = "") -> Row:
    """The row called `name`; ValueError in one sentence naming the nearest rows where there is none."""
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=3, cutoff=0.4)
    known = f"the nearest are {', '.join(near)}" if near else f"known are {', '.join(rows)}"
    raise ValueError(f"unknown {what} {name!r}: {known}{hint}.")


def inside(root: Path, name: str) -> Path:
    """The file `name` of the folder `root`; ValueError where the name, or a link, leads out of the folder."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{name!r} lies outside of {root.name}/ and is not read.")
    return path


def first_line(error: BaseException) -> str:
    """The first line of an error of a library, without its full stop, to quote inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
