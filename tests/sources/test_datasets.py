"""Captioned datasets: samples, files, tables, streams, and captions or pictures that are not there."""

import io
import subprocess
import sys

import polars as pl
import pytest
from PIL import Image

from pipeline.sources.datasets import DATASETS, DatasetConfig, fetch_images, open_dataset
from pipeline.sources.images import ImageError, encode

N = 12


def png(index: int) -> bytes:
    return encode(Image.new("RGB", (20, 20), (index, 0, 0)))


def red(data: bytes) -> int:
    return Image.open(io.BytesIO(data)).getpixel((0, 0))[0]


@pytest.fixture
def folder(tmp_path):
    for index in range(N):
        (tmp_path / f"{index}.png").write_bytes(png(index))
    lines = [f'{index}.png,"caption, {index}"' for index in range(N)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,caption", *lines]))
    return tmp_path


def opened(kind: str, path, **options):
    return open_dataset(DatasetConfig(kind=kind, name="mine", path=str(path), **options))


def check(dataset, n_rows: int) -> pl.DataFrame:
    rows = dataset.rows()
    assert rows.schema == {"pair_id": pl.Int64, "caption": pl.String, "uri": pl.String}
    assert rows["pair_id"].to_list() == list(range(n_rows))
    return rows


def test_folder(folder):
    dataset = opened("folder", folder, n_pairs=5, spare=1, seed=3)
    rows = check(dataset, 6)
    for row in rows.iter_rows(named=True):
        assert row["caption"] == f"caption, {red(dataset.image_bytes(row['uri']))}"
    assert rows.equals(opened("folder", folder, n_pairs=6, seed=3).rows())
    assert rows["uri"].to_list() != opened("folder", folder, n_pairs=6, seed=4).rows()["uri"].to_list()


def test_more_pairs_keep_those_already_there(folder):
    every = check(opened("folder", folder), N)
    assert sorted(every["uri"]) == sorted(f"{index}.png" for index in range(N))
    assert every["uri"].to_list() != [f"{index}.png" for index in range(N)]
    assert opened("folder", folder, n_pairs=4).rows().equals(every[:4])
    assert opened("folder", folder, n_pairs=99).rows().equals(every)


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".jsonl", ".csv"])
def test_table_formats(folder, suffix):
    table = pl.DataFrame({"file_name": ["1.png", "2.png", None], "text": ["007", None, "c"]})
    write = {".parquet": table.write_parquet, ".jsonl": table.write_ndjson, ".csv": table.write_csv}
    path = folder / f"captions{suffix}"
    write.get(suffix, lambda path: table.write_csv(path, separator="\t"))(path)
    dataset = opened("table", path, caption_column="text")
    rows = check(dataset, 3)
    assert dict(zip(rows["uri"], rows["caption"], strict=True)) == {"1.png": "007", "2.png": "", "": "c"}
    assert red(dataset.image_bytes("2.png")) == 2
    assert red(opened("table", path, caption_column="text", image_root=str(folder)).image_bytes("1.png")) == 1


def test_bad_rows_are_reported_and_the_rest_read(folder):
    (folder.parent / "secret.png").write_bytes(png(99))
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    names = [
        "1.png",
        "../secret.png",
        str(folder.parent / "secret.png"),
        "link.png",
        "no.png",
        "",
        "a\0b",
        "2.png",
    ]
    dataset = opened("folder", folder)
    fetched = list(fetch_images(dataset, names, workers=2))
    assert [one.data is not None for one in fetched] == [True, *[False] * 6, True]
    assert all("lies outside of" in (one.error or "") for one in fetched[1:4])
    assert fetched[4].error == "no.png cannot be read (No such file or directory)."
    assert fetched[5].error == "the row names no image file."


@pytest.mark.parametrize(
    ("name", "text", "options", "sentence"),
    [
        (
            "c.csv",
            "file_name,text\na,b\n",
            {},
            "c.csv has no column 'caption'; set caption_column to one of: file_name, text.",
        ),
        (
            "c.csv",
            "path,caption\na,b\n",
            {},
            "c.csv has no column 'file_name'; set image_column to one of: path, caption.",
        ),
        (
            "c.csv",
            "url,caption\na,b\n",
            {"url_column": "link"},
            "has no column 'link'; set url_column to one of",
        ),
        (
            "c.jsonl",
            '{"file_name": "a", "caption": ["b"]}',
            {},
            r"column 'caption' of c.jsonl holds List\(String\), not text",
        ),
        ("c.jsonl", "{", {}, "c.jsonl cannot be read as a table"),
        ("c.csv", "", {}, "c.csv cannot be read as a table"),
        ("c.xlsx", "x", {}, "unknown table format '.xlsx'"),
    ],
)
def test_wrong_tables_end_in_one_sentence(tmp_path, name, text, options, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence) as caught:
        opened("table", tmp_path / name, **options)
    assert "\n" not in str(caught.value)


