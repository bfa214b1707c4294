"""What is chosen, and how it lives in the URL: every view is a link that can be shared.

A link between pages carries `concept` alone: Streamlit keeps the bound parameters of the router by itself.
Query parameters: `sae`, `generator` and `form` on every page, `concept` on the map and the concept page, `q`
on the map, `opacity` on the concept page. A value that makes no sense is named in one line and the default
is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
import streamlit as st

from dashboard import queries, theme
from dashboard.theme import Mode

_KEY, _LAST, _FIELD = "_selection", "_concept", "_concept_field"


@dataclass(frozen=True)
class Selection:
    """What every page shows: a lake, one SAE, one generator (None before any comparison), one form."""

    lake: str
    sae: str
    generator: str | None
    form: str
    mode: Mode

    def compared(self) -> pl.DataFrame:
        """Every concept with its numbers for the chosen generator (nulls where there are none)."""
        return queries.compared(self.lake, self.sae, self.generator)


def choose_selection(lake: str) -> Selection | None:
    """The choices shared by all pages, in the sidebar; None while the lake holds no result of any SAE."""
    saes = queries.saes(lake)
    if not saes:
        return None
    with st.sidebar:
        sae = _choose("SAE", saes, "sae")
        generators = queries.generators(lake, sae)
        generator = _choose("Generator", generators, "generator") if generators else None
        form = choose_form()
        st.caption(f"$\\delta = {theme.FORM_FORMULA[form]}$")
    chosen = Selection(lake, sae, generator, form, mode())
    st.session_state[_KEY] = chosen
    return chosen


def current() -> Selection:
    """The selection of this run, for pages."""
    return st.session_state[_KEY]


def mode() -> Mode:
    """The theme in the browser; light where it is not known."""
    return "dark" if st.context.theme.type == "dark" else "light"


def choose_form() -> str:
    """The form of the energy difference."""
    _note_if_unknown("form", "a form", lambda asked: asked in theme.FORMS)
    chosen = st.segmented_control(
        "Form of the energy difference",
        theme.FORMS,
        default=theme.FORMS[0],
        key="form",
        bind="query-params",
        required=True,
        width="stretch",
    )
    return chosen if chosen in theme.FORMS else theme.FORMS[0]


def chosen_concept(frame: pl.DataFrame) -> int | None:
    """The concept in the URL, else the one last looked at in this session, else None."""
    ids = set(frame["concept_id"].to_list())
    _note_if_unknown("concept", "concept", lambda asked: _number(asked) in ids)
    asked = _number(st.query_params.get("concept", ""))
    chosen = asked if asked in ids else st.session_state.get(_LAST)
    if chosen not in ids:
        chosen = None
    _remember(chosen)
    return chosen


def choose_concept(frame: pl.DataFrame, shown: int | None) -> None:
    """A field to type the number of a concept in."""
    last = int(frame["concept_id"].to_numpy().max())
    st.session_state[_FIELD] = shown
    st.number_input(
        "Concept", 0, last, value=None, step=1, key=_FIELD, placeholder=f"0 to {last}", on_change=_take_field
    )


def go_to_concept(concept_id: int) -> None:
    """Choose a concept before the next run; for callbacks."""
    _remember(concept_id)


def _take_field() -> None:
    typed = st.session_state[_FIELD]
    _remember(None if typed is None else int(typed))


def _remember(concept_id: int | None) -> None:
    st.session_state[_LAST] = concept_id
    if concept_id is None:
        st.query_params.pop("concept", None)
    elif st.query_params.get("concept") != str(concept_id):
        st.query_params["concept"] = str(concept_id)


def choose_search() -> str:
    """What is searched for: a name, a caption word or an id."""
    return (
        st.text_input(
            "Search",
            key="q",
            type="search",
            bind="query-params",
            placeholder="name, caption word or id",
            icon=":material/search:",
        )
        or ""
    )


def choose_opacity() -> float:
    """How strongly heat maps cover their image, 0 to 1; in the URL in percent."""
    _note_if_unknown(
        "opacity", "an opacity of", lambda asked: (_number(asked) or 0) <= 100 and asked.isdigit()
    )
    percent = st.slider("Heat map opacity", 0, 100, 60, 5, format="%d%%", key="opacity", bind="query-params")
    return min(max(int(percent), 0), 100) / 100


def _choose(label: str, options: Sequence[str], key: str) -> str:
    """A select box bound to the query parameter `key`; the first option is the default."""
    _note_if_unknown(key, label if label == "SAE" else label.lower(), lambda asked: asked in options)
    if st.session_state.get(key, options[0]) not in options:
        st.session_state[key] = options[0]
    chosen = st.selectbox(label, list(options), key=key, bind="query-params")
    return chosen if chosen in options else options[0]


def _note_if_unknown(key: str, what: str, valid: Callable[[str], bool]) -> None:
    asked = st.query_params.get(key)
    if asked and not valid(asked):
        shown = theme.plain(asked, 40)
        st.info(
            f"The link asks for {what} {shown}, which is not here. Showing the default.",
            icon=":material/link_off:",
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
