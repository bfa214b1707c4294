"""Name concepts from the captions of the real images in which they are strong.

Reads: `energies`, `pairs`, the SAE. Writes: `concepts`: name, evidence words, nearest atoms, group
of near-duplicates, dead or not.
"""

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.energies import energy_matrix
from pipeline.frames import columns_of, list_column
from pipeline.measures.groups import near_duplicates
from pipeline.measures.naming import WORD, Evidence, over_represented
from pipeline.workspace import Workspace
from tables import REAL


def run(space: Workspace) -> str:
    """Name all concepts of the SAE, where that is not done for these images."""
    space.require_encoded()
    settings = space.config.name_concepts
    shard = space.derived_shard(settings.model_dump(), REAL)
    where = {"sae": space.sae}
    if space.store.holds("concepts", where, shard):
        return f"nothing to do: the concepts of {space.sae} are named"
    with space.stage("name", settings.model_dump(), ("energies", "pairs"), ("concepts",)) as run:
        images = space.live_images(REAL)
        energies = energy_matrix(space, REAL, images)
        captions = images.join(space.pairs(), on="pair_id", how="left", maintain_order="left")["caption"]
        evidence, terms = _evidence(space, energies, captions.to_list())
        rows = _rows(space, energies, evidence, terms)
        space.store.replace("concepts", rows, where=where, shard=shard, stage="name", run_id=run.run_id)
        named = rows["name"].count()
        run.log(named=named, dead=rows["dead"].sum())
    return f"{named} of {len(rows)} concepts named"


def _evidence(
    space: Workspace, energies: sparse.csr_array, captions: list[str]
) -> tuple[Evidence, np.ndarray]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    settings = space.config.name_concepts
    counter = CountVectorizer(
        ngram_range=(1, settings.longest),
        binary=True,
        token_pattern=WORD,
    )
    try:
        terms = sparse.csr_array(counter.fit_transform(captions), dtype=np.float64)
    except ValueError:  # scikit-learn's word for captions without any word
        return Evidence(np.empty(0, np.int32), np.empty(0, int), np.empty(0)), np.empty(0, str)
    vocabulary = counter.get_feature_names_out()
    # Only now: a stop word taken out before would make neighbours of the words around it.
    telling = np.array([ENGLISH_STOP_WORDS.isdisjoint(term.split()) for term in vocabulary])
    terms, vocabulary = sparse.csr_array(terms[:, telling]), vocabulary[telling]
    strong = _strong(energies, settings.strong_share)
    found = over_represented(strong, terms, top=settings.n_words, least_images=settings.least_images)
    return found, vocabulary


def _strong(energies: sparse.csr_array, share: float) -> sparse.csr_array:
    """(n_concepts, n_images), 1 in the `share` of a concept's images that have most of its energy."""
    by_concept = sparse.csc_array(energies)
    by_concept.sort_indices()
    strong = by_concept.copy()
    for column in range(by_concept.shape[1]):
        run = slice(by_concept.indptr[column], by_concept.indptr[column + 1])
        values = by_concept.data[run]
        keep = max(1, round(share * len(values))) if len(values) else 0
        flags = np.zeros(len(values))
        flags[np.argsort(-values, kind="stable")[:keep]] = 1
        strong.data[run] = flags
    strong.eliminate_zeros()
    return sparse.csr_array(strong.T)


def nearest_atoms(dictionary: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """For every atom the `top` nearest others by cosine: ids and cosines, (n_concepts, top), best first."""
    unit = dictionary / np.maximum(np.linalg.norm(dictionary, axis=1, keepdims=True), 1e-12)
    top = min(top, len(unit) - 1)
    ids, cosines = [], []
    for start in range(0, len(unit), 1024):
        block = unit[start : start + 1024] @ unit.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        best = np.argsort(-block, axis=1, kind="stable")[:, :top]
        ids.append(best)
        cosines.append(np.take_along_axis(block, best, 1))
    return np.concatenate(ids).astype(np.int32), np.concatenate(cosines).astype(np.float32)


def _rows(
    space: Workspace, energies: sparse.csr_array, evidence: Evidence, terms: np.ndarray
) -> pl.DataFrame:
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
    words = pl.DataFrame(
        {"concept_id": evidence.concept, "word": terms[evidence.term].astype(object), "z": evidence.z},
        schema={"concept_id": pl.Int32, "word": pl.String, "z": pl.Float64},
    )
    words = words.group_by("concept_id", maintain_order=True).agg(
        pl.col("word").alias("words"), pl.col("z").first().alias("confidence")
    )
    frame = pl.DataFrame(
        {
            "concept_id": np.arange(len(dictionary), dtype=np.int32),
            "neighbours": list_column("neighbours", neighbours, pl.Int32),
            "neighbour_cosine": list_column("neighbour_cosine", cosines, pl.Float32),
            "dead": np.diff(sparse.csc_array(energies).indptr) == 0,
        }
    )
    sure = pl.col("confidence") >= settings.least_z
    return (
        frame.join(words, on="concept_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("words").fill_null(pl.lit([], pl.List(pl.String))),
            pl.when(sure).then(pl.col("words").list.first()).alias("name"),
            pl.Series("group", group, pl.Int32),
            pl.lit(space.sae).alias("sae"),
        )
        .select(columns_of("concepts"))
    )
