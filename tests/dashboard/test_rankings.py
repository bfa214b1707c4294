"""Concepts judged, filtered, ranked and compared, and runs side by side, against hand-worked values."""

import math

import numpy as np
import polars as pl
import pytest

from dashboard import charts_compare, history, rankings, theme
from dashboard.rankings import Narrowing, Rule

# Concept: E_real, E_gen, ratio, its interval, q, pairs it fires in on either side.
ROWS = {
    0: (9.0, 1.0, 0.1, 0.05, 0.2, 0.001, 40, 10),
    1: (1.0, 4.0, 0.8, 0.7, 0.9, 0.04, 20, 60),
    2: (1.0, 1.0, 0.5, 0.4, 0.6, 0.9, 100, 100),
    3: (3.0, 1.0, 0.25, 0.1, 0.7, 0.3, 4, 1),
    4: (0.0, 0.0, None, None, None, None, 0, 0),
}


def _frame(generator: str = "a", form: str = "ratio") -> pl.DataFrame:
    names = [
        "energy_real",
        "energy_gen",
        "ratio",
        "ratio_low",
        "ratio_high",
        "q",
        "n_fired_real",
        "n_fired_gen",
    ]
    frame = pl.DataFrame([list(row) for row in ROWS.values()], schema=names, orient="row", strict=False)
    known = pl.col("ratio").is_not_null()
    rel = 2 * pl.col("ratio") - 1
    sigmoid = 1 / (1 + (-(pl.col("energy_gen") - pl.col("energy_real")) / 0.8).exp())
    return frame.with_columns(
        concept_id=pl.Series(list(ROWS), dtype=pl.Int32),
        generator=pl.lit(generator),
        form=pl.lit(form),
        difference=pl.col("energy_gen") - pl.col("energy_real"),
        difference_low=pl.col("energy_gen") - pl.col("energy_real") - 0.5,
        difference_high=pl.col("energy_gen") - pl.col("energy_real") + 0.5,
        n_pairs=pl.lit(100, pl.Int64),
        p=pl.col("q"),
        low=pl.col("ratio_low"),
        high=pl.col("ratio_high"),
        relative=1 / (1 + (-rel / 0.4).exp()),
        absolute=pl.when(known).then(sigmoid),
        label=pl.lit("stored"),
        group=pl.Series(list(ROWS), dtype=pl.Int32),
        group_delta=pl.col("ratio"),
        group_low=pl.col("ratio_low"),
        group_high=pl.col("ratio_high"),
        group_q=pl.lit(0.001),
        group_label=pl.lit("stored"),
        name=pl.Series(["bird feeder", "palm", None, "<b>wood</b>", None]),
        words=pl.Series([["bird"], ["palm", "tree"], [], ["wood"], []], dtype=pl.List(pl.String)),
        region_name=pl.Series(["garden · 0", "garden · 0", None, "things · 1", None]),
    )


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        (Rule(0.2, 0.75, 0.05), ["suppressed", "exaggerated", "aligned", "uncertain", "uncertain"]),
        (Rule(0.1, 0.9, 0.05), ["uncertain", "aligned", "aligned", "aligned", "uncertain"]),
        (Rule(0.3, 0.75, 0.01), ["suppressed", "uncertain", "aligned", "uncertain", "uncertain"]),
        (Rule(0.3, 0.75, 0.5), ["suppressed", "exaggerated", "aligned", "suppressed", "uncertain"]),
    ],
)
def test_labels_follow_the_rule_that_is_set(rule, labels):
    assert rankings.judged(_frame(), "ratio", rule)["label"].to_list() == labels


