"""The part of the concept page that shows whether generators draw a concept when they are asked for it."""

from typing import Any

import polars as pl
import streamlit as st

from dashboard import components, pictures, queries_probes, theme
from dashboard.selection import Selection

N_COLUMNS = 8


def probe_results(now: Selection, concept_id: int) -> None:
    """Hits per generator beside the real images, and the images drawn for the prompts."""
    st.header("Asked for by name", anchor=False)
    rows = queries_probes.probes(now.lake, now.sae, concept_id)
    if rows.is_empty():
        _not_asked(now, concept_id)
        return
    _hits_table(rows)
    _reading()
    chosen = rows.filter(pl.col("generator") == (now.generator or ""))
    _images(now, (chosen if chosen.height else rows).row(0, named=True))


def _not_asked(now: Selection, concept_id: int) -> None:
    command = components.stage_command("probe", now.lake)
    components.empty(
        "No generator was asked for this concept yet",
        "The stage probe writes prompts that say a concept's name, draws images for them and counts how often"
        " it comes; by itself for the most suppressed concepts, else for those that are named here. A concept"
        " without a name needs one first: python -m pipeline rename.",
        f'{command} --set "probe.concepts=[{concept_id}]"',
    )


def share(n_hits: int, n: int, low: float, high: float) -> str:
    """`3 of 12: 25% (9% to 53%)`; of nothing there is no share."""
    if n == 0:
        return "none"
    return f"{n_hits:,} of {n:,}: {n_hits / n:.0%} ({low:.0%} to {high:.0%})"


def _hits_table(rows: pl.DataFrame) -> None:
    figures: dict[str, list[str]] = {}
    for title, part in (("drawn", ""), ("real, captions say it", "real"), ("other real images", "rest")):
        before = f"{part}_" if part else ""
        of = f"n_{part}" if part else "n_images"
        hits = f"n_{before}hits"
        figures[title] = [
            share(row[hits], row[of], row[f"{before}low"], row[f"{before}high"])
            for row in rows.iter_rows(named=True)
        ]
    st.dataframe(
        pl.DataFrame(
            {
                "generator": rows["generator"],
                "asked for": [theme.one_line(name, 60) for name in rows["name"]],
                **figures,
                "failed": rows["n_failed"],
            }
        ),
        hide_index=True,
        height="content",
        alt="Images with the concept, per generator",
        column_config={
            "drawn": st.column_config.TextColumn(help="Images with the concept, drawn for its name"),
            "failed": st.column_config.NumberColumn(help="Prompts of which no image could be made"),
        },
    )


def _reading() -> None:
    st.caption(
        "**How to read it.** An image has the concept where it fires at all: energy above 0. Brackets hold"
        r" the 95% Wilson interval of the share $p$ of $n$ images, $\big(p + \frac{z^2}{2n} \pm z \sqrt{"
        r"\frac{p(1 - p)}{n} + \frac{z^2}{4n^2}}\big) / \big(1 + \frac{z^2}{n}\big)$ with $z = 1.96$. A"
        " generator that can draw it comes near the real images whose captions say the name; one that cannot"
        " stays near the other real images, where it fires unasked."
    )


def _images(now: Selection, row: dict[str, Any]) -> None:
    images = queries_probes.drawn(row)
    title = f"What {theme.one_line(row['generator'], 40)} drew for “{theme.one_line(row['name'], 40)}”"
    st.subheader(theme.plain(title, 120), anchor=False)
    by_prompt = images.group_by("prompt", maintain_order=True).agg((pl.col("energy") > 0).sum(), pl.len())
    for prompt, n_hits, n in by_prompt.sort("prompt").iter_rows():
        st.text(f"{theme.one_line(prompt, 140)}: {n_hits} of {n}")
    shown = images.head(queries_probes.N_IMAGES)
    files = queries_probes.small_files(now.lake, row["generator"], shown["image_id"].to_list())
    for start in range(0, shown.height, N_COLUMNS):
        row_of_images = shown.slice(start, N_COLUMNS).select("image_id", "energy").iter_rows()
        for column, (image_id, energy) in zip(st.columns(N_COLUMNS), row_of_images, strict=False):
            with column.container(gap="xxsmall"):
                _picture(files.get(image_id))
                _hit_badge(energy > 0)
    if images.height > shown.height:
        st.caption(f"The {shown.height} with most of the concept, of {images.height} images.")


def _picture(data: bytes | None) -> None:
    shown = data or pictures.webp(pictures.placeholder(queries_probes.THUMBNAIL))
    st.image(pictures.address(shown), width="stretch", alt="Drawn for a prompt" if data else "No image")


def _hit_badge(hit: bool) -> None:
    if hit:
        st.badge("fires", icon=":material/check:", color="green")
    else:
        st.badge("absent", icon=":material/close:", color="gray")
