"""Text-to-image generators: one registry, `GENERATORS`; a new one is a row, or a source in the config.

An image depends on its caption and seed alone. Exactly: its noise comes from its own random stream, the
same in any batch, on any device and for any generator. What the neural networks make of that noise is
rounded differently by batch size and hardware, so that between batches pixels may differ by rounding.
The same batch on the same machine gives the same bytes.
"""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx2 as httpx
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.devices import DType, device_of, dtype_of, quiet
from pipeline.sources.registry import WEIGHTS, find, first_line
from tables.schemas import OK

if TYPE_CHECKING:
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

NSFW, NOT_FINITE, MISSING, UNREADABLE = "nsfw-filtered", "not-finite", "missing", "unreadable"
_OURS = {"prompt", "generator", "output_type", "return_dict", "num_images_per_prompt"}


Texts = Sequence[str]
Numbers = Sequence[int]


class GeneratorSpec(BaseModel):
    """What a generator is and how it draws. An option left out is the pipeline's own default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = None  # Hub id, or folder with a model_index.json
    revision: str | None = None  # of the Hub repository: commit, tag or branch
    unet: str | None = None  # Hub id or folder; the UNet in its subfolder `unet` replaces the pipeline's
    dtype: DType = "float32"  # on a GPU; the CPU draws in float32
    width: int | None = Field(default=None, ge=8)  # pixels
    height: int | None = Field(default=None, ge=8)  # pixels
    steps: int | None = Field(default=None, ge=1)  # denoising steps
    guidance: float | None = Field(default=None, ge=0)  # classifier-free guidance scale
    call: dict[str, Any] = {}  # further arguments of the pipeline's call
    safety_checker: bool = False  # keep the pipeline's own: images it blacks out get the status nsfw-filtered
    images: str | None = None  # instead of a pipeline: folder of pictures that were already generated


class GeneratorConfig(GeneratorSpec):
    """A generator of the registry, with its options overridden, or one of your own."""

    name: str = Field(min_length=1)  # a row of GENERATORS, or your name for `source` or `images`
    batch_size: int = Field(default=8, ge=1)  # images drawn at a time
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...
    seeds_per_caption: int = Field(default=1, ge=1)  # images per caption


@dataclass(frozen=True)
class Drawn:
    """One picture, or why there is none. `data` are a file's own bytes where they can be kept as they are."""

    image: Image.Image | None
    status: str = OK  # ok, nsfw-filtered, not-finite, missing or unreadable
    error: str | None = None  # one sentence unless ok
    data: bytes | None = None


class Generator(Protocol):
    """What every config opens to."""

    name: str
    seeded: bool  # whether the seeds given to `draw` are those of the pictures
    settings: dict[str, Any]  # JSON-able: what a run should record of it

    def draw(self, captions: Texts, seeds: Numbers, pair_ids: Numbers | None = None) -> list[Drawn]:
        """One picture per caption, in their order. `seeds` are those of `image_seed`; `pair_ids` are needed
        by a folder of pictures that are named by them."""
        ...


def _paper(source: str, **options: Any) -> GeneratorSpec:
    return GeneratorSpec.model_validate({"source": source, "width": 512, "height": 512} | options)


def _tiny(name: str, **options: Any) -> GeneratorSpec:
    size = {"width": 64, "height": 64, "steps": 12, "guidance": 3.0}
    return GeneratorSpec.model_validate({"source": str(WEIGHTS / name)} | size | options)


_UNBINNED = {"use_resolution_binning": False}  # 64 pixels are in none of PixArt's bins

GENERATORS: dict[str, GeneratorSpec] = {
    "sd15": _paper("benjamin-paine/stable-diffusion-v1-5", dtype="float16"),
    "sd15-dpo": _paper(
        "benjamin-paine/stable-diffusion-v1-5", dtype="float16", unet="mhdang/dpo-sd1.5-text2image-v1"
    ),
    "sd21": _paper("stabilityai/stable-diffusion-2-1"),
    # As released: the pipeline draws in its nearest trained resolution (1024) and resizes to 512.
    "pixart": _paper("PixArt-alpha/PixArt-XL-2-1024-MS"),
    "kandinsky": _paper("kandinsky-community/kandinsky-2-1"),
    "tiny-sd": _tiny("tiny-sd"),
    "tiny-pixart": _tiny("tiny-pixart", call=_UNBINNED),
    "tiny-suppressed": _tiny("tiny-suppressed"),
    "tiny-memorised": _tiny("tiny-memorised"),
}


def image_seed(seed: int, pair_id: int, seed_index: int = 0) -> int:
    """The random seed of one image, 0 to 2**32 - 1 (PyTorch's CPU generator reads no more bits): stable, and
    the same for every generator, so that two of them start a pair from the same noise."""
    name = f"{seed}\x1f{pair_id}\x1f{seed_index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=4).digest(), "big")


def resolve(config: GeneratorConfig) -> GeneratorConfig:
    """The config with the registry's row filled in under what it sets itself; a name that is no row may be
    a Hub id or a folder. ValueError in one sentence for an unknown name."""
    own = config.model_dump(exclude_unset=True)
    if config.name in GENERATORS:
        row = GENERATORS[config.name].model_dump(exclude_unset=True)
        return GeneratorConfig.model_validate(row | own)
    if config.source or config.images:
        return config
    if _is_pipeline_folder(config.name) or _is_hub_id(config.name):
        return GeneratorConfig.model_validate(own | {"source": config.name})
    hint = "; a Hub id has one slash, and a folder needs a model_index.json"
    find(GENERATORS, config.name, "generator", hint)
    raise AssertionError("find raises for an unknown name")


