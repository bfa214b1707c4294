"""The benchmark of names and map, with small sizes but the same claim: names say what concepts are."""

from pipeline.benchmarks.analyses_layout import map_rows, name_cost_row, names_row
from pipeline.benchmarks.planted_worlds import Eye


def test_concepts_of_an_attribute_are_named_for_it():
    """An SAE after a few steps, 200 pairs: still at least 80% of many concepts of many values."""
    row = names_row(200, Eye(n_training=300, n_steps=150))
    assert row.holds and row.bar == 0.8
    n_concepts, n_values = (int(word) for word in row.beside.split() if word.isdigit())
    assert n_concepts >= 50 and n_values >= 10


def test_figures_are_held_against_their_floors():
    rows = [*map_rows(400, 8), name_cost_row(200, 100)]
    assert [row.bar for row in rows] == [240, 30, 30] and all(row.figure > 0 for row in rows)
    assert "times the cosines alone" in rows[0].beside and "times the counts alone" in rows[2].beside
