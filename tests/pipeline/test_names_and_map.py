"""Names, map and advice in a real lake: edits that stay, points that stay, and what a rerun touches."""

import json
import shutil
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from pipeline.config import ConfigError, load_config
from pipeline.measures.naming import least_score
from pipeline.stages import advise, compare, layout, name
from pipeline.vocabulary import read_vocabulary
from pipeline.workspace import Workspace
from tables import REAL
from tables.edits import rename
from tests.pipeline.conftest import pipeline
from tests.pipeline.test_end_to_end import GENERATORS, read
from tests.sources.test_text_tower import tiny_clip
from tests.tables.rows import frame


@pytest.fixture
def copy(lake, tmp_path):
    """A copy of the finished lake, to change."""
    return shutil.copytree(lake, tmp_path / "lake")


@contextmanager
def opened(small, lake, *changes: str):
    with Workspace.open(load_config(small, [f"lake={lake}", *changes])) as space:
        yield space


def dense(lake, source: str) -> np.ndarray:
    """Energies (48, 128) of a source; two images of a caption have their mean."""
    rows = read(lake, "energies").filter(pl.col("source") == source)
    matrix = np.zeros((48, 128))
    place = (rows["pair_id"].to_numpy(), rows["concept_id"].to_numpy())
    np.add.at(matrix, place, rows["energy"].to_numpy().astype(np.float64))
    return matrix / (1 if source == REAL else GENERATORS[source] / 48)


def test_found_names_are_first_words_and_every_point_has_a_place(lake):
    concepts = read(lake, "concepts")
    assert concepts["name"].to_list() == concepts["found_name"].to_list()
    assert concepts["found_name"].to_list() == [
        words[0] if len(words) else None for words in concepts["words"]
    ]
    assert concepts["confidence"].null_count() == concepts["name"].null_count() < 128
    places = read(lake, "layout")
    assert places["concept_id"].to_list() == list(range(128)) and places["x"].is_finite().all()


def test_regions_are_summed_up_from_the_map(lake):
    members = read(lake, "layout").drop_nulls("region").group_by("region").agg(pl.len(), pl.col("x").median())
    regions = read(lake, "regions")
    assert regions["region"].to_list() == list(range(len(members))) and len(regions) > 1
    both = regions.join(members.sort("region"), on="region", suffix="_again")
    assert both["n_concepts"].to_list() == both["len"].to_list()
    assert both["x"].to_list() == pytest.approx(both["x_again"].to_list())
    assert (regions["n_concepts"].diff().drop_nulls() <= 0).all()


def test_clustering_is_tested_for_every_generator_on_the_map_and_among_atoms(lake):
    rows = read(lake, "map_clusters")
    found = {(g, s) for g, s, kind in rows.select("generator", "space", "kind").iter_rows() if kind == "less"}
    assert found == {(g, s) for g in GENERATORS for s in ("atoms", "map")}
    assert rows["p"].is_between(1 / 1001, 1).all() and (rows["n_shuffles"] == 1000).all()
    generator = next(iter(GENERATORS))
    row = rows.filter(kind="less", generator=generator, space="map").row(0, named=True)
    tested = read(lake, "energy_differences").filter(pl.col("generator") == generator).drop_nulls("q")
    less = dict(tested.select("concept_id", pl.col("difference") < 0).iter_rows())
    assert row["n_concepts"] == sum(less.values())
    group = dict(read(lake, "concepts").select("concept_id", "group").iter_rows())
    spot = {
        k: np.array([x, y]) for k, x, y in read(lake, "layout").select("concept_id", "x", "y").iter_rows()
    }
    shares = []
    for concept in (k for k in less if less[k]):
        near = sorted((k for k in less if k != concept), key=lambda k: np.hypot(*(spot[k] - spot[concept])))[
            :5
        ]
        near = [k for k in near if group[k] != group[concept]]
        shares.append(np.mean([less[k] for k in near]) if near else 0)
    assert row["agreement"] == pytest.approx(np.mean(shares))


