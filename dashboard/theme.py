"""Colours, labels and number formats: one place, so that a colour means the same on every page.

Blue is suppressed, orange is exaggerated, grey is aligned; the pair stays apart for the common forms of
colour blindness because hue and not lightness tells the sides. All ramps are straight lines in OKLab,
so equal steps look equal.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Mode = Literal["light", "dark"]
Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

ALIGNED = 0.5
N_STEPS = 257  # odd, so that 0.5 has a step of its own

# OKLCH (lightness, chroma, hue in degrees): the two ends mirror each other around the neutral centre.
_DIVERGING = {
    "light": {
        "suppressed": (0.50, 0.135, 254),
        "neutral": (0.84, 0.004, 90),
        "exaggerated": (0.50, 0.135, 47),
    },
    "dark": {
        "suppressed": (0.76, 0.125, 250),
        "neutral": (0.43, 0.008, 270),
        "exaggerated": (0.76, 0.125, 55),
    },
}
# Dark violet to pale yellow, lightness rising evenly: readable in grey too.
_HEAT = ((0.18, 0.06, 300), (0.36, 0.16, 320), (0.56, 0.19, 15), (0.76, 0.16, 60), (0.95, 0.09, 105))

_GREYS = {
    "light": {
        "aligned": "#8f949c",
        "uncertain": "#d3d2cd",
        "ink": "#24242b",
        "muted": "#666a73",
        "line": "#dedbd3",
    },
    "dark": {
        "aligned": "#838995",
        "uncertain": "#454a55",
        "ink": "#e9e8e4",
        "muted": "#a5a9b3",
        "line": "#363944",
    },
}

# Shares and degrees of certainty take no side: pale to full, in the accent's hue.
_SHADE = {
    "light": ((0.91, 0.02, 290), (0.42, 0.14, 290)),
    "dark": ((0.36, 0.025, 290), (0.88, 0.09, 290)),
}
# Kinds without an order (Tol 2021, "bright"): apart for the common forms of colour blindness, in both themes.
KINDS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")

# For shares and correlations, which take no side: the accent, from pale to full.
ACCENT: dict[str, tuple[str, str]] = {"light": ("#efedf6", "#5b4a94"), "dark": ("#2b2937", "#b7a8f0")}

LABEL_ORDER = ("suppressed", "uncertain", "aligned", "exaggerated")
LABEL_BADGE: dict[str, tuple[Literal["blue", "gray", "orange"], str]] = {
    "suppressed": ("blue", ":material/south:"),
    "uncertain": ("gray", ":material/question_mark:"),
    "aligned": ("gray", ":material/equal:"),
    "exaggerated": ("orange", ":material/north:"),
}

# The tables that have to hold rows before there is anything to show, in the order they fill.
FILLING_ORDER = ("pairs", "images", "codes", "energies", "concepts", "concept_stats", "energy_differences")

FORMS = ("ratio", "relative", "absolute")
FORM_FORMULA = {  # LaTeX
    "ratio": r"E_\text{gen} / (E_\text{gen} + E_\text{real})",
    "relative": r"\sigma\big((E_\text{gen} - E_\text{real}) / (E_\text{gen} + E_\text{real}) / 0.4\big)",
    "absolute": r"\sigma\big((E_\text{gen} - E_\text{real}) / 0.8\big)",
}
FORM_READING = {
    "ratio": "0.1 means nine times less energy in generated images than in real ones, 0.9 nine times more.",
    "relative": "Scale-free; its range is 0.08 to 0.92, so 0.1 is already close to never generated.",
    "absolute": "In units of energy: rare concepts stay near 0.5 even when the generator never draws them.",
}


def _oklch_to_oklab(colour: tuple[float, float, float]) -> Floats:
    lightness, chroma, hue = colour
    return np.array([lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))])


def _oklab_to_srgb(lab: Floats) -> Bytes:
    """OKLab (..., 3) to 8-bit sRGB (..., 3), clipped to the gamut (Ottosson 2020)."""
    to_lms = np.array(
        [
            [1, 0.3963377774, 0.2158037573],
            [1, -0.1055613458, -0.0638541728],
            [1, -0.0894841775, -1.2914855480],
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(((lab @ to_lms.T) ** 3) @ to_rgb.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def _ramp(stops: Sequence[tuple[float, float, float]], steps: int) -> Bytes:
    anchors = np.stack([_oklch_to_oklab(stop) for stop in stops])
    at = np.linspace(0, len(stops) - 1, steps)
    lab = np.stack([np.interp(at, np.arange(len(stops)), anchors[:, axis]) for axis in range(3)], axis=-1)
    return _oklab_to_srgb(lab)


_DIVERGING_RAMP = {
    mode: _ramp([stops["suppressed"], stops["neutral"], stops["exaggerated"]], N_STEPS)
    for mode, stops in _DIVERGING.items()
}
_HEAT_RAMP = _ramp(_HEAT, 256)
_SHADE_RAMP = {mode: _ramp(stops, 256) for mode, stops in _SHADE.items()}


def diverging(values: npt.ArrayLike, mode: Mode = "light") -> Bytes:
    """Colours (n, 3) of energy differences (n,) in [0, 1]: 0 suppressed, 0.5 neutral, 1 exaggerated.

    NaN (the concept fired on neither side) is neutral, values outside [0, 1] are clipped.
    """
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=ALIGNED, posinf=1.0, neginf=0.0)
    return _DIVERGING_RAMP[mode][np.rint(np.clip(clean, 0, 1) * (N_STEPS - 1)).astype(int)]


def heat(values: npt.ArrayLike) -> Bytes:
    """Colours (..., 3) of values in [0, 1], evenly rising in lightness from dark violet to pale yellow."""
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return _HEAT_RAMP[np.rint(np.clip(clean, 0, 1) * 255).astype(int)]


def shade(values: npt.ArrayLike, mode: Mode = "light") -> Bytes:
    """Colours (n, 3) of shares (n,) in [0, 1]: 0 pale, 1 full; NaN is pale, values outside are clipped."""
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=1.0, neginf=0.0)
    return _SHADE_RAMP[mode][np.rint(np.clip(clean, 0, 1) * 255).astype(int)]


def rgb(hex_: str) -> tuple[int, int, int]:
    """The three 8-bit channels of `#rrggbb`."""
    return int(hex_[1:3], 16), int(hex_[3:5], 16), int(hex_[5:7], 16)


def hex_colour(rgb: Sequence[int] | Bytes) -> str:
    """`#rrggbb` of three 8-bit channels."""
    return "#" + "".join(f"{int(channel):02x}" for channel in rgb)


def label_colours(mode: Mode = "light") -> dict[str, str]:
    """The colour of each label, in drawing order."""
    ends = diverging([0.0, 1.0], mode)
    greys = _GREYS[mode]
    return {
        "suppressed": hex_colour(ends[0]),
        "uncertain": greys["uncertain"],
        "aligned": greys["aligned"],
        "exaggerated": hex_colour(ends[1]),
    }


def ink(mode: Mode, tone: Literal["ink", "muted", "line"] = "ink") -> str:
    """The text, secondary text or rule colour of a theme."""
    return _GREYS[mode][tone]


def number(value: float | int | None, digits: int = 3) -> str:
    """A number for people: thousands apart, `digits` significant, a true minus; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or (abs(value) >= 100 and float(value).is_integer()):
        text = f"{int(value):,}"
    elif value == 0:
        text = "0"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    elif abs(value) < 1e-4:
        text = f"{value:.1e}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", "\u2212")


