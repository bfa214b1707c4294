"""A folder of already generated pictures as a generator."""

import pytest
from PIL import Image

from pipeline.sources.generators import Generator, GeneratorConfig, open_generator
from pipeline.sources.images import encode


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("0.png", "red"), ("002.jpg", "blue"), ("cover.png", "white")):
        codec = "jpeg" if name.endswith("jpg") else "png"
        (tmp_path / name).write_bytes(encode(Image.new("RGB", (20, 20), colour), codec))
    (tmp_path / "3.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    return tmp_path


def opened(folder, **options) -> Generator:
    return open_generator(GeneratorConfig(name="mine", images=str(folder), **options))


def test_by_pair_id(folder):
    generator = opened(folder)
    drawn = generator.draw(["a", "b", "c", "d"], [0] * 4, [0, 1, 2, 3])
    assert [one.status for one in drawn] == ["ok", "missing", "ok", "unreadable"]
    assert drawn[0].image.getpixel((0, 0)) == (255, 0, 0)
    assert drawn[2].data == (folder / "002.jpg").read_bytes()
    assert drawn[1].error.endswith("has no picture for pair 1.") and drawn[3].error.startswith(
        "3.png: the png image"
    )
    assert not generator.seeded
    Image.new("RGB", (20, 20), "blue").save(folder / "4.gif")
    gif = opened(folder).draw(["e"], [0], [4])[0]
    assert gif.status == "ok" and gif.data is None  # not a codec that the lake keeps
    with pytest.raises(ValueError, match="'mine' has pictures of the pairs only"):
        generator.draw(["a new caption"], [0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,pair_id\n0.png,7\n../0.png,8\n"),
        ("metadata.jsonl", '{"file_name": "0.png", "pair_id": 7}\n{"file_name": "../0.png", "pair_id": 8}\n'),
        ("metadata.tsv", "file_name\tcaption\n0.png\ta, b\n../0.png\tc\n"),
    ],
)
def test_by_metadata(folder, name, text):
    (folder / name).write_text(text)
    drawn = opened(folder).draw(["a, b", "c", "?"], [0] * 3, [7, 8, 9])
    assert [one.status for one in drawn] == ["ok", "unreadable", "missing"]
    assert "outside" in drawn[1].error


@pytest.mark.parametrize(
    ("metadata", "options", "sentence"),
    [
        (
            "file_name,id\n0.png,1\n",
            {},
            "metadata.csv has no column 'caption'; set a column pair_id or caption to one",
        ),
        ("file,pair_id\n0.png,1\n", {}, "metadata.csv has no column 'file_name'"),
        ("file_name,pair_id\n0.png,one\n", {}, "column pair_id of metadata.csv holds something that is not"),
        ("file_name,pair_id\n0.png,1\n002.jpg,1\n", {}, "0.png and 002.jpg are both the picture of 1"),
        ("file_name,pair_id\n", {}, "no picture named by its pair id"),
        ("file_name,pair_id\n0.png,1\n", {"seeds_per_caption": 2}, "set seeds_per_caption to 1"),
    ],
)
def test_wrong_folders_end_in_one_sentence(folder, metadata, options, sentence):
    (folder / "metadata.csv").write_text(metadata)
    with pytest.raises(ValueError, match=sentence):
        opened(folder, **options)


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        opened(tmp_path / "nowhere")
