"""The dashboard's router: which lake, which page. Read-only.

Start from the project root, so that `tables` can be imported:
`python -m streamlit run dashboard/app.py -- --lake lake` (or set BLINDSPOTS_LAKE).
A new page is one file in `app_pages/` and one line in PAGES.
"""

import sys

import streamlit as st

from dashboard import components, queries
from tables import TableError

PAGES = (
    st.Page("app_pages/overview.py", title="Overview", icon=":material/insights:", default=True),
    st.Page("app_pages/concept_map.py", title="Concept map", icon=":material/scatter_plot:"),
    st.Page("app_pages/concept.py", title="Concept", icon=":material/center_focus_strong:"),
)

st.set_page_config(page_title="Conceptual Blindspots", page_icon=":material/visibility_off:", layout="wide")
page = st.navigation(PAGES)
lake = queries.lake_address(sys.argv[1:])
try:
    if not queries.lake_exists(lake):
        components.no_lake(lake)
    elif components.choose_selection(lake):
        page.run()
    else:
        components.partly_filled(lake)
except TableError as problem:
    components.foreign_table(str(problem), lake)
