"""The parts of the Concept map page: what it shows, the map and its legend, links, the table of concepts."""

from collections.abc import Sequence

import polars as pl
import streamlit as st
from streamlit import runtime
from streamlit.delta_generator import DeltaGenerator

from dashboard import charts_map, components, figures, map_deck, maps, queries, queries_map, theme
from dashboard import selection as chosen
from dashboard.rankings import Narrowing
from dashboard.selection import Selection
from tables.schemas import REAL

MAP_KEY = "map"
ALONE = "none"
LEVELS = ("any", "0.05", "0.01", "0.001")
LINKS = ("none", "together in real images", "changed by the generator")
N_LINKS = 20
N_ROWS = 200  # of the table; the exports have all


def choose_look(now: Selection) -> tuple[tuple[str, str], str | None]:
    """What colour and size go by, and the generator to be shown beside."""
    colour, size, beside, _ = st.columns([3, 2, 3, 4], vertical_alignment="bottom")
    with colour:
        by = chosen.choose_one("Colour by", maps.COLOURS, "colour")
    with size:
        large = chosen.choose_one("Size by", maps.SIZES, "size")
    others = [name for name in queries.generators(now.lake, now.sae) if name != now.generator]
    with beside:
        other = chosen.choose_one("Second generator", [ALONE, *others], "beside")
    return (by, large), None if other == ALONE else other


def choose_narrowing(frame: pl.DataFrame) -> Narrowing:
    """Which concepts are shown in full; the others stay as faint dots."""
    search, region, least, level = st.columns([4, 4, 3, 2], vertical_alignment="bottom")
    with search:
        text = chosen.choose_search()
    with region:
        area = chosen.choose_region(frame)
    with least:
        share = chosen.choose_least()
    with level:
        q = chosen.choose_one("q up to", LEVELS, "most")
    labels = chosen.choose_many("Label", theme.LABEL_ORDER, "label", ())
    return Narrowing(labels, area, text, share, None if q == "any" else float(q))


def places(beside: str | None) -> tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator]:
    """Where the map, the choice of a concept and its card go: beside the map, or below two of them."""
    if beside:
        above = st.container()
        left, right, _ = st.columns(3, gap="medium")
        return above, left, right
    left, right = st.columns([5, 2], gap="medium")
    return left, right, right


def map_chart(
    now: Selection,
    look: tuple[str, str],
    narrowing: Narrowing,
    beside: str | None,
    concept_id: int | None,
    links: Sequence[dict],
) -> None:
    """The map, or two side by side that move together; a click on a point chooses its concept."""
    generators = [now.generator, *([beside] if beside else [])]
    if beside:
        for column, name in zip(st.columns(2), generators, strict=True):
            column.markdown(f"**{theme.plain(name or '', 60)}**")
    labels = _publish(queries_map.labels(now.lake, now.sae), "labels")
    ghosts = _publish(queries_map.ghosts(now.lake, now.sae), "ghosts") if narrowing != Narrowing() else ""
    sheets = [
        map_deck.Sheet(_publish(_points(now, name, look, narrowing), f"points-{index}"), labels, ghosts)
        for index, name in enumerate(generators)
    ]
    ring = maps.position(queries_map.on_map(now.lake, now.sae, None), concept_id)
    st.pydeck_chart(
        map_deck.concept_map(sheets, ring, links, now.mode),
        height=map_deck.HEIGHT_BESIDE if beside else map_deck.HEIGHT,
        key=MAP_KEY,
        on_select=_take_point,
        alt="Map of all concepts",
    )


def _points(now: Selection, generator: str | None, look: tuple[str, str], narrowing: Narrowing) -> bytes:
    return queries_map.points(
        now.lake, now.sae, generator, now.form, now.mode, look, narrowing, now.generator
    )


def _take_point() -> None:
    objects = st.session_state[MAP_KEY].selection.objects
    picked = [each for layer in map_deck.POINT_LAYERS for each in objects.get(layer) or []]
    if picked and isinstance(picked[0].get("i"), int):
        chosen.go_to_concept(picked[0]["i"])


def _publish(data: bytes, what: str) -> str:
    """An address under which this server hands out the data; the browser fetches it once per content."""
    return runtime.get_instance().media_file_mgr.add(data, "application/json", f"map-{what}")


def legend(now: Selection, by: str, frame: pl.DataFrame, shown: pl.DataFrame) -> None:
    """What the colours mean, and how many of the concepts shown carry each label."""
    strips = {
        "energy difference": charts_map.colour_scale,
        "prevalence": charts_map.prevalence_scale,
        "q": charts_map.q_scale,
    }
    if by in strips:
        figures.show(strips[by], now.mode, alt=f"Colours of the {by}")
    else:
        st.caption(
            {
                "label": "Blue: suppressed. Orange: exaggerated. Grey: aligned, or uncertain and paler.",
                "group": "One colour is one group of near-duplicate atoms; six colours take turns, and"
                " concepts without a duplicate are faint.",
                "region": "One colour is one dense region of the map; six colours take turns, and concepts"
                " between the regions are faint.",
            }[by]
        )
    st.text(f"{shown.height:,} of {frame.height:,} concepts")
    components.label_badges(shown, frame)


