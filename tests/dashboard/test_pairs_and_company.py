"""The pages of pairs and of co-occurrence: every view, links of any kind, and what they ask of a lake."""

import math
import shutil

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from dashboard import charts_company, charts_images, company, datapoints, queries_company, queries_images
from tables import REAL, image_id
from tests.dashboard import lakes

SAE, GENERATOR = lakes.SAE, lakes.GENERATORS[0]
VIEWS = [("images", "view", view) for view in datapoints.VIEWS] + [
    ("cooccurrence", "look", view) for view in company.VIEWS
]
KEYS = (
    "pair",
    "score",
    "caption",
    "verdict",
    "order",
    "page",
    "direction",
    "set",
    "size",
    "shown",
    "concept",
)


def _texts(app: AppTest) -> str:
    parts = [*app.title, *app.header, *app.subheader, *app.text, *app.caption, *app.code, *app.info]
    return "\n".join(str(part.value) for part in parts)


# Pages


@pytest.mark.parametrize(("page", "key", "view"), VIEWS)
def test_every_view_reads_and_takes_links_of_any_kind(open_page, full_lake, page, key, view):
    app = open_page(full_lake, page, **{key: view})
    assert not app.exception
    assert "How to read it" in _texts(app)
    for value in ("-1", "99999999999999999999", "<b>**b**</b> 💥 \u202e :red[x]", "٣" * 3000):
        app = open_page(full_lake, page, **dict.fromkeys(KEYS, value), **{key: view})
        assert not app.exception
    for element in [*app.markdown, *app.caption, *app.subheader]:
        assert "<b>" not in element.value
        assert "](javascript" not in element.value


def test_captions_and_verdicts_narrow_the_pairs(open_page, full_lake):
    app = open_page(full_lake, "images", view="pairs", caption="<SCRIPT>")
    assert "1 of 12 pairs" in _texts(app)
    assert lakes.HOSTILE[0].startswith(app.text[-1].value[:40])
    app = open_page(full_lake, "images", view="pairs", verdict="faithful")
    assert "10 of 12 pairs" in _texts(app)
    app = open_page(full_lake, "images", view="pairs", caption="no such words")
    assert "No pair passes" in _texts(app)


def test_a_card_opens_its_pair_and_the_next_one_follows_by_rank(open_page, full_lake):
    app = open_page(full_lake, "images", view="pairs")
    app.button(key="open-pair-9-0").click().run()
    assert not app.exception
    assert app.query_params["pair"] == "9"
    assert "rank 3 of 12 (1 is the most different)" in _texts(app)
    next(button for button in app.button if button.label == "Next").click().run()
    assert app.query_params["pair"] == "8"


def test_copies_stand_beside_the_nearest_real_image(open_page, full_lake):
    text = _texts(open_page(full_lake, "images", view="copies"))
    assert "1 memorised and 0 after a template, of 12 pairs." in text
    assert "Edges 0.95, layout 0.97, q 1.0e−05. Nearest is its own real image." in text


def test_no_communities_name_their_command(open_page, full_lake, tmp_path):
    shutil.copytree(full_lake, tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "tables" / "communities")
    lake = str(tmp_path / "lake")
    app = open_page(lake, "cooccurrence", look="heat map", set="one community")
    assert not app.exception
    assert "python -m pipeline cooccur CONFIG" in _texts(app)
    assert not open_page(lake, "cooccurrence", look="one concept").exception


@pytest.mark.parametrize("kind", queries_company.SETS)
@pytest.mark.parametrize("shown", ["change", "real and generated"])
def test_every_set_of_concepts_has_its_heat_map(open_page, full_lake, kind, shown):
    app = open_page(full_lake, "cooccurrence", look="heat map", set=kind, shown=shown, q="<b>")
    assert not app.exception


# Queries


def test_parts_of_a_pair_add_up_to_its_distance_by_hand(full_lake):
    rows = queries_images.pair_concepts(
        full_lake, SAE, GENERATOR, image_id(lakes.DATASET, REAL, 6), image_id(lakes.DATASET, GENERATOR, 6)
    )
    apart = sum(w * abs(g - r) for r, g, w in rows.select("real", "generated", "weight").iter_rows())
    total = sum(w * (g + r) for r, g, w in rows.select("real", "generated", "weight").iter_rows())
    assert rows["share"].abs().sum() == pytest.approx(apart / total)
    first = rows.row(0, named=True)
    assert (first["share"] > 0) == (first["generated"] > first["real"])
    real = queries_images.image_energies(full_lake, SAE, REAL, image_id(lakes.DATASET, REAL, 6))
    assert rows.filter(pl.col("real") > 0).height == real.height


def test_orders_and_copies(full_lake):
    frame = queries_images.pairs(full_lake, SAE, GENERATOR)
    words = queries_images.captions(full_lake)
    assert frame["pair_id"].to_list() == list(range(11, -1, -1))
    assert queries_images.chosen(frame, words, "", (), "most alike")["pair_id"][0] == 0
    assert queries_images.chosen(frame, words, "", (), "most like a real image")["pair_id"][0] == 0
    assert queries_images.chosen(frame, words, "RED", (), "pair number")["pair_id"].to_list() == [1, 6, 9]
    assert queries_images.copies(frame)["pair_id"].to_list() == [0]
    counts = queries_images.verdict_counts(full_lake, SAE).row(0, named=True)
    assert (counts["n_pairs"], counts["memorised"], counts["different"], counts["faithful"]) == (12, 1, 1, 10)


