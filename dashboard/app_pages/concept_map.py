"""Every concept a point, near those whose atoms are alike, coloured by the generator's energy difference."""

import polars as pl
import streamlit as st

from dashboard import cards, components, concepts, map_parts, queries, rankings, selection

now = selection.current()

st.title("Concept map", anchor=False)
frame = now.compared()
if frame["x"].null_count() == frame.height:
    components.empty_table("layout", now.lake)
    st.stop()

look, beside = map_parts.choose_look(now)
narrowing = map_parts.choose_narrowing(frame)
left, right, card = map_parts.places(beside)
shown = rankings.narrowed(frame, narrowing)
with right:
    chosen = selection.chosen_concept(frame)
    selection.choose_concept(frame, chosen)
    links = map_parts.choose_links(now, chosen)
with left.container(border=True):
    map_parts.map_chart(now, look, narrowing, beside, chosen, links)
    map_parts.legend(now, look[0], frame, shown)
with card:
    if narrowing.text:
        concepts.search_hits(queries.search(shown, narrowing.text))
    if chosen is not None:
        cards.concept_summary(now, frame.row(by_predicate=pl.col("concept_id") == chosen, named=True))
    elif not narrowing.text:
        st.caption("Click a point, search, or choose a row of the table to see a concept here.")

map_parts.reading(now)
map_parts.selection_table(now, shown)
components.reading(now.form)
