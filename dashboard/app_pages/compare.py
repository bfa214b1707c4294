"""Generators beside each other: how far they agree, where they differ, and what they share."""

import streamlit as st

from dashboard import components, generators, queries, queries_compare, selection

now = selection.current()
names = queries.generators(now.lake, now.sae)

st.title("Compare generators", anchor=False)
if not names:
    components.empty_table("energy_differences", now.lake)
    st.stop()
if len(names) < 2:
    generators.alone(now)
    st.header("Across SAEs and backbones", anchor=False)
    generators.across_saes(now)
    st.stop()

st.text("Which blindspots are every generator's, and which are one generator's own?")
st.header("How far they agree", anchor=False)
generators.agreement(now, names)

st.header("Two generators, concept by concept", anchor=False)
two = generators.choose_two(now, names)
changes = queries_compare.changes(now.lake, now.sae, two, now.form)
frame = queries.concepts(now.lake, now.sae)
generators.scatter(now, two, changes, frame)
components.reading(now.form)

st.header("What changed", anchor=False)
generators.changed(now, two, changes, frame)

st.header("Shared and specific blindspots", anchor=False)
generators.shared_blindspots(now, names, frame)

st.header("Across SAEs and backbones", anchor=False)
generators.across_saes(now)
