"""The embedded default: a small world of captioned scenes, and the code that trained its generators.

Attributes of a scene are known here and only here; no stage of the pipeline reads them.
"""
