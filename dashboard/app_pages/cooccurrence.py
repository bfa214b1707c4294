"""Which concepts go together, and what a generator changes about it."""

import streamlit as st

from dashboard import company, components, queries, selection

now = selection.current()

st.title("Co-occurrence", anchor=False)
if now.generator is None or not queries.filled(now.lake, "cooccurrences", now.sae):
    components.empty_table("cooccurrences", now.lake)
    st.stop()

st.text("Which concepts keep each other's company in the real images, and does the generator keep it?")
frame = now.compared()
view = selection.choose_switch("View", company.VIEWS, "look")
if view == "heat map":
    company.heat_map(now, frame)
elif view == "one concept":
    company.one_concept(now, frame)
else:
    company.what_changed(now, frame)
