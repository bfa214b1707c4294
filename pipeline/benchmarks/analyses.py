"""What do the analyses cost at the published size? Each beside a floor, on synthetic codes and atoms."""

from pipeline.benchmarks import Row


def measure() -> list[Row]:
    """Co-occurrence, datapoints and layout."""
    from pipeline.benchmarks.analyses_cooccurrence import cooccurrence_rows
    from pipeline.benchmarks.analyses_datapoints import datapoint_rows
    from pipeline.benchmarks.analyses_layout import layout_rows

    return [*cooccurrence_rows(), *datapoint_rows(), *layout_rows()]
