"""What was compared, how many concepts each generator suppresses or exaggerates, and the strongest ones."""

import polars as pl
import streamlit as st

from dashboard import cards, charts, components, figures, queries, selection, summary, theme

now = selection.current()

st.title("What does the generator leave out?", anchor=False)
summary.what_was_compared(now)

counts = queries.label_counts(now.lake, now.sae)
statistics = queries.statistics(now.lake, now.sae, now.form)
if now.generator is None or counts.is_empty():
    components.empty_table("energy_differences", now.lake)
    st.stop()

st.header("Concepts by label", anchor=False)
chart, table = st.columns(2, gap="medium")
with chart:
    figures.show(charts.label_bars, counts, now.mode, alt="Share of labels per generator")
with table:
    summary.label_table(counts, statistics)
frame = now.compared()
components.label_reading(frame)

st.header(theme.plain(f"Energy differences of {now.generator}"), anchor=False)
null = queries.null_bins(now.lake, now.sae, now.generator, now.form)
values = frame[now.form].cast(pl.Float64).to_numpy()
figures.show(
    charts.difference_histogram, values, now.form, now.mode, null, alt="Histogram of energy differences"
)
components.reading(now.form)
if not null.is_empty():
    st.caption("Dotted: halves of the real images against each other, where nothing differs but chance.")
summary.distribution_table(statistics, now.lake)

who = (now.lake, now.sae, now.generator, now.form)
st.header("Most suppressed", anchor=False)
st.caption(
    "The real image with the most of the concept, and what the generator drew from its caption. Of concepts"
    " that share a name, the strongest."
)
cards.striking_concepts(now, queries.most_striking(*who, "suppressed", 6, True), "suppressed")

st.header("Most exaggerated", anchor=False)
st.caption("The generated image with the most of the concept, and the real image of its caption.")
cards.striking_concepts(now, queries.most_striking(*who, "exaggerated", 6, True), "exaggerated")

with components.readable(now.lake):
    summary.tables_and_runs(now)
