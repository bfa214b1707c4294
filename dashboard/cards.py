"""Image cards: the image a concept was found in, its twin of the same caption, heat maps, and the caption."""

import functools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from dashboard import access, components, pictures, queries, queries_pictures, theme
from dashboard.selection import Selection, choose_opacity
from tables.schemas import REAL


@dataclass(frozen=True)
class Side:
    """One image of a card: its small file (None: there is none) and the concept's codes on its patches."""

    source: str
    image: bytes | None
    grid: np.ndarray | None = None


@dataclass(frozen=True)
class Pair:
    """One card: the image the concept was found in, its twin, and the caption they share."""

    main: Side
    twin: Side
    caption: str


@dataclass(frozen=True)
class Heat:
    """How heat maps are drawn: the code that is drawn brightest on all pictures shown, and the opacity."""

    top: float
    opacity: float
    crop: float = 1.0  # share of the shorter side that the backbone sees


def load_pairs(now: Selection, concept_id: int, source: str, limit: int, heat: bool = True) -> list[Pair]:
    """The best images of a concept on one side with their twins; `heat` also reads the twins' codes."""
    return load_sides(now, concept_id, [source], limit, heat)[0]


def load_sides(
    now: Selection, concept_id: int, sources: Sequence[str], limit: int, heat: bool = True
) -> list[list[Pair]]:
    """`load_pairs` of several sides; what lies in one place is read once for all of them."""
    generator = now.generator or ""
    best = [
        queries_pictures.top_images(now.lake, now.sae, each, concept_id, generator, limit) for each in sources
    ]
    twin_sources = [str(rows["twin_source"][0]) if rows.height else "" for rows in best]
    pair_ids = sorted({pair_id for rows in best for pair_id in rows["pair_id"]})
    mains = _wanted(sources, best, "image_id")
    twins = _wanted(twin_sources, best, "twin_image_id")
    files = queries_pictures.thumbnails_of(now.lake, (*mains, *twins)) if mains else {}
    codes = queries_pictures.patch_codes(now.lake, now.sae, concept_id, twins) if heat and twins else {}
    words = queries_pictures.captions(now.lake, pair_ids) if pair_ids else {}
    found = []
    for rows, source, twin_source in zip(best, sources, twin_sources, strict=True):
        side = []
        for row in rows.iter_rows(named=True):
            shape, twin_id = (row["grid_height"], row["grid_width"]), row["twin_image_id"]
            grids = (
                pictures.patch_grid(row["heatmap"], *shape),
                pictures.patch_grid(codes.get(twin_id), *shape),
            )
            main = Side(source, files.get(row["image_id"]), grids[0])
            twin = Side(twin_source, files.get(twin_id), grids[1])
            side.append(Pair(main, twin, words.get(row["pair_id"], "")))
        found.append(side)
    return found


def _wanted(sources: Sequence[str], best: Sequence[pl.DataFrame], column: str) -> queries_pictures.Wanted:
    return tuple(
        (source, rows[column].drop_nulls().to_list(), rows["pair_id"].to_list())
        for source, rows in zip(sources, best, strict=True)
        if rows[column].count()
    )


def shared_scale(pairs: Sequence[Pair]) -> float:
    """The largest code on any patch of these pictures: one scale, so that weak firing looks weak."""
    grids = [side.grid for pair in pairs for side in (pair.main, pair.twin) if side.grid is not None]
    return max((float(grid.max()) for grid in grids if grid.size), default=0.0)


def _heat(now: Selection, pairs: Sequence[Pair], opacity: float) -> Heat:
    return Heat(shared_scale(pairs), opacity, access.sae_facts(now.lake, now.sae).crop)


def pair_card(pair: Pair, heat: Heat | None = None) -> None:
    """The image and its twin side by side above their caption."""
    for column, side in zip(st.columns(2, gap="small"), (pair.main, pair.twin), strict=True):
        with column.container(gap="xxsmall"):
            picture(side, heat)
    st.text(theme.one_line(pair.caption, 140) or "no caption")


def picture(side: Side, heat: Heat | None = None) -> None:
    """One image of a card above the name of its source."""
    name = theme.plain(side.source, 24)
    if side.image is None:
        st.image(_no_image(), width="stretch", alt="No image")
        st.caption(f"{name}, no image")
        return
    data = side.image
    if heat is not None and side.grid is not None and heat.opacity > 0:
        data = _heated([(data, side.grid)], heat.top, heat.opacity, heat.crop)[0]
    st.image(pictures.address(data), width="stretch", alt=f"{theme.one_line(side.source, 40)} image")
    st.caption(name)


@st.cache_resource(show_spinner=False, max_entries=64)
def _heated(
    sides: Sequence[tuple[bytes, np.ndarray]], top: float, opacity: float, crop: float
) -> list[bytes]:
    """Files with their heat maps laid over them; all are made side by side."""

    def one(side: tuple[bytes, np.ndarray]) -> bytes:
        picture = pictures.decode(side[0])
        if picture is None:
            return side[0]
        return pictures.webp(pictures.overlay(picture, side[1], opacity, top, crop))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, sides))


