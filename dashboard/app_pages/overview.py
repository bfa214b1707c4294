"""What was compared, how many concepts each generator suppresses or exaggerates, and the most striking ones."""

import polars as pl
import streamlit as st

from dashboard import charts, components, queries, theme

now = components.current()

st.title("Which visual concepts does a generator leave out?", anchor=False)
components.what_was_compared(now)

counts = queries.label_counts(now.lake, now.sae)
if now.generator is None or counts.is_empty():
    components.empty_table("energy_differences", now.lake)
    st.stop()

st.header("Concepts by label", anchor=False)
chart, table = st.columns([3, 2], gap="medium")
with chart:
    st.altair_chart(charts.label_bars(counts, now.mode), width="stretch", alt="Labels per generator")
with table:
    wide = counts.pivot("label", index="generator", values="n").fill_null(0)
    present = [label for label in theme.LABEL_ORDER if label in wide.columns]
    st.dataframe(wide.select("generator", *present), hide_index=True, alt="Concepts per generator and label")
st.caption(
    "**How to read it.** Suppressed and exaggerated concepts are beyond a threshold and the data speak for it; "
    "uncertain ones are beyond it, but chance would do as well; aligned is the rest."
)

frame = now.compared()
st.header(theme.plain(f"Energy differences of {now.generator}"), anchor=False)
st.altair_chart(
    charts.difference_histogram(frame[now.form].cast(pl.Float64).to_numpy(), now.form, now.mode),
    width="stretch",
    alt="Histogram of energy differences",
)
components.reading(now.form)

for side, what in (
    ("suppressed", "real images show it, the generator does not"),
    ("exaggerated", "the generator adds it where real images have less of it"),
):
    st.header(f"Most {side}", anchor=False)
    st.caption(f"Best image on the side that has more of the concept, with its twin of the same caption: {what}.")
    components.concept_cards(now, queries.striking(frame, now.form, side), side)
