"""Concepts ranked by how far a generator is off, judged live, each with a real and a generated image."""

import streamlit as st

from dashboard import advising, blindspots, components, queries, queries_compare, rankings, selection, theme

now = selection.current()

st.title("Blindspots", anchor=False)
if now.generator is None:
    components.empty_table("energy_differences", now.lake)
    st.stop()

stored = queries_compare.rule_of(now.lake, now.sae, now.generator)
st.text(f"What {theme.one_line(now.generator, 60)} draws too rarely or too often for its captions.")
controls, chart = st.columns([2, 3], gap="large")
with controls:
    rule = blindspots.choose_rule(stored)
    everyone = selection.choose_switch("Rank", ("this generator", "all generators"), "of") == "all generators"

names = queries.generators(now.lake, now.sae) if everyone else [now.generator]
frame = rankings.judged(queries_compare.compared(now.lake, now.sae, names), now.form, rule)
with chart:
    blindspots.threshold_chart(now, frame, rule)
    components.label_badges(frame)

narrowing, by, beside = blindspots.choose_narrowing(frame)
rows = rankings.ranked(rankings.narrowed(frame, narrowing), by)
st.text(f"{rows.height:,} of {frame.height:,} concepts. A click on a row opens its concept.")
with beside:
    components.export_buttons(rankings.export(rows, now.sae, now.form, rule), "blindspots")
if rows.is_empty():
    blindspots.nothing_passes()
else:
    blindspots.ranked_table(now, rows, everyone)
blindspots.rule_reading(now.form, rule)
with components.readable(now.lake):
    advising.advice_table(now)
