"""Figures on pages: drawn up once per content, for that takes longer than all else a page does.

Makers name channels by their classes, as in `alt.X2("high:Q")`: for a bare string Altair searches its schema.
The makers in `charts` are pure functions, so what they were given tells what they give.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Literal

import polars as pl
import streamlit as st
from altair.utils import schemapi
from streamlit.elements.vega_charts import _convert_altair_to_vega_lite_spec as specification

N_KEPT = 128  # figures

# A figure is checked as a whole when its specification is made; its parts need not be as well.
schemapi.disable_debug_mode()


def show(
    make: Callable[..., Any],
    *args: Any,
    alt: str,
    width: Literal["stretch", "content"] = "stretch",
    **how: Any,
) -> None:
    """The figure that `make` gives for `args`; `how` is what `st.altair_chart` takes besides."""
    spec = _specification(f"{make.__module__}.{make.__qualname__}", make, args)
    st.vega_lite_chart(spec=spec, alt=alt, width=width, **how)


def _digest(frame: pl.DataFrame) -> bytes:
    """All of a frame in a few bytes: Streamlit's own digest of a frame leaves out rows in the middle."""
    rows = hashlib.blake2b(frame.hash_rows().to_numpy().tobytes(), digest_size=16)
    rows.update(str(frame.schema).encode())
    return rows.digest()


@st.cache_data(show_spinner=False, max_entries=N_KEPT, hash_funcs={pl.DataFrame: _digest})
def _specification(name: str, _make: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(specification(_make(*args)))