def delta(value: float | None) -> str:
    """An energy difference, always with two decimals so that columns line up."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def percent(share: float | None) -> str:
    """A share as a percentage; a share that is not zero never reads as zero."""
    if share is None or not math.isfinite(share):
        return "–"
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def interval(low: float | None, high: float | None) -> str:
    """An interval, or a dash where no test was run."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{low:.2f} to {high:.2f}"


def concept_title(concept_id: int, name: str | None) -> str:
    """What a concept is called everywhere: its name, or its number where the evidence was thin."""
    shown = one_line(name or "")
    return shown or f"concept {concept_id}"


def one_line(text: str, limit: int = 90) -> str:
    """Foreign text made fit for one line: no control characters, no direction overrides, not too long."""
    kept = str(text)
    if not (kept.isascii() and kept.isprintable()):  # nearly all names are, and there are thousands
        kept = "".join(" " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char for char in kept)
        kept = "".join(char for char in kept if char not in _DIRECTION and unicodedata.category(char) != "Cs")
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def listing(names: Sequence[str], limit: int = 5) -> str:
    """Names in a sentence: a, b and c."""
    shown = [one_line(name, 40) for name in names[:limit]]
    if len(names) > limit:
        shown.append(f"{len(names) - limit} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]])) if shown else "no generator yet"


_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
# What addresses, emoji codes, icons and arrows are made of, even where the marks themselves are escaped.
_JOINTS = re.compile(r"(?<=[:@])|(?<=www)(?=\.)|(?<=[-<=])(?=[-=>])", re.IGNORECASE)


def plain(text: str, limit: int = 90) -> str:
    """Foreign text for a place that reads Markdown (labels, titles): shown letter by letter, never read.

    Every punctuation mark is escaped; word joiners keep web addresses, emoji codes, icons and arrows from
    forming. The direction of the text stays inside it.
    """
    shown = one_line(text, limit)
    escaped = "".join(f"\\{char}" if char in _PUNCTUATION else char for char in _JOINTS.sub("\u2060", shown))
    turns = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in shown)
    return f"\u2068{escaped}\u2069" if turns else escaped
