"""The concept map as pure functions of frames: where every concept is, in which colour and size.

`map_deck.py` draws it, `map_labels.py` says what is written on it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from dashboard import theme
from dashboard.theme import Mode

MAP_SIZE = 1000.0  # the map's coordinates run from 0 to this on both axes
COLOURS = ("energy difference", "label", "prevalence", "q", "group", "region")
SIZES = ("prevalence", "effect", "equal")
SOLID, FAINT = 225, 70  # alpha of a point, and of one that has nothing to say
SURE = 4.0  # q of 10 to the minus this, and below, has the fullest colour
CROWD = 2000  # concepts that fit on the map at full size

Bytes = npt.NDArray[np.uint8]


def map_coordinates(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[theme.Floats, theme.Floats]:
    """Positions scaled, by one factor for both axes, into the square from 0 to MAP_SIZE and centred there."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if xs.size == 0:
        return xs, ys
    extent = max(float(np.ptp(xs)), float(np.ptp(ys))) or 1.0
    scale = MAP_SIZE / extent
    return (
        (xs - (xs.min() + xs.max()) / 2) * scale + MAP_SIZE / 2,
        (ys - (ys.min() + ys.max()) / 2) * scale + MAP_SIZE / 2,
    )


def placed(concepts: pl.DataFrame) -> pl.DataFrame:
    """The rows with a position, `x` and `y` in the map's coordinates with one decimal."""
    rows = concepts.drop_nulls(["x", "y"])
    x, y = map_coordinates(rows["x"].to_numpy(), rows["y"].to_numpy())
    return rows.with_columns(x=pl.Series(np.round(x, 1)), y=pl.Series(np.round(y, 1)))


def position(on_map: pl.DataFrame, concept_id: int | None) -> tuple[float, float] | None:
    """Where a concept is, by the rows of `placed`; None where it has no position."""
    at = -1 if concept_id is None else concept_id
    found = on_map.filter(pl.col("concept_id") == at).select("x", "y")
    return found.row(0) if found.height else None


def points(on_map: pl.DataFrame, colour: str, size: str, form: str = "ratio", mode: Mode = "light") -> bytes:
    """The points of a map as compact JSON, one object per row of `on_map` in its order.

    `on_map` has concept_id, name, x, y, label, prevalence, q, group, region and the form's column. Keys: i
    id, n name, x, y, c colour with alpha, r radius in pixels, d difference, l label, q, p prevalence.
    """
    share = on_map["prevalence"].cast(pl.Float64).fill_null(0)
    named = on_map.select("concept_id", "name").iter_rows()
    rows = pl.DataFrame(
        {
            "i": on_map["concept_id"],
            "n": [theme.concept_title(concept, name) for concept, name in named],
            "x": on_map["x"],
            "y": on_map["y"],
            "c": pl.Series(colours(on_map, colour, form, mode).astype(np.int32)).arr.to_list(),
            "r": np.round(radii(on_map, size, form), 1),
            "d": _texts(on_map[form].cast(pl.Float64).round(2), theme.delta),
            "l": on_map["label"].fill_null("not compared"),
            "q": _texts(on_map["q"].cast(pl.Float64).round_sig_figs(2), lambda q: theme.number(q, 2)),
            "p": _texts(share, theme.percent),
        },
        schema_overrides={"n": pl.String},
    )
    return rows.write_json().encode()


def _texts(values: pl.Series, written: Callable[[float | None], str]) -> pl.Series:
    """Numbers as people read them; each is written once, however often it occurs."""
    kinds = values.unique().to_list()
    words = pl.Series([written(kind) for kind in kinds], dtype=pl.String)
    return values.replace_strict(pl.Series(kinds, dtype=pl.Float64), words)


def ghosts(on_map: pl.DataFrame) -> bytes:
    """Where all concepts are, as compact JSON: what stays visible behind a narrowed map."""
    return on_map.select("x", "y").write_json().encode()


def colours(on_map: pl.DataFrame, by: str, form: str, mode: Mode) -> Bytes:
    """Colours with alpha (n, 4) of concepts by one of COLOURS; faint where there is nothing to show."""
    match by:
        case "label":
            told = theme.label_colours(mode)
            names = on_map["label"].to_list()
            rgb = np.array([theme.rgb(told.get(name or "", theme.ink(mode, "muted"))) for name in names])
            known = on_map["label"].is_in(list(told)).fill_null(False).to_numpy()
        case "prevalence":
            share = on_map["prevalence"].cast(pl.Float64).to_numpy()
            rgb, known = theme.shade(np.sqrt(np.clip(share, 0, 1)), mode), np.isfinite(share)
        case "q":
            q = on_map["q"].cast(pl.Float64).to_numpy()
            sure = -np.log10(np.clip(q, 10**-SURE, 1)) / SURE
            rgb, known = theme.shade(sure, mode), np.isfinite(q)
        case "group" | "region":
            rgb, known = _kinds(on_map[by], least=2 if by == "group" else 1, mode=mode)
        case _:
            values = on_map[form].cast(pl.Float64).to_numpy()
            rgb, known = theme.diverging(values, mode), np.isfinite(values)
    alpha = np.where(known, SOLID, FAINT)
    return np.column_stack([rgb.reshape(-1, 3), alpha]).astype(np.uint8)


def _kinds(values: pl.Series, least: int, mode: Mode) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """Colours of kinds, the largest first; kinds of fewer than `least` rows are faint."""
    sizes = values.drop_nulls().value_counts(name="n").filter(pl.col("n") >= least)
    order = sizes.sort(["n", values.name], descending=[True, False])[values.name]
    place = {kind: at % len(theme.KINDS) for at, kind in enumerate(order)}
    at = [place.get(kind, -1) for kind in values.to_list()]
    palette = np.array([theme.rgb(colour) for colour in (*theme.KINDS, theme.ink(mode, "muted"))])
    return palette[at].astype(np.uint8), np.array(at, dtype=np.int64) >= 0


def radii(on_map: pl.DataFrame, by: str, form: str) -> theme.Floats:
    """Radii in pixels by one of SIZES; a map of many concepts has smaller points."""
    match by:
        case "effect":
            share = 2 * np.abs(on_map[form].cast(pl.Float64).to_numpy() - theme.ALIGNED)
        case "equal":
            share = np.full(on_map.height, 0.05)
        case _:
            share = on_map["prevalence"].cast(pl.Float64).to_numpy()
    share = np.clip(np.nan_to_num(share), 0, 1)
    return (3.2 + 7.5 * np.sqrt(share)) * np.clip(np.sqrt(CROWD / max(1, on_map.height)), 0.45, 1)


def links(partners: pl.DataFrame, on_map: pl.DataFrame, concept_id: int, mode: Mode = "light") -> list[dict]:
    """Lines from a concept to its partners: ends a and b, colour c, width w in pixels.

    `partners` has partner, strength and side (0 to 1 for a diverging colour, null for the accent); the
    strongest has the widest line. Partners without a position are left out.
    """
    start = position(on_map, concept_id)
    there = partners.join(on_map.select(pl.col("concept_id").alias("partner"), "x", "y"), on="partner")
    most = max(there["strength"].to_list(), default=0.0)
    if start is None or most <= 0:
        return []
    accent = theme.rgb(theme.ACCENT[mode][1])
    sides = [accent if side is None else theme.diverging([side], mode)[0].tolist() for side in there["side"]]
    return [
        {
            "a": list(start),
            "b": [row["x"], row["y"]],
            "c": [*side, 190],
            "w": round(1 + 5 * row["strength"] / most, 1),
        }
        for row, side in zip(there.iter_rows(named=True), sides, strict=True)
    ]