def test_a_users_name_wins_moves_nothing_and_can_be_taken_back(small, copy):
    before = {table: read(copy, table) for table in ("concepts", "layout", "energy_differences", "advice")}
    found = before["concepts"]["name"].to_list()
    done = pipeline("rename", "3", " my  own ", "--lake", str(copy))
    assert done.returncode == 0 and "concept 3 of ra-128-" in done.stdout and "'my own'" in done.stdout
    for changes in ((), ("name_concepts.n_words=2",)):  # a rerun for the edit, and one of other settings
        with opened(small, copy, *changes) as space:
            assert "concepts named" in name.run(space)
            assert "nothing to do" in name.run(space)
            assert "concepts on the map" in layout.run(space)
        after = read(copy, "concepts")
        assert after["name"].to_list() == [*found[:3], "my own", *found[4:]]
        assert after["found_name"].to_list() == found
        assert_frame_equal(read(copy, "layout"), before["layout"])
    with opened(small, copy) as space:
        assert "nothing to do" in compare.run(space)
        rename(space.store, space.sae, 3, "")
        name.run(space)
        advise.run(space)
    for table, rows in before.items():
        assert_frame_equal(read(copy, table), rows)


def test_a_new_generator_touches_its_own_rows_only(small, copy):
    """As if the second generator had just been compared."""
    first, second = GENERATORS
    with opened(small, copy) as space:
        for table in ("map_clusters", "advice"):
            rows, where = read(copy, table), {"sae": space.sae, "generator": second}
            stage = {"map_clusters": "layout", "advice": "advise"}[table]
            space.store.replace(table, rows.clear(), where=where, shard="gone", stage=stage, run_id="gone")
            runs = dict(space.store.scan(table).select("generator", "run_id").unique().collect().iter_rows())
            kept = read(copy, table)
            (layout if stage == "layout" else advise).run(space)
            assert_frame_equal(read(copy, table), rows)
            again = dict(space.store.scan(table).select("generator", "run_id").unique().collect().iter_rows())
            assert_frame_equal(read(copy, table).filter(pl.col("generator") == first), kept)
            assert again.get(first) == runs.get(first)


def test_without_captions_names_say_so_and_the_rest_works(small, copy):
    changes = ("name_concepts.level=0.04", "compare.n_resamples=100")  # or nothing were to do
    with opened(small, copy, *changes) as space:
        pairs = read(copy, "pairs").with_columns(pl.lit("").alias("caption"))
        where = {"dataset": "world"}
        space.store.replace("pairs", pairs, where=where, shard="mute", stage="sample", run_id="mute")
        assert name.run(space) == "0 of 128 concepts named; no image has a caption to name them by"
        compare.run(space)
        assert "128 concepts on the map" in layout.run(space)
        advise.run(space)
    assert read(copy, "caption_differences").is_empty()
    assert read(copy, "regions")["name"].null_count() == len(read(copy, "regions")) > 1
    assert set(read(copy, "advice")["advice"]) <= {"rarely seen", "badly captioned", "drawn unasked"}


