"""`python -m pipeline benchmark NAME`: figures, each with a floor or peer beside it, a bar and a verdict."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from pipeline.sources.registry import find

# Name: the module whose `measure()` gives the rows.
BENCHMARKS = {
    "analyses": "pipeline.benchmarks.analyses",
    "compare": "pipeline.benchmarks.compare",
    "dashboard": "pipeline.benchmarks.dashboard",
    "planted": "pipeline.benchmarks.planted",
    "sae": "pipeline.benchmarks.sae",
    "world": "pipeline.benchmarks.world",
}
INTO_LAKE = {"planted"}  # these keep their results in a table


@dataclass(frozen=True)
class Row:
    """One figure held against its bar. `beside` is the floor or peer measured in the same run, if any."""

    what: str
    figure: float
    bar: float
    at_least: bool = True  # whether the figure must reach the bar, or must not exceed it
    beside: str = ""

    @property
    def holds(self) -> bool:
        """Whether the bar is met; a figure that is not a number never is."""
        return self.figure >= self.bar if self.at_least else self.figure <= self.bar


def run_benchmark(name: str, json_file: Path | None = None, lake: str = "lake") -> bool:
    """Measure and print one benchmark; True where every bar holds."""
    measure: Callable[..., list[Row]] = import_module(find(BENCHMARKS, name, "benchmark")).measure
    rows = measure(lake) if name in INTO_LAKE else measure()
    print(as_table(rows))
    if json_file:
        json_file.write_text(
            json.dumps([asdict(row) | {"holds": row.holds} for row in rows], indent=2) + "\n"
        )
    return all(row.holds for row in rows)


def as_table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    wide = max(len(row.what) for row in rows) + 2
    lines = [f"{'figure':<{wide}}{'measured':>10}{'bar':>12}  {'verdict':<9}beside"]
    for row in rows:
        bar = f"{'>=' if row.at_least else '<='} {row.bar:g}"
        verdict = "holds" if row.holds else "FAILS"
        lines.append(f"{row.what:<{wide}}{row.figure:>10.3f}{bar:>12}  {verdict:<9}{row.beside}")
    return "\n".join(lines)