def test_labels_follow_the_form():
    # relative: sigmoid(-0.8 / 0.4) = 0.119; its interval ends at sigmoid((2 * 0.2 - 1) / 0.4) = 0.182
    relative = rankings.judged(_frame(), "relative", Rule(0.12, 0.9))
    assert relative["label"][0] == "suppressed"
    assert relative["delta"][0] == pytest.approx(1 / (1 + math.exp(2)))
    assert relative["high"][0] == pytest.approx(1 / (1 + math.exp(1.5)))
    assert relative["group_label"].to_list() == [None] * 5  # its interval is in the stored form
    # absolute: sigmoid(-8 / 0.8) = 0.0000454 and sigmoid(3 / 0.8) = 0.977
    absolute = rankings.judged(_frame(), "absolute", Rule(0.001, 0.95))
    assert absolute["label"].to_list()[:3] == ["suppressed", "exaggerated", "aligned"]
    assert absolute["low"][0] == pytest.approx(1 / (1 + math.exp(8.5 / 0.8)))


def test_a_group_is_judged_by_its_own_numbers():
    grouped = rankings.judged(_frame(), "ratio", Rule(0.3, 0.75))
    assert grouped["label"][3] == "uncertain"  # q 0.3
    assert grouped["group_label"][3] == "suppressed"  # q 0.001


@pytest.mark.parametrize(
    ("narrowing", "ids"),
    [
        (Narrowing(), [0, 1, 2, 3, 4]),
        (Narrowing(labels=("suppressed",)), [0]),
        (Narrowing(labels=("suppressed", "exaggerated")), [0, 1]),
        (Narrowing(region="garden · 0"), [0, 1]),
        (Narrowing(text="TREE"), [1]),
        (Narrowing(text="<b>"), [3]),
        (Narrowing(text="2"), [2]),
        (Narrowing(least=0.4), [0, 1, 2]),  # 40, 60 and 100 of 100 pairs, on the larger side
        (Narrowing(labels=("aligned",), region="garden · 0"), []),
    ],
)
def test_filters(narrowing, ids):
    frame = rankings.judged(_frame(), "ratio", Rule(0.2, 0.75))
    assert sorted(rankings.narrowed(frame, narrowing)["concept_id"]) == ids


@pytest.mark.parametrize(
    ("by", "ids"),
    [
        ("difference", [0, 1, 3, 2, 4]),  # 0.4, 0.3, 0.25, 0, none
        ("certainty", [0, 1, 3, 2, 4]),  # 0.001, 0.04, 0.3, 0.9, none
        ("energy", [0, 1, 3, 2, 4]),  # 8, 3, 2, 0, 0
        ("prevalence", [2, 1, 0, 3, 4]),  # 100, 60, 40, 4, 0
    ],
)
def test_ranks(by, ids):
    ranked = rankings.ranked(rankings.judged(_frame(), "ratio", Rule()), by)
    assert ranked["concept_id"].to_list() == ids
    assert ranked["rank"].to_list() == [1, 2, 3, 4, 5]


def test_an_export_says_what_it_was_made_with():
    rule = Rule(0.2, 0.75, 0.05)
    table = rankings.export(
        rankings.ranked(rankings.judged(_frame(), "ratio", rule), "difference"), "sae", "ratio", rule
    )
    first = table.row(0, named=True)
    assert (first["rank"], first["sae"], first["generator"], first["concept_id"]) == (1, "sae", "a", 0)
    assert (first["form"], first["below"], first["above"], first["level"]) == ("ratio", 0.2, 0.75, 0.05)
    assert (first["label"], first["delta"], first["words"]) == ("suppressed", 0.1, ["bird"])


def test_changes_put_the_sure_ones_first():
    after = _frame("b").with_columns(
        ratio=pl.Series([0.9, 0.75, 0.5, 0.95, None]),
        ratio_low=pl.Series([0.85, 0.7, 0.4, 0.2, None]),
        ratio_high=pl.Series([0.95, 0.8, 0.6, 1.0, None]),
    )
    after = after.with_columns(low="ratio_low", high="ratio_high")
    moved = rankings.changes(_frame(), after, "ratio")
    assert moved["concept_id"].to_list() == [0, 3, 1, 2]  # 4 has no energy
    first, wide = moved.row(0, named=True), moved.row(1, named=True)
    assert first["change"] == pytest.approx(0.8)
    assert first["change_low"] == pytest.approx(0.8 - math.hypot(0.05, 0.1))
    assert first["change_high"] == pytest.approx(0.8 + math.hypot(0.05, 0.05))
    assert (first["sure"], wide["sure"]) == (True, False)  # 0.7 less hypot(0.75, 0.45) is below 0
    assert first["delta_a"] == 0.1 and first["delta_b"] == 0.9