def test_advice_says_what_the_tables_say(small, copy):
    """Thresholds near the middle, so that there is something to advise on; counts again with numpy."""
    changes = ("compare.suppressed_below=0.45", "compare.exaggerated_above=0.55", "compare.level=0.9")
    with opened(small, copy, *changes, "advice.rare_below=0.1") as space:
        compare.run(space)
        advise.run(space)
    advice = read(copy, "advice")
    differences = read(copy, "energy_differences")
    flagged = differences.filter(
        pl.col("label").is_in(["suppressed", "exaggerated"]) & (pl.col("label") == pl.col("group_label"))
    )
    keys = ["generator", "concept_id"]
    assert advice.select(keys).rows() == flagged.select(keys).sort(keys).rows() and len(advice) > 20
    captions = read(copy, "pairs").sort("pair_id")["caption"].to_list()
    energies = {source: dense(copy, source) for source in (REAL, *GENERATORS)}
    for row in advice.iter_rows(named=True):
        real, gen = (energies[side][:, row["concept_id"]] for side in (REAL, row["generator"]))
        few = row["label"] == "suppressed"
        assert row["prevalence_real"] == pytest.approx((real > 0).mean())
        side, excess = (real, real - gen) if few else (gen, gen - real)
        fired = int((side > 0).sum())
        strong = np.argsort(-side, kind="stable")[: max(round(0.25 * fired), min(fired, 10))]
        said = np.array(
            [any(f" {word} " in f" {text.replace(',', '')} " for word in row["words"]) for text in captions]
        )
        assert (row["n_strong"], row["n_mentioned"]) == (len(strong), said[strong].sum())
        mention = row["n_mentioned"] / max(row["n_strong"], 1) >= 0.2
        expected = (
            ("not drawn" if mention else "badly captioned")
            if few
            else ("overdrawn" if mention else "drawn unasked")
        )
        expected = "rarely seen" if few and (real > 0).mean() < 0.1 else expected
        assert row["advice"] == expected
        assert (excess[row["pair_ids"]] > 0).all() and len(row["pair_ids"]) <= 12
        assert (
            f"{row['n_mentioned']} of its {row['n_strong']} strongest" in row["reason"]
            or expected == "rarely seen"
        )


def test_export_of_advice(small, copy, tmp_path):
    with opened(small, copy, "compare.suppressed_below=0.45", "compare.level=0.9") as space:
        compare.run(space)
        advise.run(space)
        rename(space.store, space.sae, int(read(copy, "advice")["concept_id"][0]), "=1+1")
        advise.run(space)
    advice = read(copy, "advice")
    for ending in ("csv", "parquet"):
        done = pipeline("export", "advice", "--lake", str(copy), "--to", str(tmp_path / f"a.{ending}"))
        assert done.returncode == 0 and f"{len(advice)} rows of advice" in done.stdout
    assert_frame_equal(pl.read_parquet(tmp_path / "a.parquet").drop("run_id"), advice)
    table = pl.read_csv(tmp_path / "a.csv")
    assert [json.loads(cell) for cell in table["pair_ids"]] == advice["pair_ids"].to_list()
    assert table["reason"].to_list() == advice["reason"].to_list()
    assert (
        table.filter(pl.col("name") == "'=1+1").height and not table.filter(pl.col("name") == "=1+1").height
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("export", "images", "--to", "a.csv"), "the table images is large"),
        (("export", "probes", "--to", "a.csv"), "is empty; run the stage probe first"),
        (("export", "concepts", "--to", "a.xlsx"), "neither .csv nor .parquet"),
        (("export", "advise", "--to", "a.csv"), "unknown table 'advise': the nearest are advice"),
        (("rename", "999", "x"), "there is no concept 999"),
        (("rename", "3", "x", "--sae", "other"), "there is no concept 3 of 'other'"),
    ],
)
def test_what_cannot_be_exported_or_renamed(lake, arguments, sentence, tmp_path):
    done = pipeline(*arguments, "--lake", str(lake), cwd=tmp_path)
    assert done.returncode == 2 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_a_vocabulary_names_what_fits_the_images(small, copy, tmp_path):
    tower = tiny_clip(tmp_path / "clip")
    words = tmp_path / "words.txt"
    words.write_text("a red star\n\n a  blue moon \nstar\na red star\n", encoding="utf-8")
    assert read_vocabulary(str(words)) == ["a red star", "a blue moon", "star"]
    before = read(copy, "concepts")
    changes = (f"name_concepts.vocabulary={words}", f"name_concepts.text_tower={tower}")
    with opened(small, copy, *changes, "name_concepts.level=0.2") as space:
        name.run(space)
        assert "nothing to do" in name.run(space)
        words.write_text("star\n", encoding="utf-8")
        assert "concepts named" in name.run(space)  # the file's contents count, not its name
        words.write_text("a red star\na blue moon\nstar\n", encoding="utf-8")
        name.run(space)
    named = read(copy, "concepts")
    chosen = named.filter(pl.col("found_name").is_in(["a red star", "a blue moon", "star"]) & ~own(named))
    assert chosen.height > 0
    assert (chosen["confidence"] >= least_score(3, 0.2)).all()
    others = named.join(chosen, on="concept_id", how="anti").join(before, on="concept_id", suffix="_before")
    assert others["found_name"].to_list() == others["words"].list.first().to_list()
    assert named["words"].list.len().sum() >= before["words"].list.len().sum() > 0


