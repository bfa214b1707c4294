"""One concept: what it is, how each generator treats it, and the images that show it."""

import polars as pl
import streamlit as st

from dashboard import charts, components, queries, theme

now = components.current()
frame = now.compared()
if frame.is_empty():
    components.empty_table("concept_stats", now.lake)
    st.stop()

concept_id = components.concept_bar(now, frame)
row = frame.filter(pl.col("concept_id") == concept_id).row(0, named=True)
components.concept_header(now, row)

st.header("In every generator", anchor=False)
numbers = queries.concept_numbers(now.lake, now.sae, concept_id)
if numbers.is_empty():
    components.empty_table("energy_differences", now.lake)
else:
    chart, table = st.columns([2, 3], gap="medium")
    with chart:
        st.altair_chart(charts.generator_dots(numbers, now.form, now.mode), width="stretch", alt="Energy differences")
    with table:
        components.numbers_table(numbers)
    components.reading(now.form)

components.concept_images(now, concept_id)

near, together = st.columns([2, 3], gap="large")
with near:
    st.header("Nearest atoms", anchor=False)
    components.neighbour_links(now, frame, row)
with together:
    st.header("Fires together with", anchor=False)
    components.cooccurrence_table(now, frame, concept_id)
st.caption(theme.COOCCURRENCE_READING)
