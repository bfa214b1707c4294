"""Say what would help each concept that a generator draws too little or too much.

Reads: `energies`, `pairs`, `concepts`, `name_edits`, `energy_differences`. Writes for each generator
`advice`: which suppressed concepts are rarely seen, which seen but badly captioned, and which seen and
captioned but not drawn; which exaggerated ones are drawn unasked, and which asked for and overdrawn. A
concept whose group of near-duplicates has another label than itself gets none, for it was only split.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import sparse

from pipeline.config import fingerprint
from pipeline.energies import Sides, sides_of
from pipeline.frames import columns_of, list_column
from pipeline.measures.advice import Mentions, advise, count_mentions, widest
from pipeline.measures.naming import mentions, strong_images
from pipeline.workspace import Workspace
from tables import REAL
from tables.edits import named_concepts

_READS = ("energies", "pairs", "concepts", "name_edits", "energy_differences")


def run(space: Workspace) -> str:
    """Advise on every generator whose advice is missing or stands on other results."""
    config, generators = space.config, space.sources[1:]
    known = set(_differences(space).select("generator").unique().collect()["generator"])
    for name in generators:
        if name not in known:
            raise ValueError(f"images of {name!r} are not compared yet; run the stage compare first.")
    concepts = named_concepts(space.store, space.sae).collect()
    if concepts.is_empty():
        raise ValueError(f"the concepts of {space.sae} have no names yet; run the stage name first.")
    parts = [part.model_dump() for part in (config.advice, config.compare, config.name_concepts)]
    how = fingerprint(parts, concepts.select("name", "words").rows())
    shards = {name: space.derived_shard(how, REAL, name) for name in generators}
    where = {name: {"sae": space.sae, "generator": name} for name in generators}
    pending = [name for name in generators if not space.store.holds("advice", where[name], shards[name])]
    if not pending:
        return f"nothing to do: there is advice on {', '.join(generators)}"
    with space.stage("advise", config.advice.model_dump(), _READS, ("advice",)) as run:
        for name in pending:
            rows = _rows(space, name)
            at = {"shard": shards[name], "stage": "advise", "run_id": run.run_id}
            space.store.replace("advice", rows, where=where[name], **at)
            counts = dict(rows["advice"].value_counts().iter_rows())
            run.log({f"{name}_{advice.replace(' ', '_')}": n for advice, n in counts.items()})
    return f"advice on {', '.join(pending)}"


def _differences(space: Workspace) -> pl.LazyFrame:
    return space.store.scan("energy_differences").filter(pl.col("sae") == space.sae)


@dataclass(frozen=True)
class _Case:
    """The concepts of one label: how strong images and captions go together, and what to look at."""

    mentions: Mentions
    pairs: list[np.ndarray]  # ids
    advice: list[str]


def _rows(space: Workspace, generator: str) -> pl.DataFrame:
    rows = _differences(space).filter(
        (pl.col("generator") == generator)
        & pl.col("label").is_in(["suppressed", "exaggerated"])
        & (pl.col("label") == pl.col("group_label"))
    )
    names = named_concepts(space.store, space.sae).select("concept_id", "name", "words")
    flagged = rows.join(names, on="concept_id", how="left").sort("concept_id").collect()
    own = pl.col("words").list.head(space.config.advice.n_words)
    heard = pl.when(pl.col("name").is_null()).then(own).otherwise(pl.concat_list(own, "name"))
    flagged = flagged.with_columns(heard.list.unique(maintain_order=True).alias("words"))
    sides = sides_of(space, generator)
    done = [_advised(space, sides, part) for part in flagged.partition_by("label", maintain_order=True)]
    every = (
        pl.concat(done)
        if done
        else pl.DataFrame(schema=space.store.scan("advice").drop("run_id").collect_schema())
    )
    return every.sort("concept_id")


def _advised(space: Workspace, sides: Sides, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `advice` for the concepts of one label."""
    case = _case(space, sides, rows)
    form = space.config.compare.form
    table = rows.with_columns(
        pl.Series("advice", case.advice, dtype=pl.String),
        pl.col(form).alias("delta"),
        (pl.col("n_fired_real") / pl.col("n_pairs")).alias("prevalence_real"),
        (pl.col("n_fired_gen") / pl.col("n_pairs")).alias("prevalence_gen"),
        pl.Series("n_strong", case.mentions.n_strong, dtype=pl.Int64),
        pl.Series("n_mentioned", case.mentions.n_mentioned, dtype=pl.Int64),
        list_column("pair_ids", case.pairs, pl.Int64),
    )
    reasons = [reason(row) for row in table.iter_rows(named=True)]
    return table.with_columns(pl.Series("reason", reasons, dtype=pl.String)).select(columns_of("advice"))


