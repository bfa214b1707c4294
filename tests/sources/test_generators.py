"""Generators: the registry's rows on tiny pipelines of their classes, seeds, statuses and wrong configs."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.sources.devices import dtype_of
from pipeline.sources.generators import (
    GENERATORS,
    Generator,
    GeneratorConfig,
    image_seed,
    open_generator,
    resolve,
)

CAPTIONS = ["a red star on a wall", "", "two blue rings " * 40]  # plain, empty, longer than any encoder reads
SEEDS = [3, 4, 5]
ROWS = {
    "sd15": ("sd", "StableDiffusionPipeline"),
    "sd15-dpo": ("sd", "StableDiffusionPipeline"),
    "sd21": ("sd", "StableDiffusionPipeline"),
    "pixart": ("pixart", "PixArtAlphaPipeline"),
    "kandinsky": ("kandinsky", "KandinskyCombinedPipeline"),
}


@pytest.fixture
def opened(pipelines):
    def open_row(name: str, **options) -> Generator:
        folder = pipelines(ROWS[name][0])
        options |= {"unet": str(pipelines("dpo"))} if GENERATORS[name].unet else {}
        small = {"name": name, "source": str(folder), "width": 32, "height": 32, "steps": 2, "device": "cpu"}
        return open_generator(GeneratorConfig.model_validate(small | options))

    return open_row


def _pixels(drawn) -> np.ndarray:
    assert all(one.status == "ok" and one.error is None for one in drawn)
    return np.stack([np.asarray(one.image) for one in drawn]).astype(int)


@pytest.mark.parametrize("name", ROWS)
def test_paper_row_draws(opened, capfd, name):
    generator = opened(name)
    assert generator.settings["pipeline"] == ROWS[name][1]
    capfd.readouterr()
    together = _pixels(generator.draw(CAPTIONS, SEEDS))
    assert capfd.readouterr() == ("", "")  # no progress bar, no line per long caption
    assert together.shape == (3, 32, 32, 3)
    assert (together == _pixels(generator.draw(CAPTIONS, SEEDS))).all()
    alone = np.concatenate([_pixels(generator.draw([c], [s])) for c, s in zip(CAPTIONS, SEEDS, strict=True)])
    assert abs(together - alone).max() <= 1  # rounding of the last bit
    other = _pixels(generator.draw(CAPTIONS, [s + 1 for s in SEEDS]))
    assert all((together[i] != other[i]).any() for i in range(3))


def test_batches_are_cut_and_put_together_again(opened):
    one_by_one, all_at_once = opened("sd15", batch_size=1), opened("sd15", batch_size=8)
    difference = _pixels(one_by_one.draw(CAPTIONS, SEEDS)) - _pixels(all_at_once.draw(CAPTIONS, SEEDS))
    assert abs(difference).max() <= 1
    assert one_by_one.draw([], []) == []


def test_dpo_row_has_the_other_unet(opened, pipelines):
    tuned = load_file(pipelines("dpo") / "unet" / "diffusion_pytorch_model.safetensors")
    plain = load_file(pipelines("sd") / "unet" / "diffusion_pytorch_model.safetensors")
    state = opened("sd15-dpo").pipeline.unet.state_dict()
    assert all(torch.equal(state[name], tuned[name]) for name in tuned)
    assert not torch.equal(state["conv_in.weight"], plain["conv_in.weight"])
    assert torch.equal(opened("sd15").pipeline.unet.conv_in.weight, plain["conv_in.weight"])


def test_rows_are_the_papers():
    assert {name: GENERATORS[name].source for name in ROWS} == {
        "sd15": "benjamin-paine/stable-diffusion-v1-5",
        "sd15-dpo": "benjamin-paine/stable-diffusion-v1-5",
        "sd21": "stabilityai/stable-diffusion-2-1",
        "pixart": "PixArt-alpha/PixArt-XL-2-1024-MS",
        "kandinsky": "kandinsky-community/kandinsky-2-1",
    }
    assert GENERATORS["sd15-dpo"].unet == "mhdang/dpo-sd1.5-text2image-v1"
    for name in ROWS:
        row = GENERATORS[name]
        assert (row.width, row.height, row.steps, row.guidance) == (512, 512, None, None)
        assert row.dtype == ("float16" if name.startswith("sd15") else "float32")


def test_raw_captions_reach_the_pipeline(opened, monkeypatch):
    seen = []
    for name in ("pixart", "sd15"):
        generator = opened(name)
        call = type(generator.pipeline).__call__
        monkeypatch.setattr(
            type(generator.pipeline),
            "__call__",
            lambda self, call=call, **k: seen.append(k) or call(self, **k),
        )
        generator.draw(["A <b>Bold</b> caption"], [1])
    assert seen[0]["clean_caption"] is False and "clean_caption" not in seen[1]
    assert all(kwargs["prompt"] == ["A <b>Bold</b> caption"] for kwargs in seen)


def test_safety_checker_is_off_or_reported(opened, pipelines):
    folder = str(pipelines("nsfw"))
    assert _pixels(opened("sd15", source=folder).draw(["a star"], [1])).any()
    filtered = opened("sd15", source=folder, safety_checker=True).draw(["a star"], [1])[0]
    assert (filtered.image, filtered.status) == (None, "nsfw-filtered") and filtered.error


def test_overflow_is_reported_not_black(opened):
    generator = opened("sd15")
    generator.pipeline.vae.decoder.conv_out.bias.data.fill_(float("nan"))
    drawn = generator.draw(["a star"], [1])[0]
    assert (drawn.image, drawn.status) == (None, "not-finite")


def test_half_precision_is_for_gpus():
    assert dtype_of("float16", torch.device("cuda")) == torch.float16
    assert dtype_of("float16", torch.device("cpu")) == torch.float32


def test_errors_of_a_pipeline_are_not_swallowed(opened):
    generator = opened("sd15", call={"guidance_rescale": "much"})
    with pytest.raises(TypeError):
        generator.draw(["a star"], [1])
    with pytest.raises(ValueError, match="2 captions need as many seeds, not 1"):
        generator.draw(["a", "b"], [1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"call": {"clean_caption": False}},
            "StableDiffusionPipeline takes no clean_caption; it takes .*eta",
        ),
        ({"call": {"prompt": "x"}}, "takes no prompt"),
        ({"device": "gpu0"}, "unknown device 'gpu0': write auto, cpu"),
        ({"source": "/no/such/folder"}, "neither a folder with a model_index.json nor a Hub id"),
        ({"source": "nobody/nothing"}, r"'sd15' cannot be loaded \(.*\): check the source and the network"),
    ],
)
def test_wrong_options_end_in_one_sentence(opened, options, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        opened("sd15", **options)
    assert "\n" not in str(caught.value)


def test_unknown_name_names_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown generator 'sd-15': the nearest are .*sd15.*slash.*model_index"
    ):
        open_generator(GeneratorConfig(name="sd-15"))


def test_resolve_fills_the_row_in_under_the_config(pipelines):
    config = resolve(GeneratorConfig(name="tiny-pixart", steps=3))
    assert (config.steps, config.width, config.guidance) == (3, 64, 3.0)
    assert config.call == {"use_resolution_binning": False}
    assert resolve(GeneratorConfig(name="some/thing")).source == "some/thing"
    folder = str(pipelines("sd"))
    assert resolve(GeneratorConfig(name=folder)).source == folder
    assert resolve(GeneratorConfig(name="mine", source=folder)).name == "mine"


def test_image_seed_is_stable():
    assert image_seed(0, 0) == 766904692
    seeds = {image_seed(seed, pair, index) for seed in range(3) for pair in range(100) for index in range(3)}
    assert len(seeds) == 900 and all(0 <= seed < 2**32 for seed in seeds)
