"""One writing process per local lake: a lock that the operating system drops when its holder dies."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tables.errors import TableError

_held: set[int] = set()


def _leave_to_parent() -> None:
    # A forked child shares the parent's lock and would keep it after a kill -9 of the parent.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold `<folder>/.writer.lock`, exclusively, for the length of the block.

    Raises:
        TableError: another holder is at work (named with its process id and start), or no lock can be made.
    """
    descriptor = _take(folder)
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.ftruncate(descriptor, 0)
            os.close(descriptor)


def _take(folder: Path) -> int:
    path = folder / ".writer.lock"
    descriptor = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise TableError(
            f"the lake {folder} is being written by {holder}; wait for it to end or stop it, then run again."
        ) from None
    except OSError as error:
        if descriptor >= 0:
            os.close(descriptor)
        raise TableError(
            f"the lake {folder} cannot be locked ({error.strerror}); choose a local folder you own."
        ) from error
    note = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note).encode(), 0)
    return descriptor


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {note['pid']} since {note['since']}"
    except (ValueError, KeyError):  # taken a moment ago, its note is not written yet
        return "a process that has just started"