def test_the_surest_changes_come_first(full_lake):
    apart, together, total = queries_company.sure_counts(full_lake, SAE, GENERATOR)
    assert total == 66  # twelve concepts, every two of them
    for side, n, sign in ((queries_company.APART, apart, -1), (queries_company.TOGETHER, together, 1)):
        rows = queries_company.changes(full_lake, SAE, GENERATOR, side)
        assert (rows["sure"] * sign > 0).sum() == n
        assert (rows["sure"] * sign).is_sorted(descending=True)
        assert (rows["difference"] * sign > 0).all()
    assert apart > 0


def test_a_set_keeps_communities_together_and_its_size(full_lake):
    groups = queries_company.communities(full_lake, SAE)
    frame = pl.DataFrame({"concept_id": range(40), "prevalence": [k / 40 for k in range(40)]})
    frame = frame.cast({"concept_id": pl.Int32})
    asked = {"kind": "one community", "n": 4, "form": "ratio", "text": "", "community": 1}
    changed = queries_company.changes(full_lake, SAE, GENERATOR, queries_company.APART)
    assert queries_company.concept_set(frame, groups, changed, asked) == [7, 8, 9, 10]
    frequent = queries_company.concept_set(frame, groups, changed, asked | {"kind": "most frequent", "n": 30})
    assert frequent == [10, 11, *range(12, 40)]
    assert len(queries_company.partners(full_lake, SAE, GENERATOR, 5, n=6)) == 6


# Figures


def _rows(spec: dict, layer: int) -> list[dict]:
    return spec["datasets"][spec["layer"][layer]["data"]["name"]]


def test_score_bins_by_hand():
    values = pl.DataFrame({"generator": ["a", "a", "b"], "value": [0.0, 1.0, 0.5]})
    bins = charts_images.score_bins(values, n_bins=2)
    assert bins["left"].to_list() == [0.0, 0.5, 0.0, 0.5]
    assert bins["share"].to_list() == [0.5, 0.5, 0.0, 1.0]
    charts_images.score_distributions(values.head(0), "distance").to_dict()
    charts_images.score_distributions(values.head(1), "distance", "a", "dark").to_dict()


def test_bars_of_a_pair_point_to_the_side_with_more():
    concepts = pl.DataFrame(
        {
            "concept_id": [1, 2],
            "name": ["<b>", None],
            "real": [2.0, 1.0],
            "generated": [0.0, 3.0],
            "share": [-0.3, 0.2],
        }
    )
    rows = _rows(charts_images.concept_shares(concepts).to_dict(), 0)
    assert [row["title"] for row in rows] == ["<b> · 1", "concept 2 · 2"]
    assert [row["ratio"] for row in rows] == [0.0, 0.75]
    charts_images.concept_shares(concepts.head(0), mode="dark").to_dict()


def test_a_matrix_shows_every_pair_on_both_sides_of_the_diagonal():
    pair = pl.DataFrame(
        {"concept_a": [1], "concept_b": [2], "difference": [-0.4], "low": [-0.5], "high": [-0.3], "q": [0.01]}
    )
    spec = charts_company.company_matrix(pair, [2, 1], {1: "red", 2: "it's\\"}).to_dict()
    assert {(row["a"], row["b"], row["difference"]) for row in _rows(spec, 0)} == {(1, 2, -0.4), (2, 1, -0.4)}
    scale = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert scale == ["it's\\ · 2", "red · 1"]
    colours = spec["layer"][0]["encoding"]["color"]["scale"]
    assert (colours["domain"][0], colours["domain"][10], colours["domain"][-1]) == (-0.5, 0.0, 0.5)


def test_real_lies_below_the_diagonal_and_generated_above():
    real = pl.DataFrame({"concept_a": [1], "concept_b": [2], "correlation": [0.25]})
    drawn = real.with_columns(correlation=0.75)
    rows = _rows(charts_company.correlation_matrix(real, drawn, [1, 2], {1: "x", 2: "y"}).to_dict(), 0)
    found = {(row["images"], row["first"], row["second"], row["correlation"]) for row in rows}
    assert found == {("real", "x · 1", "y · 2", 0.25), ("generated", "y · 2", "x · 1", 0.75)}


def test_the_centre_of_an_ego_graph_has_its_communities_side_by_side():
    concepts = pl.DataFrame(
        {"concept_id": [9, 1, 2, 3, 4], "community": [0, 1, 0, None, 1]},
        schema={"concept_id": pl.Int32, "community": pl.Int32},
    )
    places = charts_company.ego_places(concepts, 9)
    assert places["concept_id"].to_list() == [9, 2, 1, 4, 3]
    assert places.row(0, named=True)["x"] == 0
    assert places["y"].to_list()[1:] == pytest.approx([1.0, 0.0, -1.0, 0.0], abs=1e-12)
    assert all(math.hypot(*each) == pytest.approx(1) for each in places.select("x", "y").tail(4).iter_rows())
    links = pl.DataFrame(
        {
            "concept_a": [1, 1],
            "concept_b": [9, 2],
            "correlation": [0.5, -0.1],
            "difference": [None, 0.2],
        },
        schema_overrides={"concept_a": pl.Int32, "concept_b": pl.Int32},
    )
    named = places.with_columns(name=pl.lit("<b>"), group=pl.lit("community"))
    rows = _rows(charts_company.ego_graph(named, links, 9, True, "dark").to_dict(), 0)
    assert [(row["concept_a"], row["concept_b"], row["own"]) for row in rows] == [(1, 9, True)]