def test_every_concept_is_counted_once_under_all_its_generators():
    rows = [("a", 1), ("b", 1), ("b", 2), ("c", 2), ("a", 3), ("b", 3), ("c", 9)]
    labels = pl.DataFrame(rows, schema=["generator", "concept_id"], orient="row")
    labels = labels.with_columns(
        label=pl.when(pl.col("concept_id") == 9).then(pl.lit("x")).otherwise(pl.lit("s"))
    )
    shared = rankings.shared(labels, "s")
    assert shared.rows() == [(["a", "b"], 2, [1, 3]), (["b", "c"], 1, [2])]
    assert rankings.shared(labels, "none of these").is_empty()


def _data(spec: dict, layer: dict) -> list[dict]:
    return spec["datasets"][layer["data"]["name"]]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_matrix_has_every_couple_once_below_the_diagonal(mode):
    figures = pl.DataFrame(
        [("c", "a", 0.5, 0.4, 0.6), ("a", "b", -0.25, None, None), ("x", "a", 1.0, 1.0, 1.0)],
        schema=["generator_a", "generator_b", "value", "low", "high"],
        orient="row",
    )
    spec = charts_compare.agreement_matrix(figures, ["a", "b", "c"], mode).to_dict()
    cells = {(row["across"], row["down"]): (row["text"], row["span"]) for row in _data(spec, spec)}
    assert cells == {("a", "c"): ("0.50", "0.40 to 0.60"), ("a", "b"): ("−0.25", "")}


