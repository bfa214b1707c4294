"""What the page of co-occurrence asks of a lake; cached like `queries`.

`cooccurrences` grows with the number of concepts: only the rows of a few concepts are kept, or the best.
"""

from collections.abc import Sequence

import polars as pl

from dashboard import queries
from dashboard.access import by_version, store
from tables.schemas import REAL

N_CHANGES = 1000  # on either side
N_PARTNERS = 24
APART, TOGETHER = "driven apart", "brought together"
SETS = ("changed most", "most suppressed", "most exaggerated", "most frequent", "one community", "search")
COLUMNS = (
    "concept_a",
    "concept_b",
    "kept",
    "n_images",
    "n_a",
    "n_b",
    "real_n_images",
    "real_n_a",
    "real_n_b",
    "correlation",
    "difference",
    "low",
    "high",
    "q",
    "sure",
)


def _of(lake: str, table: str, sae: str, source: str | None = None) -> pl.LazyFrame:
    rows = store(lake).scan(table).filter(pl.col("sae") == sae)
    return rows if source is None else rows.filter(pl.col("source") == source)


@by_version("cooccurrences")
def sure_counts(lake: str, sae: str, generator: str) -> tuple[int, int, int]:
    """Pairs of concepts of one generator: surely driven apart, surely brought together, all that are kept."""
    sure = _of(lake, "cooccurrences", sae, generator).select(
        (pl.col("sure") < 0).sum().alias("apart"), (pl.col("sure") > 0).sum().alias("together"), pl.len()
    )
    apart, together, total = sure.collect().row(0)
    return int(apart or 0), int(together or 0), int(total)


@by_version("cooccurrences")
def changes(lake: str, sae: str, generator: str, side: str) -> pl.DataFrame:
    """The N_CHANGES pairs that a generator most surely drives apart, or brings together; unsure ones follow.

    Sorted by `sure`, then by the difference itself; pairs without a difference are left out.
    """
    descending = side == TOGETHER
    rows = _of(lake, "cooccurrences", sae, generator).select(COLUMNS).drop_nulls("difference")
    right = pl.col("difference") > 0 if descending else pl.col("difference") < 0
    ordered = rows.filter(right).sort(
        pl.col("sure").fill_null(0.0), "difference", "concept_a", "concept_b",
        descending=[descending, descending, False, False],
    )  # fmt: skip
    return ordered.head(N_CHANGES).collect()


@by_version("communities")
def communities(lake: str, sae: str) -> pl.DataFrame:
    """The community of every concept: concept_id, community, n_members, n_partners."""
    rows = _of(lake, "communities", sae).select("concept_id", "community", "n_members", "n_partners")
    return rows.sort("concept_id").collect()


@by_version("cooccurrences")
def among(lake: str, sae: str, source: str, concept_ids: Sequence[int]) -> pl.DataFrame:
    """The kept pairs of one image set of which both concepts are in a set (COLUMNS)."""
    ids = list(concept_ids)
    both = pl.col("concept_a").is_in(ids) & pl.col("concept_b").is_in(ids)
    rows = _of(lake, "cooccurrences", sae, source).filter(both).select(COLUMNS)
    return rows.sort("concept_a", "concept_b").collect()


@by_version("cooccurrences", max_entries=256)
def partners(lake: str, sae: str, generator: str, concept_id: int, n: int = N_PARTNERS) -> list[int]:
    """The concepts whose company with one concept matters most, best first.

    Those it goes together with in the real images, by correlation, and then those of the surest changes.
    """
    is_a, is_b = pl.col("concept_a") == concept_id, pl.col("concept_b") == concept_id
    partner = pl.when(is_a).then("concept_b").otherwise("concept_a").alias("partner")

    def best(source: str, by: pl.Expr, limit: int) -> list[int]:
        rows = _of(lake, "cooccurrences", sae, source).filter(is_a | is_b)
        return rows.with_columns(partner, by=by).sort("by", "partner", descending=[True, False]).head(
            limit
        ).select("partner").collect()["partner"].to_list()  # fmt: skip

    changed = best(generator, pl.col("sure").fill_null(0.0).abs(), n // 3) if generator else []
    real = best(REAL, pl.col("correlation"), n)
    return list(dict.fromkeys([*real[: n - len(changed)], *changed, *real]))[:n]


def concept_set(frame: pl.DataFrame, groups: pl.DataFrame, changed: pl.DataFrame, asked: dict) -> list[int]:
    """The concepts of a heat map, those of one community side by side.

    `frame` comes from `queries.compared`, `groups` from `communities`, `changed` from `changes`; `asked` has
    kind (one of SETS), n (at most so many), form, text (what is searched for), community.
    """
    n, kind = asked["n"], asked["kind"]
    if kind == "changed most":
        both = changed.select(pl.concat_list("concept_a", "concept_b").explode())
        ids = list(dict.fromkeys(both.to_series().to_list()))[:n]
    elif kind in ("most suppressed", "most exaggerated"):
        ids = queries.striking(frame, asked["form"], kind.removeprefix("most "), n)["concept_id"].to_list()
    elif kind == "one community":
        mine = groups.filter(pl.col("community") == asked["community"])
        ids = mine.sort("n_partners", descending=True).head(n)["concept_id"].to_list()
    elif kind == "search":
        ids = queries.search(frame, asked["text"], n)["concept_id"].to_list()
    else:
        ids = frame.sort("prevalence", descending=True, nulls_last=True).head(n)["concept_id"].to_list()
    order = pl.DataFrame({"concept_id": ids}, schema={"concept_id": pl.Int32}).join(
        groups, on="concept_id", how="left"
    )
    return order.sort("community", -pl.col("n_partners"), "concept_id", nulls_last=True)[
        "concept_id"
    ].to_list()
