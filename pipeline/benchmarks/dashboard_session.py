"""A served dashboard, and sessions that drive it as a browser does: over its websocket, without drawing.

A session asks for a page and listens until the script has finished; what it gets is counted in bytes.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
_NOTHING_TO_SEE = ("This lake cannot be read", "There is no lake here yet", "The lake is being filled")
_SMALL = 1_000  # bytes; the message that ends a run is smaller


@dataclass
class Server:
    """Where a dashboard answers, and once it has ended its peak memory in GB."""

    address: str
    peak: float = float("nan")


@dataclass(frozen=True)
class Visit:
    """One run of a page: seconds until the script had finished, bytes of all messages, shown errors."""

    seconds: float
    n_bytes: int
    errors: tuple[str, ...]


@contextmanager
def served(lake: str, seconds: float = 60.0) -> Iterator[Server]:
    """Run the dashboard on a free port of 127.0.0.1; peak memory is known after the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true", "--", "--lake", lake]
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/app.py", *options]
    process = subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Server(f"127.0.0.1:{port}")
    try:
        _wait_until_healthy(server.address, process, seconds)
        yield server
    finally:
        if process.returncode is None:
            server.peak = _peak(process.pid)
            process.terminate()
            process.wait()


def _peak(pid: int) -> float:
    """Most memory that a process has had, in GB; NaN where the system does not tell (only Linux does).

    Not the `ru_maxrss` of a child that has ended: it counts what its parent had when the child was started.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(
        (int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:")), float("nan")
    )


def _wait_until_healthy(address: str, process: subprocess.Popen, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the dashboard ended with code {process.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"http://{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"the dashboard did not answer in {seconds:.0f} s")


class Session:
    """One tab of a browser."""

    def __init__(self, server: Server):
        self._socket = connect(
            f"ws://{server.address}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            max_size=None,
            compression=None,
        )

    def visit(self, page: str, query: str = "", seconds: float = 120.0) -> Visit:
        """Ask for a page and wait for its end. TimeoutError where it takes longer than `seconds`."""
        wanted = BackMsg()
        wanted.rerun_script.page_name = page
        wanted.rerun_script.query_string = query
        started = time.perf_counter()
        self._socket.send(wanted.SerializeToString())
        frames = []
        while True:
            frame = self._socket.recv(seconds)
            assert isinstance(frame, bytes)
            frames.append(frame)
            if len(frame) < _SMALL and _ends(frame):
                break
        took = time.perf_counter() - started
        return Visit(took, sum(map(len, frames)), tuple(_errors(frames)))

    def clear_caches(self) -> None:
        """Empty what the server keeps of the lake, for all sessions; what is imported stays."""
        wanted = BackMsg()
        wanted.clear_cache = True
        self._socket.send(wanted.SerializeToString())

    def close(self) -> None:
        """Close the tab."""
        self._socket.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ends(frame: bytes) -> bool:
    message = ForwardMsg.FromString(frame)
    early = ForwardMsg.FINISHED_EARLY_FOR_RERUN
    return message.WhichOneof("type") == "script_finished" and message.script_finished != early


def _errors(frames: list[bytes]) -> Iterator[str]:
    for frame in frames:
        message = ForwardMsg.FromString(frame)
        if message.delta.new_element.WhichOneof("type") == "exception":
            yield message.delta.new_element.exception.message
        elif message.delta.new_element.heading.body in _NOTHING_TO_SEE:
            yield message.delta.new_element.heading.body