def choose_links(now: Selection, concept_id: int | None) -> list[dict]:
    """The lines from the chosen concept to those it goes together with, or no longer does."""
    if concept_id is None:
        return []
    kind = chosen.choose_one("Links of the concept", LINKS, "links")
    if kind == LINKS[0]:
        return []
    source = REAL if kind == LINKS[1] else now.generator or ""
    partners = queries.cooccurring(now.lake, now.sae, concept_id, source)
    if kind == LINKS[1]:
        found = partners.with_columns(side=pl.lit(None, pl.Float64)).head(N_LINKS)
    else:
        sure = partners.filter((pl.col("low") > 0) | (pl.col("high") < 0)).with_columns(
            strength=pl.col("difference").abs(), side=(pl.col("difference") + 1) / 2
        )
        found = sure.sort("strength", descending=True).head(N_LINKS)
    if found.is_empty():
        st.caption("No link of this kind: see the page Co-occurrence for what is known of it.")
    elif kind == LINKS[2]:
        st.caption("Blue: driven apart. Orange: brought together. Wider: by more.")
    return maps.links(found, queries_map.on_map(now.lake, now.sae, None), concept_id, now.mode)


def selection_table(now: Selection, shown: pl.DataFrame) -> None:
    """The concepts shown on the map as a table, and all of them to take away."""
    head, exports = st.columns([3, 2], vertical_alignment="bottom")
    head.header("Concepts shown", anchor=False)
    with exports:
        components.export_buttons(_export(now, shown), "concepts")
    first = f" These are the first {N_ROWS:,}; the exports have all." if shown.height > N_ROWS else ""
    st.caption(
        f"{shown.height:,} concepts. The furthest from aligned come first.{first}"
        " A click on a row chooses its concept."
    )
    furthest = (pl.col(now.form) - theme.ALIGNED).abs()
    rows = (
        shown.sort(furthest, descending=True, nulls_last=True, maintain_order=True)
        .head(N_ROWS)
        .select(
            pl.col("concept_id").alias("concept"),
            pl.col("name").fill_null("–"),
            pl.col("words").list.head(5).list.join(", ").alias("evidence words"),
            pl.col("label").fill_null("–"),
            pl.col(now.form).alias("difference"),
            "q",
            "energy_real",
            "energy_gen",
            (100 * pl.col("prevalence")).alias("prevalence"),
            pl.col("region_name").fill_null("–").alias("region"),
        )
    )
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        key="concepts",
        height=380 if rows.height > 9 else "content",
        hide_index=True,
        on_select=components.chooses_concept("concepts", rows["concept"].to_list()),
        selection_mode="single-row",
        alt="Concepts with their energy differences",
        column_config={
            "difference": number(f"difference ({now.form})", format="%.3f"),
            "q": number(format="%.1e"),
            "energy_real": number("E real", format="%.4f"),
            "energy_gen": number("E gen", format="%.4f", help="Energy in generated images"),
            "prevalence": number("prevalence", format="%.1f%%", help="Share of real images"),
        },
    )


def _export(now: Selection, shown: pl.DataFrame) -> pl.DataFrame:
    known = ["concept_id", "name", "words", "region_name", "group", "label"]
    judged = [*theme.FORMS, "form", "low", "high", "q", "p"]
    counts = ["energy_real", "energy_gen", "prevalence", "n_pairs", "n_fired_real", "n_fired_gen"]
    who = {"sae": now.sae, "generator": now.generator}
    return shown.select(
        *(pl.lit(v, pl.String).alias(k) for k, v in who.items()), *known, *judged, *counts, "x", "y"
    )


def reading(now: Selection) -> None:
    """How to read the map, and whether what a generator suppresses lies together on it."""
    told = [
        f"Of the {theme.number(row['n_concepts'])} {row['kind']} concepts' nearest atoms"
        f" {theme.percent(row['agreement'])} are {row['kind']} too; by chance it would be"
        f" {theme.percent(row['shuffled'])} ({theme.percent(row['low'])} to {theme.percent(row['high'])})."
        for row in queries_map.clusters(now.lake, now.sae, now.generator or "").iter_rows(named=True)
    ]
    st.caption(
        "**How to read it.** A point is a concept; near each other lie those with like atoms (UMAP of their"
        " cosines), and the axes mean nothing. Names are words said more of a region than of others; more"
        " appear as you zoom in. " + " ".join(told)
    )
