"""Lay the concepts out on a map: UMAP of the dictionary's atoms by cosine, and what can be read off it.

Reads: the SAE, `concepts`, `name_edits`, `energy_differences`. Writes: `layout`, the same map for all
generators (dead atoms too, so that a concept which comes alive has its place); `regions`, with words of their
concepts; for each compared generator `map_clusters`, a test whether its blindspots lie together. Where atoms
were added to the same SAE, the old points stay. A new name changes the words of regions and moves nothing.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl

from pipeline.config import fingerprint
from pipeline.frames import columns_of, schema_of
from pipeline.measures.layout import place_beside, umap_positions
from pipeline.measures.regions import (
    find_regions,
    nearest_points,
    neighbour_agreement,
    prevalence_strata,
    region_words,
)
from pipeline.workspace import Workspace
from tables import REAL
from tables.edits import named_concepts
from tracking.stage import Stage

_READS = ("concepts", "name_edits", "energy_differences")
_WRITES = ("layout", "regions", "map_clusters")
_WORDS_PER_CONCEPT = 3  # of its evidence words, that speak for its region


def run(space: Workspace) -> str:
    """Make the map, its words and its tests, whatever of them is missing or stands on something else."""
    if not (space.sae_folder / "cfg.json").is_file():
        raise ValueError(f"the SAE {space.sae} is not trained yet; run the stage train-sae first.")
    if _concepts(space).is_empty():
        raise ValueError(f"the concepts of {space.sae} have no names yet; run the stage name first.")
    compared = _compared(space)
    waiting = [name for name in space.sources[1:] if name not in compared]
    later = f"; not compared yet, so not tested: {', '.join(waiting)}" if waiting else ""
    pending = [job for job in _jobs(space, compared) if not space.store.holds(*job[:3])]
    if not pending:
        return f"nothing to do: {space.sae} has its map{later}"
    with space.stage("layout", space.config.layout.model_dump(), _READS, _WRITES) as run:
        for table, where, shard, make in pending:
            rows = make()
            space.store.replace(table, rows, where=where, shard=shard, stage="layout", run_id=run.run_id)
            if table == "map_clusters":
                _log(run, rows)
    layout = _stored(space)
    return f"{len(layout)} concepts on the map, {layout['region'].drop_nulls().n_unique()} regions{later}"


def _jobs(space: Workspace, compared: list[str]) -> list[tuple[str, dict, str, Callable[[], pl.DataFrame]]]:
    """All that the stage writes, in order: table, the rows to replace, their shard, and how they are made."""
    config, where = space.config, {"sae": space.sae}
    place = _place_print(space, space.n_concepts())
    words = fingerprint(place, config.layout.n_region_words, _concepts(space).select("name", "words").rows())
    how = (place, *(part.model_dump() for part in (config.layout, config.compare, config.name_concepts)))
    return [
        ("layout", where, place, partial(_layout_rows, space)),
        ("regions", where, words, partial(_region_rows, space)),
        *(
            (
                "map_clusters",
                {**where, "generator": name},
                space.derived_shard(how, REAL, name),
                partial(_cluster_rows, space, name),
            )
            for name in compared
        ),
    ]


def _place_print(space: Workspace, n_concepts: int) -> str:
    """Stands for a map of these atoms. The shuffles and the words have no part in it."""
    settings = space.config.layout.model_dump(exclude={"n_shuffles", "n_region_words"})
    return fingerprint(settings, space.sae, n_concepts)


def _concepts(space: Workspace) -> pl.DataFrame:
    return named_concepts(space.store, space.sae).collect()


def _stored(space: Workspace) -> pl.DataFrame:
    return space.store.scan("layout").filter(pl.col("sae") == space.sae).sort("concept_id").collect()


def _compared(space: Workspace) -> list[str]:
    there = space.store.scan("energy_differences").filter(pl.col("sae") == space.sae).select("generator")
    known = set(there.unique().collect()["generator"])
    return [name for name in space.sources[1:] if name in known]


def _layout_rows(space: Workspace) -> pl.DataFrame:
    """A new map, or the map that is there with the added atoms beside their nearest old ones."""
    from sae_models import load

    settings, old = space.config.layout, _stored(space)
    dictionary = load(space.sae_folder).dictionary().detach().numpy()
    n_old = len(old)
    grown = 0 < n_old < len(dictionary) and space.store.holds(
        "layout", {"sae": space.sae}, _place_print(space, n_old)
    )
    if grown:
        positions = old.select("x", "y").to_numpy()
        region = old["region"].fill_null(-1).to_numpy()
        added = place_beside(dictionary[n_old:], dictionary[:n_old], positions)
        region = np.append(region, region[nearest_points(positions, 1, of=added)[:, 0]])
        positions = np.concatenate([positions, added])
    else:
        positions = umap_positions(
            dictionary,
            n_neighbors=settings.n_neighbors,
            min_dist=settings.min_dist,
            n_epochs=settings.n_epochs,
            seed=settings.seed,
        )
        region = find_regions(positions, settings.least_region)
    rows = pl.DataFrame(
        {
            "concept_id": np.arange(len(positions), dtype=np.int32),
            "x": positions[:, 0],
            "y": positions[:, 1],
            "region": pl.Series(region, dtype=pl.Int32).replace(-1, None),
        }
    )
    return rows.with_columns(pl.lit(space.sae).alias("sae")).select(columns_of("layout"))


def _region_rows(space: Workspace) -> pl.DataFrame:
    layout, concepts = _stored(space), _concepts(space)
    n_words = space.config.layout.n_region_words
    own = pl.col("words").list.head(_WORDS_PER_CONCEPT)
    said = concepts.select(pl.when(pl.col("name").is_null()).then(own).otherwise(pl.concat_list(own, "name")))
    region = layout["region"].fill_null(-1).to_numpy()
    words = region_words(region, said.to_series().to_list(), n_words)
    rows = (
        layout.drop_nulls("region")
        .group_by("region")
        .agg(pl.len().cast(pl.Int64).alias("n_concepts"), pl.col("x").median(), pl.col("y").median())
    )
    return (
        rows.sort("region")
        .with_columns(pl.Series("words", words, dtype=pl.List(pl.String)), pl.lit(space.sae).alias("sae"))
        .with_columns(
            pl.when(pl.col("words").list.len() > 0).then(pl.col("words").list.join(", ")).alias("name")
        )
        .select(columns_of("regions"))
    )


def _cluster_rows(space: Workspace, generator: str) -> pl.DataFrame:
    """Tests over the tested concepts. A concept's near-duplicates do not count as its neighbours."""
    settings, concepts = space.config.layout, _concepts(space)
    rows = (
        space.store.scan("energy_differences")
        .filter((pl.col("sae") == space.sae) & (pl.col("generator") == generator) & pl.col("q").is_not_null())
        .sort("concept_id")
        .collect()
    )
    ids = rows["concept_id"].to_numpy()
    group = concepts["group"].to_numpy()
    strata = prevalence_strata(rows["n_fired_real"].to_numpy() + rows["n_fired_gen"].to_numpy())
    kinds = {label: (rows["label"] == label).to_numpy() for label in ("suppressed", "exaggerated")}
    kinds["less"] = (rows["difference"] < 0).to_numpy()
    test = partial(neighbour_agreement, strata=strata, n_shuffles=settings.n_shuffles, seed=settings.seed)
    found = []
    for of, neighbours in _neighbours(_stored(space), concepts, ids, settings.n_neighbors).items():
        usable = (neighbours >= 0) & (group[ids][neighbours] != group[ids][:, None])
        for kind, has in kinds.items():
            agreement = test(neighbours, has, usable=usable)
            if agreement is not None:
                found.append((generator, of, kind, int(has.sum()), *vars(agreement).values()))
    schema = {
        name: kind for name, kind in schema_of("map_clusters").items() if name not in ("sae", "n_shuffles")
    }
    return (
        pl.DataFrame(found, schema=schema, orient="row")
        .with_columns(
            pl.lit(space.sae).alias("sae"), pl.lit(settings.n_shuffles, pl.Int64).alias("n_shuffles")
        )
        .select(columns_of("map_clusters"))
    )


def _neighbours(
    layout: pl.DataFrame, concepts: pl.DataFrame, ids: np.ndarray, top: int
) -> dict[str, np.ndarray]:
    """Places in `ids` of the neighbours of each: on the map, and by cosine, -1 where one was not tested."""
    row_of = np.full(len(concepts), -1)
    row_of[ids] = np.arange(len(ids))
    positions = layout.select("x", "y").to_numpy()[ids]
    atoms = np.stack(concepts["neighbours"].gather(ids).to_list()) if len(ids) else np.empty((0, 0), int)
    return {"map": nearest_points(positions, top) if len(ids) else atoms, "atoms": row_of[atoms.astype(int)]}


def _log(run: Stage, rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        names = f"{row['generator']}_{row['space']}_{row['kind']}"
        run.log({f"{names}_agreement": row["agreement"], f"{names}_p": row["p"]})
