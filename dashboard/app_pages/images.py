"""Pair by pair: how alike the real image and the generated one are, and what was drawn from memory."""

import streamlit as st

from dashboard import components, datapoints, one_pair, queries_images, selection, theme

now = selection.current()

st.title("Images", anchor=False)
frame = queries_images.pairs(now.lake, now.sae, now.generator or "")
if frame.is_empty():
    components.empty_table("datapoints", now.lake)
    st.stop()

st.text(
    f"Every real image beside what {theme.one_line(now.generator or '', 60)} drew from its caption: how alike"
    " are they, and was it drawn from memory?"
)
view = selection.choose_switch("View", datapoints.VIEWS, "view")
if view == "pairs":
    datapoints.browser(now, frame)
elif view == "copies":
    datapoints.copies(now, frame)
elif view == "one pair":
    one_pair.one_pair(now, frame)
else:
    datapoints.distribution(now, frame)