def _luminance(colour: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB colours (..., 3) in 0 to 255, as the WCAG defines it."""
    share = colour / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figures_in_the_agreement_matrix_can_be_read_on_every_shade(mode):
    figures = pl.DataFrame(
        {"generator_a": ["a"], "generator_b": ["b"], "value": [0.5], "low": [0.4], "high": [0.6]}
    )
    spec = charts_compare.agreement_matrix(figures, ["a", "b"], mode).to_dict()
    tone = spec["layer"][1]["encoding"]["color"]
    bound = float(tone["condition"]["test"].removeprefix("datum.value > "))
    value = np.linspace(0, 1, 101)
    low, high = (np.array(theme.rgb(each)) for each in theme.ACCENT[mode])
    lightness = [116 * np.cbrt(_luminance(each)) - 16 for each in (low, high)]
    shade = ((np.interp(value, [0, 1], lightness) + 16) / 116) ** 3  # interpolated in CIELAB
    inks = {"#ffffff": 1.0, "#000000": 0.0}
    ink = np.where(value > bound, inks[tone["condition"]["value"]], inks[tone["value"]])
    contrast = (np.maximum(ink, shade) + 0.05) / (np.minimum(ink, shade) + 0.05)
    assert contrast.min() > 4.4


def _changes(n: int) -> pl.DataFrame:
    share = [k / n for k in range(n)]
    return pl.DataFrame(
        {
            "concept_id": range(n),
            "label_a": "aligned",
            "label_b": "aligned",
            "delta_a": share,
            "delta_b": [0.5] * n,
            "change": [0.5 - each for each in share],
            "change_low": [0.4 - each for each in share],
            "change_high": [0.6 - each for each in share],
            "sure": [abs(0.5 - each) > 0.1 for each in share],
        }
    ).sort(-pl.col("change").abs(), "concept_id")


def test_points_and_shade_hold_every_concept_once():
    changes = _changes(charts_compare.N_POINTS + 500)
    points = charts_compare.scatter_points(changes, {0: "zero"})
    shade = charts_compare.crowd(changes, points)
    assert points.height == charts_compare.N_POINTS
    assert shade["n"].sum() == 500
    assert points["name"][0] == "zero"  # furthest from aligned
    # The 500 that are left lie nearest to 0.5 on both axes.
    assert shade["x"].min() >= 0.35 and shade["x2"].max() <= 0.65
    assert charts_compare.crowd(_changes(10), charts_compare.scatter_points(_changes(10), {})).is_empty()


def test_the_scatter_rings_the_chosen_concept_and_selects_by_id():
    points = charts_compare.scatter_points(_changes(10), {})
    spec = charts_compare.generator_scatter(points, points.head(0), ("a", "b"), 3).to_dict()
    assert [row["concept_id"] for row in _data(spec, spec["layer"][-1])] == [3]
    params = [p for p in spec["params"] if p["name"] == charts_compare.PICK]
    assert params[0]["select"]["fields"] == ["concept_id"]
    middle = theme.hex_colour(theme.diverging([0.25])[0])  # the mean of 0 and 0.5
    assert points.filter(pl.col("concept_id") == 0)["colour"].to_list() == [middle]


def test_dumbbells_show_sure_changes_of_both_signs():
    spec = charts_compare.change_dumbbells(_changes(100), {0: "zero"}, n=2).to_dict()
    shown = [row["name"] for row in _data(spec, spec["layer"][1])]
    assert shown == ["zero · 0", "concept 1 · 1", "concept 98 · 98", "concept 99 · 99"]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_figures_of_no_rows_still_draw(mode):
    kinds = dict.fromkeys(("value", "low", "high", "spearman"), pl.Float64)
    names = dict.fromkeys(("generator_a", "generator_b", "generator", "other_sae"), pl.String)
    nothing = pl.DataFrame(schema={**kinds, **names})
    charts_compare.agreement_matrix(nothing, ["a"], mode).to_dict()
    charts_compare.sae_dots(nothing, mode).to_dict()
    charts_compare.change_dumbbells(_changes(10).head(0), {}, mode=mode).to_dict()
    labels = pl.DataFrame(schema={"generator": pl.String, "concept_id": pl.Int32, "label": pl.String})
    charts_compare.shared_bars(rankings.shared(labels, "suppressed"), ["a"], "suppressed", mode).to_dict()
    points = charts_compare.scatter_points(_changes(10).head(0), {}, mode)
    charts_compare.generator_scatter(points, points, ("a", "b"), None, mode).to_dict()


def test_two_runs_side_by_side():
    frame = history.beside({"k": "8", "seed": "0", "old": "1"}, {"k": "16", "seed": "0"})
    assert frame.rows() == [("k", "8", "16", True), ("old", "1", None, True), ("seed", "0", "0", False)]
    alone = history.beside({"k": "8"}, None)
    assert alone.rows() == [("k", "8", None, False)]
    metrics = history.metric_changes(
        {"r2": 0.5, "n": 10.0, "nan": math.nan}, {"r2": 0.75, "n": 8.0, "nan": math.nan}
    )
    assert dict(metrics.select("key", "change").iter_rows()) == {"n": "−2.00", "r2": "+0.250", "nan": ""}
    assert metrics.filter("differs")["key"].to_list() == ["n", "r2"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "still running"),
        (0.371, "0.37 s"),
        (51.4, "51 s"),
        (261.7, "4 min 22 s"),
        (7260.0, "2 h 1 min"),
    ],
)
def test_durations(seconds, shown):
    assert history.duration(seconds) == shown


def test_a_run_is_told_by_stage_subject_and_time():
    run = {
        "stage": "generate",
        "name": "generate",
        "started": None,
        "params": [{"key": "generator.name", "value": "sd15\n<b>"}],
        "metrics": [{"key": "images", "value": 500.0}, {"key": "images_per_second", "value": 9.73}],
        "read": [{"table": "pairs", "version": 6}],
        "wrote": [{"table": "images", "version": 11}],
    }
    assert history.title(run) == "generate · sd15 <b> · never started"
    assert history.rate(run) == "9.73 images/s"
    assert history.table_versions(run) == {"pairs, read": "6", "images, wrote": "11"}
    assert history.versions(run["read"]) == "pairs 6"
    assert history.versions(None) == "–"