def test_wrong_paths_and_kinds_end_in_one_sentence(tmp_path):
    for kind, path, sentence in (
        ("folder", tmp_path / "no", "is not a folder"),
        ("folder", tmp_path, "has no metadata file"),
        ("table", tmp_path / "no.csv", "is not a file"),
        ("hub", "a/b", "set n_pairs"),
        ("world", "", "set n_pairs"),
        ("folders", tmp_path, "unknown dataset kind 'folders': the nearest are folder"),
    ):
        with pytest.raises(ValueError, match=sentence):
            opened(kind, path)


def test_table_of_urls(tmp_path):
    (tmp_path / "c.csv").write_text("url,caption\nhttp://127.0.0.1:1/x.png,a\n")
    dataset = opened("table", tmp_path / "c.csv")
    with pytest.raises(ImageError, match="not a public address"):
        dataset.image_bytes(check(dataset, 1)["uri"][0])


def test_hub_with_images_stored_in_it(tmp_path):
    images = [{"bytes": png(index) if index != 5 else None, "path": "/etc/hostname"} for index in range(N)]
    pl.DataFrame({"image": images, "text": [f"t{index}" for index in range(N)]}).write_parquet(
        tmp_path / "a.parquet"
    )
    dataset = opened("hub", tmp_path, n_pairs=8, spare=N, caption_column="text", seed=1)
    rows = check(dataset, N)
    fetched = list(fetch_images(dataset, rows["uri"]))
    for caption, one in zip(rows["caption"], fetched, strict=True):
        if caption == "t5":  # a path in the data does not open files of this machine
            assert one.error == "the dataset has no image in this row."
        else:
            assert one.data == png(int(caption[1:]))
    assert rows["caption"].to_list() != [f"t{index}" for index in range(N)]
    again = opened("hub", tmp_path, n_pairs=4, caption_column="text", seed=1)
    assert again.rows().equals(rows[:4])


def test_hub_with_an_imagefolder(folder):
    dataset = opened("hub", folder, n_pairs=3)
    for row in check(dataset, 3).iter_rows(named=True):
        assert row["caption"] == f"caption, {red(dataset.image_bytes(row['uri']))}"


def test_hub_with_urls(tmp_path):
    table = pl.DataFrame({"url": ["http://127.0.0.1:1/x", None], "caption": ["a", None], "score": [1.0, 2.0]})
    table.write_parquet(tmp_path / "a.parquet")
    dataset = opened("hub", tmp_path, n_pairs=2, url_column="url")
    assert sorted(check(dataset, 2)["uri"]) == ["", "http://127.0.0.1:1/x"]
    for one in fetch_images(dataset, dataset.rows()["uri"]):
        assert one.data is None and one.error


@pytest.mark.parametrize(
    ("path", "options", "sentence"),
    [
        (
            "nobody/nothing",
            {},
            r"'nobody/nothing' cannot be streamed \(.*\): check the id, the split and the network",
        ),
        ("", {"split": "test"}, "cannot be streamed .*test"),
        (
            "",
            {"caption_column": "TEXT"},
            "has no column 'TEXT'; set caption_column to one of: file_name, caption",
        ),
        ("", {"url_column": "URL"}, "has no column 'URL'; set image_column or url_column to one of"),
    ],
)
def test_wrong_streams_end_in_one_sentence(tmp_path, path, options, sentence):
    (tmp_path / "a.csv").write_text("file_name,caption\na,b\n")
    with pytest.raises(ValueError, match=sentence) as caught:
        opened("hub", path or tmp_path, n_pairs=1, **options).rows()
    assert "\n" not in str(caught.value)


def test_world_is_a_dataset_like_the_others():
    pytest.importorskip("pipeline.world.dataset")
    dataset = opened("world", "", n_pairs=3, seed=5)
    rows = check(dataset, 3)
    assert all(one.data for one in fetch_images(dataset, rows["uri"]))
    assert set(DATASETS) == {"folder", "table", "hub", "world"}


def test_importing_loads_no_deep_learning():
    modules = "datasets, generators, backbones, pictures, hub, download, images"
    heavy = "{'torch', 'diffusers', 'transformers', 'datasets'}"
    code = f"import sys; from pipeline.sources import {modules}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
