"""One concept: what it is, how each generator treats it, and the images that show it."""

import polars as pl
import streamlit as st

from dashboard import advising, cards, charts, components, concepts, figures, probes, queries, selection

now = selection.current()
frame = now.compared()
first = queries.most_striking(now.lake, now.sae, now.generator, now.form, "suppressed", 1)
default = (first if first.height else frame)["concept_id"][0]
concept_id = concepts.concept_bar(frame, default)
row = frame.filter(pl.col("concept_id") == concept_id).row(0, named=True)
concepts.concept_header(now, row)
with components.readable(now.lake):
    advising.concept_advice(now, concept_id)

st.header("In every generator", anchor=False)
numbers = queries.in_form(queries.concept_numbers(now.lake, now.sae, concept_id), now.form)
if numbers.is_empty():
    components.empty_table("energy_differences", now.lake)
else:
    about = "Energy difference in every generator"
    figures.show(charts.generator_dots, numbers, now.form, now.mode, alt=about)
    concepts.numbers_table(numbers, now.form)
    components.reading(now.form)
    concepts.caption_table(queries.caption_difference(now.lake, now.sae, concept_id))

cards.concept_images(now, concept_id)
with components.readable(now.lake):
    probes.probe_results(now, concept_id)

near, together = st.columns([2, 3], gap="large")
with near:
    st.header("Nearest atoms", anchor=False)
    concepts.neighbour_links(now, frame, concept_id)
with together:
    st.header("Fires together with", anchor=False)
    concepts.cooccurrence_table(now, frame, concept_id)
