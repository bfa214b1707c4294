"""Is the SAE core fast, small and right? Speed beside the peers, memory, and planted directions to find."""

from pipeline.benchmarks import Row
from pipeline.benchmarks.sae_planted import as_text, measure_planted, planted_rows
from pipeline.benchmarks.sae_speed import memory_row, speed_rows


def measure() -> list[Row]:
    """All figures of the SAE core; the baseline table of the planted task is printed before them."""
    rows = [*speed_rows(), memory_row()]
    planted = measure_planted()
    print(f"{as_text(planted)}\n")
    return rows + planted_rows(planted)
