"""What every stage was given, what it measured, and which table versions it read and left behind."""

import streamlit as st

from dashboard import access, run_parts, selection

now = selection.current()

st.title("Runs", anchor=False)
with st.spinner("Opening the records"):
    recorded = access.runs(now.lake)
if recorded.is_empty():
    run_parts.no_runs(now)
    st.stop()

st.text("What every stage was given, what it measured, and which table versions it read and left behind.")
shown = run_parts.choose_stages(recorded)
st.caption(f"{shown.height:,} of {recorded.height:,} runs, newest first. A click on a row chooses its run.")
run_parts.run_list(shown)

st.header("Side by side", anchor=False)
first, second = run_parts.choose_two(recorded)
run_parts.run_heads((first, second))
run_parts.comparison(first, second, now.mode)
run_parts.figures(now.lake, first)
run_parts.mlflow_pages(now.lake)
