"""The concept page on a concept that generators were asked for by name, and on one that they were not."""

import shutil

import polars as pl
import pytest

from dashboard import pictures, probes, queries, queries_pictures, queries_probes
from tables import REAL, TableStore
from tests.dashboard import lakes
from tests.dashboard.test_pages import _texts

SAE, (FIRST, SECOND) = lakes.SAE, lakes.GENERATORS


def _table(app) -> pl.DataFrame:
    """The table of hits among those of the page."""
    (found,) = [table.value for table in app.dataframe if "asked for" in table.value.columns]
    return pl.from_pandas(found)


def test_hits_stand_beside_the_real_images(open_page, full_lake):
    app = open_page(full_lake, "concept", concept="0", generator=SECOND)
    assert not app.exception
    table = _table(app)
    assert table["generator"].to_list() == [FIRST, SECOND]
    assert table["drawn"].to_list() == ["3 of 10: 30% (11% to 60%)"] * 2
    assert table["real, captions say it"][0] == "6 of 8: 75% (41% to 93%)"
    assert table["other real images"][0] == "1 of 4: 25% (5% to 70%)"
    assert table["failed"].to_list() == [1, 0]
    texts = _texts(app)
    assert "What tiny\\-suppressed drew for “red triangle”" in texts
    assert "a photo of red triangle: 1 of 5" in texts and "one red triangle: 2 of 5" in texts
    assert "Wilson" in texts


def test_every_image_says_in_words_whether_the_concept_fires(open_page, full_lake):
    """Three of ten do, and come first; the one that cannot be read has a quiet square."""
    app = open_page(full_lake, "concept", concept="0")
    badges = [text.value for text in app.markdown if text.value.endswith(("fires]", "absent]"))]
    assert [badge.split()[-1] for badge in badges] == ["fires]"] * 3 + ["absent]"] * 7
    row = queries_probes.probes(full_lake, SAE, 0).row(0, named=True)
    images = queries_probes.drawn(row)
    assert images["image_id"].to_list()[:3] == [row["image_ids"][index] for index in (1, 4, 7)]
    files = queries_probes.small_files(full_lake, FIRST, images["image_id"].to_list())
    assert set(files) == set(row["image_ids"]) - {row["image_ids"][1]}
    for data in files.values():
        picture = pictures.decode(data)
        assert picture is not None and max(picture.size) == 144 and len(data) < 10_000


def test_a_name_that_means_harm_is_shown_letter_by_letter(open_page, full_lake):
    """`<b>bold</b> *star* :smile:` in a heading, in prompts and in a table."""
    app = open_page(full_lake, "concept", concept="2")
    assert not app.exception
    (title,) = [each.value for each in app.subheader if "drew for" in each.value]
    assert "<b>" not in title and "*star*" not in title.replace("\\*", "") and ":smile:" not in title
    assert any(text.value == f"one {lakes.NAMES[2]}: 2 of 5" for text in app.text)
    assert _table(app)["asked for"][0] == lakes.NAMES[2]
    assert _table(app)["real, captions say it"][0] == "none"


def test_a_concept_that_was_not_asked_for_names_the_command(open_page, full_lake):
    app = open_page(full_lake, "concept", concept="3")
    assert not app.exception
    assert f'python -m pipeline probe CONFIG --lake {full_lake} --set "probe.concepts=[3]"' in _texts(app)


@pytest.mark.parametrize("missing", ["probes", "images"])
def test_without_its_tables_the_page_stands(open_page, full_lake, tmp_path, missing):
    shutil.copytree(full_lake, tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "tables" / missing)
    app = open_page(str(tmp_path / "lake"), "concept", concept="0")
    assert not app.exception
    assert ("was asked for this concept yet" in _texts(app)) == (missing == "probes")


def test_they_are_no_images_of_pairs(full_lake):
    """Neither in the overview's counts, nor as anybody's twins, though they have the numbers of pairs."""
    counts = queries.image_counts(full_lake)
    assert set(counts["source"]) == {REAL, FIRST, SECOND}
    assert counts["n_ok"].to_list() == [12, 11, 11]
    probed = TableStore(full_lake).scan("probes").select("image_ids").collect()["image_ids"].explode()
    for concept_id in range(lakes.N_CONCEPTS):
        for source in (REAL, FIRST):
            best = queries_pictures.top_images(full_lake, SAE, source, concept_id, FIRST)
            shown = {*best["image_id"], *best["twin_image_id"].drop_nulls()}
            assert not shown & set(probed)


@pytest.mark.parametrize(
    ("counts", "text"),
    [((3, 10, 0.108, 0.603), "3 of 10: 30% (11% to 60%)"), ((0, 0, 0.0, 1.0), "none")],
)
def test_a_share_in_words(counts, text):
    assert probes.share(*counts) == text
