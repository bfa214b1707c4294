"""Name concepts from the captions of the real images in which they are strong.

Reads: `energies`, `pairs`, `name_edits`, the SAE; `images` where a vocabulary and a text tower are given.
Writes: `concepts`: name, evidence words, nearest atoms, group of near-duplicates, dead or not. A user's name
wins over the found one.
"""

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.energies import energy_matrix
from pipeline.frames import columns_of, list_column
from pipeline.measures.groups import near_duplicates
from pipeline.measures.layout import nearest_atoms
from pipeline.measures.naming import Evidence, evidence_words
from pipeline.vocabulary import phrase_names, read_vocabulary
from pipeline.workspace import Workspace
from tables import REAL
from tables.edits import edited_names, edits_print, with_edits

_READS = ("energies", "pairs", "images", "name_edits")


def run(space: Workspace) -> str:
    """Name all concepts of the SAE, where that is not done for these images and edits."""
    space.require_encoded()
    settings = space.config.name_concepts
    phrases = read_vocabulary(settings.vocabulary) if settings.vocabulary else []
    how = (settings.model_dump(), space.n_concepts(), phrases, edits_print(space.store, space.sae))
    shard, where = space.derived_shard(how, REAL), {"sae": space.sae}
    if space.store.holds("concepts", where, shard):
        return f"nothing to do: the concepts of {space.sae} are named"
    with space.stage("name", settings.model_dump(), _READS, ("concepts",)) as run:
        images = space.live_images(REAL)
        energies = energy_matrix(space, REAL, images)
        pairs = images.join(space.pairs(), on="pair_id", how="left", maintain_order="left")
        names = _from_captions(space, energies, pairs["caption"].to_list())
        if phrases:
            names = _preferring(phrase_names(space, energies, images, phrases), names)
        rows = _rows(space, energies, names)
        space.store.replace("concepts", rows, where=where, shard=shard, stage="name", run_id=run.run_id)
        named = rows["name"].count()
        run.log(named=named, dead=rows["dead"].sum())
    silent = (
        "" if (pairs["caption"].str.strip_chars() != "").any() else "; no image has a caption to name them by"
    )
    return f"{named} of {len(rows)} concepts named{silent}"


def _from_captions(space: Workspace, energies: sparse.csr_array, captions: list[str]) -> pl.DataFrame:
    """concept_id, words, found_name, confidence of the concepts with evidence."""
    settings = space.config.name_concepts
    evidence, terms = evidence_words(
        energies,
        captions,
        strong_share=settings.strong_share,
        least_strong=settings.least_strong,
        least_images=settings.least_images,
        longest=settings.longest,
        n_words=settings.n_words,
        level=settings.level,
    )
    return _word_rows(evidence, terms)


def _word_rows(evidence: Evidence, terms: np.ndarray) -> pl.DataFrame:
    words = pl.DataFrame(
        {"concept_id": evidence.concept, "word": terms[evidence.term], "z": evidence.z},
        schema={"concept_id": pl.Int32, "word": pl.String, "z": pl.Float64},
    )
    return words.group_by("concept_id", maintain_order=True).agg(
        pl.col("word").alias("words"),
        pl.col("word").first().alias("found_name"),
        pl.col("z").first().alias("confidence"),
    )


def _preferring(fitting: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Names with those of a vocabulary, concept_id, found_name and confidence, put before the captions'."""
    both = names.join(fitting, on="concept_id", how="full", coalesce=True, suffix="_fitting")
    best = [pl.coalesce(f"{name}_fitting", name).alias(name) for name in ("found_name", "confidence")]
    return both.select("concept_id", "words", *best)


def _rows(space: Workspace, energies: sparse.csr_array, names: pl.DataFrame) -> pl.DataFrame:
    from sae_models import load

    settings = space.config.name_concepts
    dictionary = load(space.sae_folder).dictionary().detach().numpy()
    neighbours, cosines = nearest_atoms(dictionary, settings.n_neighbours)
    group = near_duplicates(
        neighbours,
        cosines,
        energies,
        least_cosine=settings.least_cosine,
        same_cosine=settings.same_cosine,
        least_overlap=settings.least_overlap,
    )
    frame = pl.DataFrame(
        {
            "concept_id": np.arange(len(dictionary), dtype=np.int32),
            "neighbours": list_column("neighbours", neighbours, pl.Int32),
            "neighbour_cosine": list_column("neighbour_cosine", cosines, pl.Float32),
            "dead": np.diff(sparse.csc_array(energies).indptr) == 0,
        }
    ).join(names, on="concept_id", how="left", maintain_order="left")
    return (
        with_edits(frame, edited_names(space.store, space.sae))
        .with_columns(
            pl.col("words").fill_null(pl.lit([], pl.List(pl.String))),
            pl.Series("group", group, pl.Int32),
            pl.lit(space.sae).alias("sae"),
        )
        .select(columns_of("concepts"))
        .sort("concept_id")
        .collect()
    )
