"""The parts of the Overview page: what was compared, label counts, the shape of differences, the tables."""

import polars as pl
import streamlit as st

from dashboard import access, queries, theme
from dashboard.components import empty_table
from dashboard.selection import Selection
from tables.schemas import REAL


def what_was_compared(now: Selection) -> None:
    """Dataset, pairs, images, generators, concepts, SAE and the date of the last write."""
    datasets, images = queries.datasets(now.lake), queries.image_counts(now.lake)
    generators = queries.generators(now.lake, now.sae)
    names = ", ".join(theme.one_line(name, 40) for name in datasets["dataset"]) or "unknown"
    backbone = access.sae_facts(now.lake, now.sae).backbone
    eyes = theme.listing([*([backbone] if backbone else []), now.sae])
    st.text(
        f"Real images of {names} beside what {theme.listing(generators)} drew from the same captions, "
        f"seen through {eyes}."
    )
    written = access.last_written(now.lake)
    generated = images.filter(pl.col("source") != REAL)
    figures = {
        "Captioned pairs": theme.number(int(datasets["n_ok"].sum())),
        "Generated images": theme.number(int(generated["n_ok"].sum())),
        "Generators": theme.number(len(generators)),
        "Concepts": theme.number(queries.concepts(now.lake, now.sae).height),
        "Last written": f"{written:%d %b %Y}" if written else "–",
    }
    with st.container(horizontal=True, gap="large"):
        for label, value in figures.items():
            st.metric(label, value, width="content")


def distribution_table(statistics: pl.DataFrame, lake: str) -> None:
    """Shape of every generator's energy differences, each figure with its 95% interval."""
    if statistics.is_empty():
        empty_table("distributions", lake)
        return
    shown = {
        "blindspots_seen": "beyond a threshold",
        "blindspots_chance": "by chance",
        "blindspots_excess": "excess",
        "median": "median",
        "spread": "spread",
        "skewness": "skewness",
    }
    written = [
        f"{theme.number(value, 2)} ({theme.number(low, 2)} to {theme.number(high, 2)})"
        for value, low, high in statistics.select("value", "low", "high").iter_rows()
    ]
    wide = statistics.with_columns(pl.Series("written", written, dtype=pl.String)).pivot(
        "statistic", index="generator", values="written"
    )
    st.dataframe(
        wide.select("generator", *(pl.col(k).alias(v) for k, v in shown.items() if k in wide.columns)),
        hide_index=True,
        height="content",
        alt="Figures of the energy differences per generator, with intervals",
    )
    st.caption(
        "**How to read it.** With 95% intervals. Concepts beyond a threshold are counted on halves of pairs, "
        "as the dotted outline is: one half's real images against what was drawn for the other half and, by "
        "chance, against its real images. Median, spread (interquartile range) and skewness are those of the "
        "tested concepts' energy differences; negative skewness is a tail of suppressed concepts."
    )


def label_table(counts: pl.DataFrame, statistics: pl.DataFrame) -> None:
    """Concepts per generator and label, every label a column; intervals where the pairs give one."""
    wide = counts.pivot("label", index="generator", values="n").fill_null(0)
    absent = [
        pl.lit(0, dtype=pl.Int64).alias(label) for label in theme.LABEL_ORDER if label not in wide.columns
    ]
    wide = wide.with_columns(absent).select("generator", *theme.LABEL_ORDER)
    total = dict(wide.select("generator", pl.sum_horizontal(theme.LABEL_ORDER)).iter_rows())
    ends = {
        (row["generator"], row["statistic"].removeprefix("share_")): (row["low"], row["high"])
        for row in statistics.iter_rows(named=True)
    }

    def written(generator: str, label: str, n: int) -> str:
        low, high = ends.get((generator, label), (None, None))
        if low is None or high is None:
            return f"{n:,}"
        return f"{n:,} ({low * total[generator]:,.0f} to {high * total[generator]:,.0f})"

    shown = [
        {"generator": row["generator"]}
        | {label: written(row["generator"], label, row[label]) for label in theme.LABEL_ORDER}
        for row in wide.iter_rows(named=True)
    ]
    st.dataframe(
        pl.DataFrame(shown, schema=dict.fromkeys(("generator", *theme.LABEL_ORDER), pl.String)),
        hide_index=True,
        height="content",
        alt="Concepts per generator and label",
    )


def tables_and_runs(now: Selection) -> None:
    """Every table of the lake: rows, version, when it was last written, by which stage and run."""
    st.header("Tables and runs", anchor=False)
    rows = access.tables(now.lake).filter(pl.col("rows") > 0)
    st.dataframe(
        rows.select(
            "table",
            "rows",
            "version",
            pl.col("updated").alias("last written"),
            pl.col("last_stage").alias("by"),
            pl.col("last_run").alias("MLflow run"),
        ),
        hide_index=True,
        height=300 if rows.height > 7 else "content",
        alt="Tables of the lake with their versions and runs",
        column_config={
            "rows": st.column_config.NumberColumn(format="localized"),
            "last written": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm:ss", help="UTC"),
        },
    )
    st.caption(
        "**How to read it.** A version counts the commits of a table; an old one can still be read. The page"
        " Runs shows what every run was given and measured."
    )
