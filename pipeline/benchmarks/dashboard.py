"""Is the dashboard quick at the published size? Every page with 32,000 concepts and 36 million energies.

Server time is from the request for a page to the end of its script, seen from a session beside the server:
cold with nothing of the lake kept but all imports done, warm in reruns; the median of some each. The lake
is made in a temporary folder, or kept in the folder that BLINDSPOTS_BENCHMARK_LAKE names and used again.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipeline.benchmarks import Row
from pipeline.benchmarks.dashboard_browser import browser_rows
from pipeline.benchmarks.dashboard_lake import made
from pipeline.benchmarks.dashboard_session import Server, Session, served
from pipeline.benchmarks.dashboard_tables import Sizes

FOLDER = "BLINDSPOTS_BENCHMARK_LAKE"
# Name of the figure: page, query parameters.
PAGES = {
    "overview": ("overview", ""),
    "concept map": ("concept_map", ""),
    "concept": ("concept", ""),
    "blindspots": ("blindspots", ""),
    "compare": ("compare", ""),
    "co-occurrence, what changed": ("cooccurrence", "look=what+changed"),
    "co-occurrence, heat map": ("cooccurrence", "look=heat+map"),
    "co-occurrence, one concept": ("cooccurrence", "look=one+concept"),
    "images, distribution": ("images", "view=distribution"),
    "images, pairs": ("images", "view=pairs"),
    "images, copies": ("images", "view=copies"),
    "images, one pair": ("images", "view=one+pair"),
    "runs": ("runs", ""),
}
_COLD, _RERUNS = 3, 5
_PAUSE = 0.5  # seconds: to give back what was kept is no part of a visit
_SESSIONS = 10
_ROUNDS = 4


def measure(sizes: Sizes | None = None) -> list[Row]:
    """All figures; those of the browser only where playwright and Chromium are there."""
    sizes = sizes or Sizes()
    with _lake(sizes) as lake, served(lake) as server:
        _visit_all(server)
        rows = page_rows(server)
        _visit_all(server)  # all caches are filled again
        rows += [click_row(server, sizes), crowd_row(server), *browser_rows(server)]
    what = f"after all of the above, {_SESSIONS} sessions among them"
    return [*rows, Row("memory of the server, GB", server.peak, 1.2, at_least=False, beside=what)]


@contextmanager
def _lake(sizes: Sizes) -> Iterator[str]:
    kept = os.environ.get(FOLDER)
    if kept:
        yield made(Path(kept), sizes)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(f"making a lake of {sizes.n_concepts:,} concepts; {FOLDER} keeps it", file=sys.stderr)
        yield made(Path(folder) / "lake", sizes)


def _visit_all(server: Server) -> None:
    for page, query in PAGES.values():
        with Session(server) as session:
            _sound(session, page, query)


def page_rows(server: Server, pages: Mapping[str, tuple[str, str]] = PAGES) -> list[Row]:
    """Cold and warm server time of every page, with what a rerun sends; the map's size has a bar."""
    rows = []
    for name, (page, query) in pages.items():
        first = []
        for _ in range(_COLD):
            with Session(server) as other:
                other.clear_caches()
                time.sleep(_PAUSE)
            with Session(server) as session:
                first.append(_sound(session, page, query)[0])
        with Session(server) as session:
            _sound(session, page, query)
            again = [_sound(session, page, query) for _ in range(_RERUNS)]
        seconds = statistics.median(took for took, _ in again)
        sent = max(n_bytes for _, n_bytes in again)
        worst = f"slowest of {_COLD} {max(first):.2f}"
        rows.append(Row(f"{name}: cold, s", statistics.median(first), 1.0, at_least=False, beside=worst))
        rows.append(
            Row(
                f"{name}: warm, s", seconds, 0.3, at_least=False, beside=f"a rerun sends {sent / 1e3:,.0f} kB"
            )
        )
        if page == "concept_map":
            rows.append(Row(f"{name}: a rerun, kB", sent / 1e3, 100, at_least=False))
    return rows


def click_row(server: Server, sizes: Sizes) -> Row:
    """Server time of a concept that nobody has asked for yet, its images and heat maps included."""
    steps = range(_RERUNS)
    with Session(server) as session:
        _sound(session, "concept", "")
        took = [_sound(session, "concept", f"concept={sizes.n_concepts // 7 + 11 * k}")[0] for k in steps]
    worst = f"slowest of {len(took)} {max(took):.2f}"
    return Row("click to concept: server, s", statistics.median(took), 1.0, at_least=False, beside=worst)


def crowd_row(server: Server) -> Row:
    """Warm server time while ten sessions ask for a page each at the same moment, round after round."""
    pages = list(PAGES.values())
    took: list[float] = []

    def visit(number: int) -> float:
        with Session(server) as session:
            return _sound(session, *pages[number % len(pages)])[0]

    with ThreadPoolExecutor(_SESSIONS) as pool:
        for turn in range(_ROUNDS):
            took += pool.map(visit, range(3 * turn, 3 * turn + _SESSIONS))
    beside = f"{len(took)} visits, slowest {max(took):.2f}"
    what = f"{_SESSIONS} sessions at once: median, s"
    return Row(what, statistics.median(took), 1.0, at_least=False, beside=beside)


def _sound(session: Session, page: str, query: str) -> tuple[float, int]:
    """Seconds and bytes of a visit. RuntimeError where the page shows an error."""
    visit = session.visit(page, query)
    if visit.errors:
        raise RuntimeError(f"the page {page} shows an error: {visit.errors[0]}")
    return visit.seconds, visit.n_bytes