def _case(space: Workspace, sides: Sides, rows: pl.DataFrame) -> _Case:
    settings, how = space.config.advice, space.config.name_concepts
    ids, suppressed = rows["concept_id"].to_numpy(), rows["label"][0] == "suppressed"
    real, gen = sides.real[:, ids], sides.gen[:, ids]
    said = _said(sides.pairs["caption"].to_list(), rows["words"].to_list())
    strong = strong_images(real if suppressed else gen, how.strong_share, how.least_strong)
    found = count_mentions(strong, said)
    advice = advise(
        np.full(len(ids), suppressed),
        (rows["n_fired_real"] / rows["n_pairs"]).to_numpy(),
        found.share,
        rare_below=settings.rare_below,
        mentioned_below=settings.mentioned_below,
    )
    silent = np.isin(advice, ["badly captioned", "drawn unasked"])
    preferred = said.toarray().astype(bool) ^ silent
    pairs = sides.pairs["pair_id"].to_numpy()
    excess = sparse.csc_array(real - gen if suppressed else gen - real)
    worst = widest(excess, sparse.csc_array(preferred), settings.n_pairs)
    return _Case(found, [pairs[index] for index in worst], list(advice))


def _said(captions: list[str], words: list[list[str]]) -> sparse.csr_array:
    """Which caption says one of a concept's words, (n_captions, n_concepts) of 0 and 1."""
    terms = sorted({word for of_concept in words for word in of_concept})
    column = {term: index for index, term in enumerate(terms)}
    places = [(column[word], concept) for concept, of_concept in enumerate(words) for word in of_concept]
    rows, columns = np.array(places, int).reshape(-1, 2).T
    has = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(terms), len(words)))
    return sparse.csr_array((mentions(captions, terms) @ has) > 0, dtype=np.float64)


def reason(row: dict) -> str:
    """The numbers behind a row of `advice`, in a sentence."""
    words = ", ".join(row["words"])
    seen = (
        f"fires in {row['n_fired_real']:,} of {row['n_pairs']:,} real images ({row['prevalence_real']:.1%})"
    )
    says = f"captions of {row['n_mentioned']:,} of its {row['n_strong']:,} strongest"
    mention = f"mention it ({words})" if words else "mention it, for no word goes with it"
    drawn = f"generated images have {_times(row['energy_gen'], row['energy_real'])} energy of real ones"
    match row["advice"]:
        case "rarely seen":
            return f"It {seen}; {drawn}: more samples would help."
        case "badly captioned":
            return f"It {seen}, but {says} real images {mention}; {drawn}: better captions would help."
        case "not drawn":
            return f"It {seen} and {says} real images {mention}, yet {drawn}: the generator does not draw it."
        case "drawn unasked":
            return f"It {seen}; {drawn}, and {says} generated images {mention}: it is drawn unasked."
    return f"It {seen}; {drawn}, and {says} generated images {mention}: it is asked for and overdrawn."


def _times(gen: float, real: float) -> str:
    return f"{gen / real:.2g} times the" if real > 0 else "all the"
