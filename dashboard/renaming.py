"""Giving a concept a name that every rerun keeps: the only thing that the dashboard writes."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard import access, theme
from dashboard.selection import Selection
from tables import TableError
from tables.edits import LONGEST, rename

_SAID = "_renamed"


def name_editor(now: Selection, row: Mapping[str, Any]) -> None:
    """A button that opens a field for the concept's name; what came of the last change is said once."""
    concept_id = row["concept_id"]
    field = f"name-{concept_id}"
    with (
        st.popover("Rename", icon=":material/edit:", type="tertiary"),
        st.form(f"form-{field}", border=False),
    ):
        st.text_input("Name", theme.one_line(row["name"] or "", LONGEST), max_chars=LONGEST, key=field)
        st.caption("Kept in the lake, for everyone who opens it. An empty name brings back the found one.")
        st.form_submit_button(
            "Keep", type="primary", on_click=_keep, args=(now.lake, now.sae, concept_id, field)
        )
    said = st.session_state.pop(_SAID, None)
    if said:
        kind, words = said
        st.toast(words, icon=":material/check:") if kind == "kept" else st.error(words)


def _keep(lake: str, sae: str, concept_id: int, field: str) -> None:
    try:
        kept = rename(access.store(lake), sae, concept_id, st.session_state[field])
    except (TableError, OSError) as problem:
        st.session_state[_SAID] = ("refused", f"The name was not kept: {theme.plain(str(problem), 300)}")
        return
    access.look_again()  # shown at this very rerun
    words = f"Called {theme.plain(kept, LONGEST)} from now on." if kept else "It has its found name again."
    st.session_state[_SAID] = ("kept", words)