def _with_heat(pairs: Sequence[Pair], heat: Heat) -> list[Pair]:
    """Cards of images that have their heat maps on them already."""
    sides = [side for pair in pairs for side in (pair.main, pair.twin)]
    warm = [
        (side, side.image, side.grid) for side in sides if side.image is not None and side.grid is not None
    ]
    files = _heated([(image, grid) for _, image, grid in warm], heat.top, heat.opacity, heat.crop)
    done = {id(side): Side(side.source, file) for (side, *_), file in zip(warm, files, strict=True)}
    return [
        Pair(done.get(id(pair.main), pair.main), done.get(id(pair.twin), pair.twin), pair.caption)
        for pair in pairs
    ]


@functools.cache
def _no_image() -> str:
    return pictures.address(pictures.webp(pictures.placeholder()))


def pair_grid(pairs: Sequence[Pair], heat: Heat | None = None, n_columns: int = 3) -> None:
    """Cards in rows of `n_columns`, equally high."""
    if heat is not None and heat.opacity > 0:
        pairs, heat = _with_heat(pairs, heat), None
    for start in range(0, len(pairs), n_columns):
        row = pairs[start : start + n_columns]
        for column, pair in zip(st.columns(n_columns), row, strict=False):
            with column.container(border=True, height="stretch"):
                pair_card(pair, heat)


def striking_concepts(now: Selection, rows: pl.DataFrame, side: str, n_columns: int = 3) -> None:
    """Cards of the most suppressed or exaggerated concepts, each a link to its page."""
    if rows.is_empty():
        st.caption(f"No concept leans to the {side} side in this form.")
        return
    source = REAL if side == "suppressed" else now.generator or REAL
    best = best_pairs(now, rows["concept_id"].to_list(), source)
    for start in range(0, rows.height, n_columns):
        cards = rows.slice(start, n_columns).iter_rows(named=True)
        for column, row in zip(st.columns(n_columns), cards, strict=False):
            with column.container(border=True, height="stretch"):
                _concept_card(now, row, best.get(row["concept_id"]))


def best_pairs(now: Selection, concept_ids: Sequence[int], source: str) -> dict[int, Pair]:
    """The best image of each of a few concepts on one side, with its twin; all are read together."""
    generator = now.generator or ""
    sides = [(concept_id, source) for concept_id in concept_ids]
    rows = queries_pictures.row_images(now.lake, now.sae, generator, sides)
    pair_ids = rows["pair_id"].to_list()
    columns = ((REAL, "real_image_id"), (generator, "gen_image_id"))
    wanted = tuple((each, rows[column].drop_nulls().to_list(), pair_ids) for each, column in columns)
    files = queries_pictures.thumbnails_of(now.lake, wanted)
    words = queries_pictures.captions(now.lake, pair_ids)
    found = {}
    for row in rows.iter_rows(named=True):
        both = [
            Side(REAL, files.get(row["real_image_id"])),
            Side(generator, files.get(row["gen_image_id"])),
        ]
        main, twin = both if source == REAL else reversed(both)
        found[row["concept_id"]] = Pair(main, twin, words.get(row["pair_id"], ""))
    return found


def _concept_card(now: Selection, row: Mapping[str, Any], best: Pair | None) -> None:
    components.concept_link(row["concept_id"], row["name"])
    with st.container(horizontal=True, vertical_alignment="center"):
        components.label_badge(row["label"])
        st.text(f"{theme.delta(row[now.form])}, concept {row['concept_id']}")
    if best is not None:
        pair_card(best)
    else:
        st.caption("No top images yet.")


def concept_images(now: Selection, concept_id: int, limit: int = 6) -> None:
    """The images that show a concept best, real ones and then generated ones, with twins and heat maps."""
    generator = now.generator
    real, *others = load_sides(now, concept_id, [REAL, *([generator] if generator else [])], limit)
    drawn = others[0] if others else []
    head, slider = st.columns([3, 1], vertical_alignment="bottom")
    head.header("Images", anchor=False)
    if not real and not drawn:
        if queries.filled(now.lake, "top_images", now.sae):
            st.caption("It fires in no image.")
        else:
            components.empty_table("top_images", now.lake)
        return
    with slider:
        opacity = choose_opacity()
    heat = _heat(now, [*real, *drawn], opacity)
    st.caption(
        "**How to read it.** Brighter patches carry more of the concept (its code $z$ there); all images "
        "share one scale, and patches without it show the image. The twin has the same caption."
    )
    st.subheader("Strongest in real images", anchor=False)
    if real:
        pair_grid(real, heat)
    else:
        st.caption("It fires in no real image.")
    if generator:
        st.subheader(theme.plain(f"Strongest in images by {generator}", 80), anchor=False)
        if drawn:
            pair_grid(drawn, heat)
        else:
            st.caption("It fires in no generated image.")


def concept_summary(now: Selection, row: Mapping[str, Any]) -> None:
    """A chosen concept in a narrow column: its link, label, numbers and best pair."""
    with st.container(border=True):
        components.concept_link(row["concept_id"], row["name"])
        with st.container(horizontal=True, vertical_alignment="center"):
            components.label_badge(row["label"])
            st.text(theme.delta(row[now.form]))
        st.text(f"concept {row['concept_id']}, in {theme.percent(row['prevalence'])} of real images")
        value = row[now.form]
        more_real = value is None or value <= theme.ALIGNED
        pairs = load_pairs(now, row["concept_id"], REAL if more_real else now.generator or REAL, 1)
        if pairs:
            pair_card(pairs[0], _heat(now, pairs, 0.6))