def own(concepts: pl.DataFrame) -> pl.Expr:
    """Whether the found name is a caption word of the concept."""
    return pl.col("words").list.contains(pl.col("found_name"))


def test_vocabularies_that_cannot_be_used(small, tmp_path):
    with pytest.raises(ConfigError, match="vocabulary and text_tower go together"):
        load_config(small, ["name_concepts.vocabulary=words.txt"])
    with pytest.raises(ValueError, match="cannot be read as UTF-8"):
        read_vocabulary(str(tmp_path / "none.txt"))
    for text, sentence in (("\n \n", "has 0 phrases"), ("x" * 101, "a phrase of 101 characters")):
        (tmp_path / "words.txt").write_text(text)
        with pytest.raises(ValueError, match=sentence):
            read_vocabulary(str(tmp_path / "words.txt"))


def grown(config, folder, atoms) -> Workspace:
    """A workspace with an SAE of these atoms, whose concepts are named for their numbers."""
    from sae_models import SAE, SAEConfig

    sae = SAE(SAEConfig(d_model=16, n_concepts=len(atoms), dictionary="free", k=1))
    sae.atoms.start(atoms)
    sae.save(folder)
    space = Workspace.open(load_config(config, [f"lake={folder.parent / 'lake'}", f"sae.load={folder}"]))
    rows = [
        {
            "sae": space.sae,
            "concept_id": k,
            "name": f"number {k}",
            "words": [f"number {k}"],
            "neighbours": [],
            "neighbour_cosine": [],
        }
        for k in range(len(atoms))
    ]
    space.store.replace(
        "concepts",
        frame("concepts", *rows),
        where={"sae": space.sae},
        shard=str(len(atoms)),
        stage="name",
        run_id="x",
    )
    return space


def test_old_points_keep_their_place_when_the_sae_grows(small, tmp_path):
    """The same folder, first with 60 atoms, then with eight more, copies of the first eight."""
    atoms = torch.randn(60, 16, generator=torch.Generator().manual_seed(0))
    with grown(small, tmp_path / "sae", atoms) as space:
        assert layout.run(space).startswith("60 concepts on the map")
    old = read(tmp_path / "lake", "layout")
    with grown(small, tmp_path / "sae", torch.cat([atoms, atoms[:8]])) as space:
        assert layout.run(space).startswith("68 concepts on the map")
        assert "nothing to do" in layout.run(space)
    new = read(tmp_path / "lake", "layout")
    assert_frame_equal(new.head(60), old)
    assert new[60:].select("x", "y").to_numpy() == pytest.approx(
        old[:8].select("x", "y").to_numpy(), abs=1e-3
    )
    assert new[60:]["region"].to_list() == old[:8]["region"].to_list()
    with grown(small, tmp_path / "sae", torch.cat([atoms, atoms[:8]])) as space:
        other = Workspace.open(
            space.config.model_copy(update={"layout": space.config.layout.model_copy(update={"seed": 1})})
        )
        layout.run(other)  # another map was asked for
    assert not new.select("x").equals(read(tmp_path / "lake", "layout").select("x"))


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_concepts_have_a_map_without_regions(n, small, tmp_path):
    with grown(small, tmp_path / "sae", torch.eye(16)[:n]) as space:
        assert layout.run(space).startswith(f"{n} concepts on the map, 0 regions")
    assert read(tmp_path / "lake", "layout")["region"].null_count() == n
    assert read(tmp_path / "lake", "regions").is_empty()
