"""What the concept map asks of a lake: files of points that the browser keeps; cached like `queries`."""

import polars as pl

from dashboard import map_labels, maps, queries, rankings
from dashboard.access import by_version, store
from dashboard.rankings import Narrowing
from dashboard.theme import Mode

_TABLES = ("concepts", "name_edits", "layout", "regions", "concept_stats", "energy_differences")


def on_map(lake: str, sae: str, generator: str | None) -> pl.DataFrame:
    """`queries.compared` of the concepts that have a position, in the map's coordinates."""
    return maps.placed(queries.compared(lake, sae, generator))


@by_version(*_TABLES, max_entries=12)
def points(
    lake: str,
    sae: str,
    generator: str | None,
    form: str,
    mode: Mode,
    look: tuple[str, str],
    narrowing: Narrowing,
    shown_of: str | None,
) -> bytes:
    """The points of one view as JSON (`maps.points`); `look` is what colour and size go by.

    The concepts shown are those that pass `narrowing` for the generator `shown_of`.
    """
    frame = on_map(lake, sae, generator)
    if narrowing != Narrowing():
        passing = rankings.narrowed(on_map(lake, sae, shown_of), narrowing)["concept_id"]
        frame = frame.filter(pl.col("concept_id").is_in(passing.to_list()))
    return maps.points(frame, *look, form, mode)


@by_version("layout", max_entries=4)
def ghosts(lake: str, sae: str) -> bytes:
    """Where all concepts are, as JSON."""
    return maps.ghosts(on_map(lake, sae, None))


@by_version("layout", "regions", max_entries=4)
def labels(lake: str, sae: str) -> bytes:
    """The names of regions and from which zoom on they are shown, as JSON."""
    return map_labels.region_labels(on_map(lake, sae, None)).write_json().encode()


@by_version("map_clusters")
def clusters(lake: str, sae: str, generator: str) -> pl.DataFrame:
    """How far suppressed and exaggerated concepts lie together by the cosine of their atoms, with chance."""
    mine = (pl.col("sae") == sae) & (pl.col("generator") == generator) & (pl.col("space") == "atoms")
    kinds = pl.col("kind").is_in(["suppressed", "exaggerated"]) & (pl.col("n_concepts") > 1)
    rows = store(lake).scan("map_clusters").filter(mine & kinds).sort("kind", descending=True)
    return rows.select("kind", "n_concepts", "agreement", "shuffled", "low", "high").collect()
