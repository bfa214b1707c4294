"""What the page of a concept asks of the prompt probes; cached like `queries`."""

import polars as pl

from dashboard import queries_pictures
from dashboard.access import by_version, store
from tables.schemas import PROBE

THUMBNAIL = 144  # pixels of the longer side
N_IMAGES = 24  # shown at most


@by_version("probes")
def probes(lake: str, sae: str, concept_id: int) -> pl.DataFrame:
    """The probes of one concept, a row of the table per generator, by its name."""
    mine = (pl.col("sae") == sae) & (pl.col("concept_id") == concept_id)
    rows = store(lake).scan("probes").filter(mine).drop("sae", "concept_id", "run_id")
    return rows.sort("generator").collect()


def drawn(row: dict) -> pl.DataFrame:
    """The images of one probe, those with most of the concept first: image_id, prompt, energy."""
    lists = {"image_id": row["image_ids"], "prompt": row["prompts"], "energy": row["energies"]}
    kinds = {"image_id": pl.Int64, "prompt": pl.String, "energy": pl.Float32}
    return pl.DataFrame(lists, schema=kinds).sort("energy", descending=True, maintain_order=True)


def small_files(lake: str, generator: str, image_ids: list[int]) -> dict[int, bytes]:
    """Thumbnails of images that were drawn for probes; those that cannot be read are left out."""
    return queries_pictures.thumbnails(lake, generator + PROBE, image_ids, THUMBNAIL)
