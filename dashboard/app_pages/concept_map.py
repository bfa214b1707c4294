"""Every concept a point, near those whose atoms are alike, coloured by the chosen generator's energy difference."""

import polars as pl
import streamlit as st

from dashboard import components, queries

now = components.current()

st.title("Concept map", anchor=False)
frame = now.compared()
if frame["x"].null_count() == frame.height:
    components.empty_table("layout", now.lake)
    st.stop()

left, right = st.columns([5, 2], gap="medium")
with right:
    text = components.choose_search()
    chosen = components.choose_concept(frame)
with left:
    components.map_chart(now, frame, chosen)
    components.colour_legend(now)
with right:
    hits = queries.search(frame, text)
    if text:
        components.search_hits(now, hits)
    if chosen is not None:
        components.concept_summary(now, frame.filter(pl.col("concept_id") == chosen))
    elif not text:
        st.caption("Click a point, search, or pick a row below to see a concept here.")

st.header("Concepts", anchor=False)
st.caption(f"{(hits if text else frame).height} of {frame.height} concepts. A click on a row chooses it.")
components.choosing_table(hits if text else frame, now.form)
components.reading(now.form)
