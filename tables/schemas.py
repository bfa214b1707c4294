"""The contract of the lakehouse: every table, its columns, key, partitions and writing stage.

A row of any table carries `run_id`, the MLflow run that wrote it. `source` is `real` or a generator's
name. Column types are restricted to those that Delta Lake keeps exactly (no unsigned integers, no
half floats, no fixed-size arrays).
"""

import hashlib
from dataclasses import dataclass

import polars as pl

REAL = "real"
OK = "ok"
PROBE = "@probe"  # ends dataset and source of images that were drawn for prompt probes and belong to no pair

# Labels of a concept for one generator, METHOD: thresholds on the energy difference plus evidence.
LABELS = ("suppressed", "exaggerated", "aligned", "uncertain")


@dataclass(frozen=True)
class Table:
    """One table of the lake. `key` identifies a row; `writers` are the only stages that may write it."""

    name: str
    row: str
    columns: dict[str, pl.DataType]
    key: tuple[str, ...]
    partitions: tuple[str, ...]
    writers: tuple[str, ...]
    nullable: frozenset[str] = frozenset()


def _table(
    name: str,
    row: str,
    columns: dict,
    key: str,
    partitions: str,
    writers: str,
    nullable: str = "",
) -> Table:
    typed = {name: dtype if isinstance(dtype, pl.DataType) else dtype() for name, dtype in columns.items()}
    return Table(
        name=name,
        row=row,
        columns={**typed, "run_id": pl.String()},
        key=tuple(key.split()),
        partitions=tuple(partitions.split()),
        writers=tuple(writers.split()),
        nullable=frozenset(nullable.split()),
    )


