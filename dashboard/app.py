"""The dashboard's router: which lake, which page. Read-only.

Start from the project root, so that `tables` can be imported:
`python -m streamlit run dashboard/app.py -- --lake lake` (or set BLINDSPOTS_LAKE).
A new page is one file in `app_pages/` and one line in PAGES.
"""

import sys

import streamlit as st
from polars.exceptions import PolarsError

from dashboard import access, components, pictures, selection
from tables import TableError

PAGES = [
    st.Page("app_pages/overview.py", title="Overview", icon=":material/insights:", default=True),
    st.Page("app_pages/concept_map.py", title="Concept map", icon=":material/scatter_plot:"),
    st.Page("app_pages/concept.py", title="Concept", icon=":material/center_focus_strong:"),
    st.Page("app_pages/blindspots.py", title="Blindspots", icon=":material/format_list_numbered:"),
    st.Page("app_pages/compare.py", title="Compare", icon=":material/compare_arrows:"),
    st.Page("app_pages/cooccurrence.py", title="Co-occurrence", icon=":material/hub:"),
    st.Page("app_pages/images.py", title="Images", icon=":material/photo_library:"),
    st.Page("app_pages/runs.py", title="Runs", icon=":material/history:"),
]

st.set_page_config(page_title="Conceptual Blindspots", page_icon=pictures.icon(), layout="wide")
page = st.navigation(PAGES)
lake = access.lake_address(sys.argv[1:])
try:
    if not access.lake_exists(lake):
        components.no_lake(lake)
    elif selection.choose_selection(lake):
        components.follow_row()
        page.run()
    else:
        components.partly_filled(lake)
except (TableError, PolarsError, OSError) as problem:
    components.foreign_table(str(problem), lake)
