"""What is chosen, and how it lives in the URL: every view is a link that can be shared.

A link between pages carries `concept` alone: Streamlit keeps the bound parameters of the router by itself.
Query parameters: `sae`, `generator` and `form` on every page; `concept` and `q` where a concept is chosen or
searched for; the rest by the page that has the widget, under the widget's key. A value that makes no sense is
named in one line and the default is shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
import streamlit as st

from dashboard import queries, theme
from dashboard.theme import Mode

_KEY, _LAST, _FIELD = "_selection", "_concept", "_concept_field"
_EVERYWHERE = "every region"
_LEAST = ("0%", "0.1%", "0.2%", "0.5%", "1%", "2%", "5%", "10%", "20%", "50%")


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
        sae = choose_one("SAE", saes, "sae")
        generators = queries.generators(lake, sae)
        generator = choose_one("Generator", generators, "generator") if generators else None
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
    note_if_unknown("form", "a form", lambda asked: asked in theme.FORMS)
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
    note_if_unknown("concept", "concept", lambda asked: _number(asked) in ids)
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


def choose_region(frame: pl.DataFrame) -> str | None:
    """A region of the map by its name, the largest first; None for all."""
    sizes = frame.group_by("region_name").agg(pl.len()).drop_nulls()
    names = sizes.sort(["len", "region_name"], descending=[True, False])["region_name"]
    area = choose_one("Region", [_EVERYWHERE, *names], "region")
    return None if area == _EVERYWHERE else area


def choose_least() -> float:
    """The least prevalence, 0 to 1."""
    return float(choose_one("Prevalence at least", _LEAST, "least").removesuffix("%")) / 100


def choose_opacity() -> float:
    """How strongly heat maps cover their image, 0 to 1; in the URL in percent."""
    note_if_unknown(
        "opacity", "an opacity of", lambda asked: (_number(asked) or 0) <= 100 and asked.isdigit()
    )
    percent = st.slider("Heat map opacity", 0, 100, 60, 5, format="%d%%", key="opacity", bind="query-params")
    return min(max(int(percent), 0), 100) / 100


def choose_switch(label: str, options: Sequence[str], key: str) -> str:
    """One of a few options side by side, in the URL; the default is the first."""
    note_if_unknown(key, label.lower(), lambda asked: asked in options)
    chosen = st.segmented_control(
        label, options, default=options[0], key=key, bind="query-params", required=True
    )
    return chosen if chosen in options else options[0]


def choose_many(label: str, options: Sequence[str], key: str, default: Sequence[str]) -> tuple[str, ...]:
    """Any of a few options, in the URL; none means all."""
    note_if_unknown(key, label.lower(), lambda asked: asked in options)
    chosen = st.pills(
        label, options, default=list(default), key=key, selection_mode="multi", bind="query-params"
    )
    return tuple(option for option in options if option in chosen)


def choose_share(label: str, low: float, high: float, default: float, key: str, help_: str) -> float:
    """A number on the 0 to 1 scale, in the URL."""
    note_if_unknown(key, label.lower(), lambda asked: _between(asked, low, high))
    value = st.slider(label, low, high, default, 0.01, key=key, bind="query-params", help=help_)
    return min(max(float(value), low), high)


def _between(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def choose_one(label: str, options: Sequence[str], key: str) -> str:
    """A select box in the URL; the first option is the default."""
    note_if_unknown(key, label if label == "SAE" else label.lower(), lambda asked: asked in options)
    if st.session_state.get(key, options[0]) not in options:
        st.session_state[key] = options[0]
    chosen = st.selectbox(label, list(options), key=key, bind="query-params")
    return chosen if chosen in options else options[0]


def choose_page(n_pages: int) -> int:
    """The page of a long list, from 1, in the URL; nothing is drawn where there is only one."""
    note_if_unknown("page", "page", lambda asked: 1 <= (number_of(asked) or 0) <= n_pages)
    if n_pages < 2:
        return 1
    if not 1 <= st.session_state.get("page", 1) <= n_pages:
        st.session_state["page"] = 1
    return min(max(1, st.pagination(n_pages, key="page", bind="query-params")), n_pages)


def number_of(text: str) -> int | None:
    """The number that a query parameter names, None where it is none."""
    return _number(text)


def note_if_unknown(key: str, what: str, valid: Callable[[str], bool]) -> None:
    """Say in one line that the link asks for something that is not here."""
    unknown = [asked for asked in st.query_params.get_all(key) if asked and not valid(asked)]
    if unknown:
        shown = theme.plain(unknown[0], 40)
        st.info(
            f"The link asks for {what} {shown}, which is not here. Showing the default.",
            icon=":material/link_off:",
        )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