I32, I64, F32, F64, TEXT = pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _table(
            "pairs",
            "a caption and where its real image came from",
            # status: ok, or what was wrong with the row (error says it in a sentence)
            {"dataset": TEXT, "pair_id": I64, "caption": TEXT, "uri": TEXT, "status": TEXT, "error": TEXT},
            key="dataset pair_id",
            partitions="dataset",
            writers="sample",
            nullable="uri error",
        ),
        _table(
            "images",
            "one image, its encoded bytes inside",
            {
                "dataset": TEXT,
                "source": TEXT,
                "image_id": I64,
                "pair_id": I64,  # of a prompt probe: the number of the image, from 0
                "seed_index": I32,  # 0 for real images, 0..n_seeds-1 for generated ones
                "seed": I64,  # the generator's random seed; null where the image was not drawn by us
                "image": pl.Binary,  # PNG, JPEG or WebP bytes; null unless status is ok
                "codec": TEXT,
                "width": I32,  # pixels
                "height": I32,  # pixels
                "sha256": TEXT,
                "status": TEXT,
                "error": TEXT,
            },
            key="image_id",
            partitions="dataset source",
            writers="sample probe generate",
            nullable="seed image codec width height sha256 error",
        ),
        _table(
            "codes",
            "the sparse codes of one image, as parallel lists over its nonzeros",
            {
                "sae": TEXT,
                "source": TEXT,
                "image_id": I64,
                "pair_id": I64,
                "n_tokens": I32,  # CLS + registers + patches
                "n_prefix": I32,  # tokens before the first patch
                "token": pl.List(I32),
                "concept": pl.List(I32),
                "activation": pl.List(F32),  # > 0
            },
            key="sae image_id",
            partitions="sae source",
            writers="encode",
        ),
        _table(
            "energies",
            "one concept that fires in one image",
            {
                "sae": TEXT,
                "source": TEXT,
                "concept_id": I32,
                "image_id": I64,
                "pair_id": I64,
                "energy": F32,  # sum of the concept's codes over the image's tokens, > 0
                "peak": F32,  # largest of these codes
                "peak_token": I32,
            },
            key="sae image_id concept_id",
            partitions="sae source",
            writers="encode",
        ),
        _table(
            "embeddings",
            "the image as a whole, in one vector",
            {
                "sae": TEXT,
                "source": TEXT,
                "image_id": I64,
                "pair_id": I64,
                "embedding": pl.List(F32),  # the backbone's CLS token; mean of all tokens where it has none
            },
            key="sae image_id",
            partitions="sae source",
            writers="encode",
        ),
        _table(
            "concept_stats",
            "one concept in one image set",
            {
                "sae": TEXT,
                "source": TEXT,
                "concept_id": I32,
                "mean_energy": F64,  # E_k, mean over images
                "variance": F64,  # of the per-image energy, unbiased
                "prevalence": F64,  # share of images in which it fires, 0 to 1
                "n_images": I64,
            },
            key="sae source concept_id",
            partitions="sae",
            writers="compare",
        ),
        _table(
            "energy_differences",
            "one concept for one generator, generated against real over the same pairs",
            {
                "sae": TEXT,
                "generator": TEXT,
                "concept_id": I32,
                "n_pairs": I64,
                "n_fired_real": I64,  # pairs in which the concept fires on that side
                "n_fired_gen": I64,
                "energy_real": F64,
                "energy_gen": F64,
                "difference": F64,  # energy_gen - energy_real; negative: suppressed
                "absolute": F64,  # sigmoid(difference / T), 0.5 when aligned
                "relative": F64,  # sigmoid(rel / T), 0.5 when aligned
                "ratio": F64,  # energy_gen / (energy_gen + energy_real), 0.5 when aligned
                "form": TEXT,  # the form that low, high and label speak of
                "low": F64,  # 95% interval of the difference in that form
                "high": F64,
                "difference_low": F64,  # of `difference`, which carries the absolute form
                "difference_high": F64,
                "ratio_low": F64,  # of `ratio`, which carries the relative form as well
                "ratio_high": F64,
                "p": F64,  # two-sided sign-flip p-value over pairs
                "q": F64,  # Benjamini-Hochberg over the tested concepts
                "label": TEXT,
                "group": I32,  # of near-duplicate concepts: the id of its leader
                "group_delta": F64,  # difference of the group's summed energies, in `form`
                "group_low": F64,
                "group_high": F64,
                "group_q": F64,
                "group_label": TEXT,
            },
            key="sae generator concept_id",
            partitions="sae",
            writers="compare",
            # null: the concept fired on neither side (forms, interval), or was not tested (q)
            nullable="absolute relative ratio low high ratio_low ratio_high q"
            " group_delta group_low group_high group_q",
        ),
        _table(
            "nulls",
            "one bin of the energy differences that are seen when nothing differs",
            {
                "sae": TEXT,
                "generator": TEXT,  # over whose pairs
                "kind": TEXT,  # real: halves of the real images; self: two drawings of each caption
                "form": TEXT,
                "bin": I32,
                "low_edge": F64,  # of the energy difference, 0 to 1
                "high_edge": F64,
                "n_concepts": F64,  # mean over splits
                "low": F64,  # 95% of the splits lie between these
                "high": F64,
            },
            key="sae generator kind form bin",
            partitions="sae",
            writers="compare",
        ),
        _table(
            "distributions",
            "one figure of all energy differences of a generator",
            {
                "sae": TEXT,
                "generator": TEXT,
                "form": TEXT,
                "statistic": TEXT,  # skewness, median, spread, share_*, blindspots_*
                "value": F64,
                "low": F64,
                "high": F64,
            },
            key="sae generator form statistic",
            partitions="sae",
            writers="compare",
        ),
        _table(
            "funnel",
            "energy differences of the concepts of one range of prevalence",
            {
                "sae": TEXT,
                "generator": TEXT,
                "form": TEXT,
                "bin": I32,
                "prevalence_low": F64,  # share of pairs, 0 to 1
                "prevalence_high": F64,
                "n_concepts": I64,
                "median": F64,
                "null_low": F64,  # between these lie 95% of the differences that noise alone makes
                "null_high": F64,
            },
            key="sae generator form bin",
            partitions="sae",
            writers="compare",
        ),
        _table(
            "agreements",
            "one figure of how far two generators share their differences",
            {
                "sae": TEXT,
                "generator_a": TEXT,
                "generator_b": TEXT,
                "statistic": TEXT,  # pearson, spearman; jaccard_suppressed, jaccard_exaggerated
                "value": F64,
                "low": F64,
                "high": F64,
            },
            key="sae generator_a generator_b statistic",
            partitions="sae",
            writers="compare",
            nullable="low high",
        ),
        _table(
            "sae_agreements",
            "how far two SAEs, perhaps on two backbones, agree on a generator",
            {
                "sae": TEXT,
                "other_sae": TEXT,
                "generator": TEXT,
                "n_matched": I64,  # concepts with a counterpart, by correlation over the real images
                "correlation": F64,  # mean over them
                "spearman": F64,  # of their energy differences, ratio form
                "low": F64,
                "high": F64,
                "same_label": F64,  # share of them with the same label, 0 to 1
            },
            key="sae other_sae generator",
            partitions="sae",
            writers="compare",
        ),
        _table(
            "caption_differences",
            "one named concept for one generator, where captions mention it and where they do not",
            {
                "sae": TEXT,
                "generator": TEXT,
                "concept_id": I32,
                "word": TEXT,
                "form": TEXT,
                "n_mentioned": I64,  # pairs
                "mentioned": F64,  # energy difference among them
                "mentioned_low": F64,
                "mentioned_high": F64,
                "mentioned_p": F64,
                "n_rest": I64,
                "rest": F64,
                "rest_low": F64,
                "rest_high": F64,
                "rest_p": F64,
            },
            key="sae generator concept_id",
            partitions="sae",
            writers="compare",
            nullable="mentioned mentioned_low mentioned_high rest rest_low rest_high",
        ),
        _table(
            "planted",
            "what one rule made of one generator whose fault is known",
            {
                "seed": I64,
                "family": TEXT,
                "value": TEXT,
                "direction": TEXT,  # suppressed: replaced where asked for; exaggerated: put in unasked
                "rate": I32,  # percent of the pictures that can have the fault
                "n_pairs": I64,
                "rule": TEXT,
                "found": pl.Boolean,  # at least one of the value's concepts, with the right sign
                "n_positive": I64,  # concepts that belong to the value
                "n_hits": I64,  # of them found
                "n_negative": I64,  # concepts of values of other families that the fault leaves as they were
                "n_false": I64,  # of them found
                "n_touched": I64,  # concepts of values of other families that the fault changes as well
                "n_side": I64,  # of them found
                "n_side_right": I64,  # of these with the sign of that change
                "auroc": F64,  # of the rule's ranking of the one above the other; null without one of them
            },
            key="seed family value direction rate n_pairs rule",
            partitions="",
            writers="benchmark",
            nullable="auroc",
        ),
        _table(
            "top_images",
            "one of the best images of a concept on one side",
            {
                "sae": TEXT,
                "source": TEXT,
                "concept_id": I32,
                "rank": I32,  # 0 is the highest energy
                "image_id": I64,
                "pair_id": I64,
                "twin_image_id": I64,  # the real image of the same pair; null on the real side
                "energy": F32,
                "heatmap": pl.List(F32),  # the concept's code on each patch, row by row
                "grid_height": I32,
                "grid_width": I32,
            },
            key="sae source concept_id rank",
            partitions="sae source",
            writers="compare",
            nullable="twin_image_id",
        ),
        _table(
            "cooccurrences",
            "one pair of concepts (concept_a < concept_b) in one image set",
            {
                "sae": TEXT,
                "source": TEXT,
                "concept_a": I32,
                "concept_b": I32,
                "kept": TEXT,  # real: among the best partners in the real images; generated: only in this set
                "n_images": I64,  # images in which both fire
                "n_a": I64,  # images in which each of them fires; n_images / n_a is P(b | a)
                "n_b": I64,
                "strength": F64,  # sum over tokens of z_a z_b, mean over images
                "lift": F64,  # P(a and b) / (P(a) P(b)) over images, 1 is chance
                "correlation": F64,  # of the two presences over images, -1 to 1, 0 is chance
                "real_n_images": I64,  # the same four figures in the real images
                "real_n_a": I64,
                "real_n_b": I64,
                "real_strength": F64,
                # Change of the share of the rarer concept's images that have both, how often each is drawn
                # apart; -1 to 1, negative: driven apart. Null where a concept never fires on one side.
                "difference": F64,
                "low": F64,  # 95% interval; wide where n_images and real_n_images are too few to tell
                "high": F64,
                "p": F64,
                "q": F64,  # Benjamini-Hochberg over the generator's pairs; null with too few images to test
                # To sort by: upwards, what is most surely driven apart comes first; downwards, brought
                # together. The end of the interval nearest to 0; 0 where q or the interval is not sure.
                "sure": F64,
            },
            key="sae source concept_a concept_b",
            partitions="sae source",
            writers="cooccur",
            nullable="difference low high p q sure",  # also all of the real images' rows
        ),
        _table(
            "communities",
            "the community of concepts that one belongs to, by what goes together in the real images",
            {
                "sae": TEXT,
                "concept_id": I32,
                "community": I32,  # 0 is the largest; null where it goes together with nothing
                "n_members": I64,  # concepts in it
                "n_partners": I64,  # kept pairs of the concept with correlation above 0
            },
            key="sae concept_id",
            partitions="sae",
            writers="cooccur",
            nullable="community",
        ),
        _table(
            "datapoints",
            "one pair for one generator",
            {
                "sae": TEXT,
                "generator": TEXT,
                "pair_id": I64,
                "image_id": I64,  # the generated image that is scored: of several seeds the first
                "real_image_id": I64,
                "n_images": I64,  # generated images of the pair
                "n_duplicates": I64,  # other real images that are the same picture as this pair's
                "paper_score": F64,  # mean over concepts of sigmoid(xi_gen - xi_real); it cancels
                "distance": F64,  # weighted L1 of the energy vectors over their total, 0 alike to 1
                "similarity": F64,  # cosine of the weighted energy vectors, 0 to 1
                "rank": I64,  # by distance: 1 is the most different pair, n_pairs the most alike
                "suspect_image_id": I64,  # the pair's generated image that is most like any real one
                "nearest_image_id": I64,  # that real image; what follows compares the two
                "nearest_energy": F64,  # cosine of weighted energies, 0 to 1
                "nearest_token": F64,  # cosine of CLS tokens, -1 to 1
                "nearest_edges": F64,  # correlation of the edges of 32 x 32 pixels, -1 to 1
                "nearest_layout": F64,  # correlation of 8 x 8 colours, -1 to 1
                "seed_similarity": F64,  # mean cosine of CLS tokens between the pair's generated images
                "memorisation": F64,  # standard score of the likeness against the null; positive: more alike
                "p": F64,  # of such a likeness by chance
                "q": F64,  # Benjamini-Hochberg over the generator's pairs
                "null_pairs": TEXT,  # matched: real and generated images of one caption; mismatched: of two
                "mismatched_p": F64,  # share of real images of other captions as close as the pair's own
                "verdict": TEXT,  # memorised, template, faithful, different; null where it cannot be told
            },
            key="sae generator pair_id",
            partitions="sae generator",
            writers="datapoints",
            # null: pixels that cannot be decoded, one seed, too few pairs for a null
            nullable="nearest_edges nearest_layout seed_similarity memorisation p q mismatched_p verdict",
        ),
        _table(
            "concepts",
            "a concept's name and neighbourhood",
            {
                "sae": TEXT,
                "concept_id": I32,
                "name": TEXT,  # the user's where there is one, else the found one
                "found_name": TEXT,  # from captions or vocabulary; null where the evidence is thin
                "words": pl.List(TEXT),  # over-represented caption words, best first
                "confidence": F64,  # standard score behind found_name
                "group": I32,  # near-duplicate concepts share it: the id of the most frequent of them
                "neighbours": pl.List(I32),  # nearest atoms by cosine, best first
                "neighbour_cosine": pl.List(F32),
                "dead": pl.Boolean,  # never fired in the real images
            },
            key="sae concept_id",
            partitions="sae",
            writers="name",
            nullable="name found_name confidence",
        ),
        _table(
            "name_edits",
            "a name that a user gave to a concept; the newest one holds",
            {
                "sae": TEXT,
                "concept_id": I32,
                "name": TEXT,  # empty: back to the found name
                "edited": I64,  # microseconds since 1970, UTC
            },
            key="sae concept_id edited",
            partitions="sae",
            writers="rename",
        ),
        _table(
            "layout",
            "position of a concept on the map",
            {"sae": TEXT, "concept_id": I32, "x": F32, "y": F32, "region": I32},
            key="sae concept_id",
            partitions="sae",
            writers="layout",
            nullable="region",  # null: between the regions
        ),
        _table(
            "regions",
            "a dense part of the map",
            {
                "sae": TEXT,
                "region": I32,
                "name": TEXT,  # its first words; null where they are no more said of it than of others
                "words": pl.List(TEXT),  # of its concepts, rarer elsewhere, best first
                "n_concepts": I64,
                "x": F32,  # of its middle
                "y": F32,
            },
            key="sae region",
            partitions="sae",
            writers="layout",
            nullable="name",
        ),
        _table(
            "map_clusters",
            "how far concepts of one kind lie together, for one generator",
            {
                "sae": TEXT,
                "generator": TEXT,
                "space": TEXT,  # map: neighbours by position; atoms: by cosine
                "kind": TEXT,  # suppressed, exaggerated; less: less energy than real, whatever the label
                "n_concepts": I64,  # of the kind, among those that were tested
                "agreement": F64,  # share of their nearest neighbours that are of the kind too, 0 to 1
                "shuffled": F64,  # the same, mean over shuffled labels
                "low": F64,  # 95% of the shuffles lie between these
                "high": F64,
                "p": F64,  # one-sided: share of shuffles with as much agreement
                "n_shuffles": I64,
            },
            key="sae generator space kind",
            partitions="sae",
            writers="layout",
        ),
        _table(
            "advice",
            "what would help one concept that a generator draws too little or too much",
            {
                "sae": TEXT,
                "generator": TEXT,
                "concept_id": I32,
                "name": TEXT,
                "label": TEXT,  # suppressed or exaggerated
                "advice": TEXT,  # rarely seen, badly captioned, not drawn; drawn unasked, overdrawn
                "delta": F64,  # energy difference in `form`, 0 to 1
                "form": TEXT,
                "q": F64,
                "prevalence_real": F64,  # share of the pairs' images in which it fires, 0 to 1
                "prevalence_gen": F64,
                "n_strong": I64,  # strong images, real ones of a suppressed concept, else generated ones
                "n_mentioned": I64,  # of them with a caption that says one of `words`
                "words": pl.List(TEXT),  # what counts as mentioning it
                "reason": TEXT,
                "pair_ids": pl.List(I64),  # to look at, the largest difference first
            },
            key="sae generator concept_id",
            partitions="sae",
            writers="advise",
            nullable="name",
        ),
        _table(
            "probes",
            "one concept that one generator was asked for by name",
            {
                "sae": TEXT,
                "generator": TEXT,
                "concept_id": I32,
                "name": TEXT,  # that the prompts say
                "image_ids": pl.List(I64),  # of the images that were drawn
                "prompts": pl.List(TEXT),  # of each of them
                "energies": pl.List(F32),  # of the concept in each of them, 0 where it does not fire
                "n_images": I64,
                "n_failed": I64,  # prompts beside these, of which no image could be made
                "n_hits": I64,  # images in which the concept fires: energy above 0
                "low": F64,  # 95% Wilson interval of the share of hits, 0 to 1
                "high": F64,
                "n_real": I64,  # real images whose caption says the name, and the same figures of them
                "n_real_hits": I64,
                "real_low": F64,
                "real_high": F64,
                "n_rest": I64,  # all other real images: how often it fires unasked
                "n_rest_hits": I64,
                "rest_low": F64,
                "rest_high": F64,
            },
            key="sae generator concept_id",
            partitions="sae",
            writers="probe",
        ),
    )
}


def image_id(dataset: str, source: str, pair_id: int, seed_index: int = 0) -> int:
    """A stable positive int64 for one image, from what it is and not from when it was made."""
    name = f"{dataset}\x1f{source}\x1f{pair_id}\x1f{seed_index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
