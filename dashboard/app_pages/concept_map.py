"""Every concept a point, near those whose atoms are alike, coloured by the generator's energy difference."""

import polars as pl
import streamlit as st

from dashboard import cards, components, concepts, queries, selection

now = selection.current()

st.title("Concept map", anchor=False)
frame = now.compared()
if frame["x"].null_count() == frame.height:
    components.empty_table("layout", now.lake)
    st.stop()

left, right = st.columns([5, 2], gap="medium")
with right:
    text = selection.choose_search()
    chosen = selection.chosen_concept(frame)
    selection.choose_concept(frame, chosen)
with left.container(border=True):
    concepts.map_chart(now, frame, chosen)
    concepts.colour_legend(now)

hits = queries.search(frame, text)
picked = frame.head(0) if chosen is None else frame.filter(pl.col("concept_id") == chosen)
with right:
    if text:
        concepts.search_hits(hits)
    if picked.height:
        cards.concept_summary(now, picked.row(0, named=True))
    elif not text:
        st.caption("Click a point, search, or choose a row of the table to see a concept here.")

shown = hits if text else frame
st.header("Concepts", anchor=False)
st.caption(f"{shown.height:,} of {frame.height:,} concepts. A click on a row chooses its concept.")
concepts.concept_table(shown, now.form)
components.reading(now.form)