def open_generator(config: GeneratorConfig) -> Generator:
    """The generator of `config`, loaded and on its device.

    Raises ValueError in one sentence for an unknown name, a source that cannot be loaded or reached, and
    an option that the pipeline does not take.
    """
    config = resolve(config)
    if config.images:
        from pipeline.sources.pictures import PictureFolder

        return PictureFolder(config)
    return PipelineGenerator(config)


class PipelineGenerator:
    """A diffusers text-to-image pipeline."""

    seeded = True

    def __init__(self, config: GeneratorConfig):
        device = device_of(config.device)
        dtype = dtype_of(config.dtype, device)
        with quiet(), _reaching(config):
            pipeline = _load(config, dtype)
        self.name = config.name
        self.pipeline: Any = pipeline.to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        self._batch_size = config.batch_size
        self._arguments = _call_arguments(self.pipeline, config)
        self.settings = {
            "pipeline": type(pipeline).__name__,
            "dtype": str(dtype).removeprefix("torch."),
            "device": device.type,
            **config.model_dump(exclude={"name", "device", "dtype", "images"}, exclude_none=True),
        }

    def draw(self, captions: Texts, seeds: Numbers, pair_ids: Numbers | None = None) -> list[Drawn]:
        """See `Generator.draw`. Captions may be empty, or longer than the text encoder reads."""
        if len(captions) != len(seeds):
            raise ValueError(f"{len(captions)} captions need as many seeds, not {len(seeds)}.")
        size = self._batch_size
        batches = [slice(start, start + size) for start in range(0, len(captions), size)]
        with quiet():
            return [drawn for batch in batches for drawn in self._batch(captions[batch], seeds[batch])]

    def _batch(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Drawn]:
        import torch

        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        # As an array and not as pictures, which turn the not-a-numbers of an overflow into a black image.
        output = self.pipeline(prompt=list(captions), generator=noise, output_type="np", **self._arguments)
        filtered = getattr(output, "nsfw_content_detected", None) or [False] * len(captions)
        return [_drawn(pixels, bool(black)) for pixels, black in zip(output.images, filtered, strict=True)]


def _drawn(pixels: np.ndarray, filtered: bool) -> Drawn:
    """A picture from (height, width, 3) in 0 to 1."""
    if filtered:
        return Drawn(None, NSFW, "the pipeline's safety checker blacked the image out.")
    if not np.isfinite(pixels).all():
        return Drawn(None, NOT_FINITE, "the pipeline overflowed to values that are not numbers; use float32.")
    return Drawn(Image.fromarray((pixels * 255).round().astype(np.uint8)).convert("RGB"))


def _load(config: GeneratorConfig, dtype: Any) -> "DiffusionPipeline":
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    source = str(config.source)
    if not _is_pipeline_folder(source) and not _is_hub_id(source):
        raise FileNotFoundError(f"{source} is neither a folder with a model_index.json nor a Hub id")
    parts: dict[str, Any] = {}
    if config.unet:
        parts["unet"] = UNet2DConditionModel.from_pretrained(
            config.unet, subfolder="unet", dtype=dtype, use_safetensors=True
        )
    index: Any = DiffusionPipeline.load_config(source, revision=config.revision)
    if "safety_checker" in index and not config.safety_checker:
        # Blacked-out pictures would count as missing concepts, so it is not even loaded.
        parts |= {"safety_checker": None, "requires_safety_checker": False}
    return DiffusionPipeline.from_pretrained(
        source,
        revision=config.revision,
        dtype=dtype,
        use_safetensors=True,
        load_connected_pipeline=True,  # Kandinsky: the prior that its decoder's page names
        **parts,
    )


def _call_arguments(pipeline: "DiffusionPipeline", config: GeneratorConfig) -> dict[str, Any]:
    parameters = inspect.signature(type(pipeline).__call__).parameters
    accepted = {name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
    named = {
        "width": config.width,
        "height": config.height,
        "num_inference_steps": config.steps,
        "guidance_scale": config.guidance,
    }
    wanted = {name: value for name, value in named.items() if value is not None} | config.call
    refused = sorted(wanted.keys() - (accepted - _OURS))
    if refused:
        what = f"{type(pipeline).__name__} takes no {refused[0]}"
        takes = ", ".join(sorted(accepted - _OURS - {"self"}))
        raise ValueError(f"generator {config.name!r}: {what}; it takes {takes}.")
    # Captions as they are, as all other pipelines read them.
    return ({"clean_caption": False} if "clean_caption" in accepted else {}) | wanted


@contextmanager
def _reaching(config: GeneratorConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, httpx.HTTPError) as error:
        raise ValueError(
            f"generator {config.name!r} cannot be loaded ({first_line(error)}): "
            "check the source and the network."
        ) from error


def _is_pipeline_folder(source: str) -> bool:
    return (Path(source) / "model_index.json").is_file()


def _is_hub_id(source: str) -> bool:
    owner, slash, name = source.partition("/")
    return bool(slash and owner.strip(".~") and name) and "/" not in name and not Path(source).exists()
