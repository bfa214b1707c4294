"""Backbones that turn images into tokens: one registry, `BACKBONES`; a new one is a row, or a source in the
config. Transformers' DINOv2, with or without registers.

Preprocessing is what the released models were evaluated with (torchvision's Resize and CenterCrop on PIL
images), written with PIL and NumPy so that neither torchvision nor its rounding is needed.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sources.devices import DType, device_of, dtype_of, quiet
from pipeline.sources.registry import WEIGHTS, find, first_line

if TYPE_CHECKING:
    import torch

_FAMILIES = ("dinov2", "dinov2_with_registers")
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Triple = tuple[float, float, float]


class BackboneSpec(BaseModel):
    """What a backbone is and how it sees an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = None  # Hub id, or folder with a config.json and model.safetensors
    revision: str | None = None  # of the Hub repository: commit, tag or branch
    resize: int = Field(default=256, ge=1)  # pixels of the shorter side, bicubic
    crop: int = Field(default=224, ge=1)  # pixels, centred square; a multiple of the patch size
    mean: Triple = _IMAGENET_MEAN  # per channel of RGB in 0 to 1
    std: Triple = _IMAGENET_STD

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How images become its input, as SAEs and token shards record it."""
        return {
            "resize": self.resize,
            "crop": self.crop,
            "interpolation": "bicubic",
            "mean": list(self.mean),
            "std": list(self.std),
        }


class BackboneConfig(BackboneSpec):
    """A backbone of the registry, with its options overridden, or one of your own."""

    name: str = Field(min_length=1)  # a row of BACKBONES, or your name for `source`
    dtype: DType = "float32"  # on a GPU; the CPU computes in float32, and tokens are float32 always
    batch_size: int = Field(default=32, ge=1)  # images at a time
    device: str = "auto"  # auto, cpu, cuda, cuda:1, ...


BACKBONES: dict[str, BackboneSpec] = {
    "dinov2-base-reg": BackboneSpec(source="facebook/dinov2-with-registers-base"),  # the paper's; 261 tokens
    "dinov2-base": BackboneSpec(source="facebook/dinov2-base"),
    "dinov2-small-reg": BackboneSpec(source="facebook/dinov2-with-registers-small"),
    "tiny-dinov2": BackboneSpec(source=str(WEIGHTS / "tiny-dinov2"), resize=64, crop=64),  # 64x64 as it is
}


def open_backbone(config: BackboneConfig) -> "Backbone":
    """The backbone of `config`, loaded and on its device.

    Raises ValueError in one sentence for an unknown name, a source that cannot be loaded or reached or is
    of another family, and a crop that is not made of whole patches.
    """
    return Backbone(with_defaults(config))


def with_defaults(config: BackboneConfig) -> BackboneConfig:
    """`config` with what its row of the registry says. ValueError for a name that is no row and no source."""
    own = config.model_dump(exclude_unset=True)
    if config.name in BACKBONES:
        own = BACKBONES[config.name].model_dump(exclude_unset=True) | own
    elif not config.source:
        if "/" not in config.name:
            find(BACKBONES, config.name, "backbone", "; a Hub id or a folder has a slash")
        own["source"] = config.name
    return BackboneConfig.model_validate(own)


class Backbone:
    """A vision transformer in evaluation mode. Tokens are CLS, registers, then patches row by row."""

    def __init__(self, config: BackboneConfig):
        self._device = device_of(config.device)
        self._batch_size = config.batch_size
        self._spec = config
        self._network = _load(config, self._device)
        settings = self._network.config
        patch = settings.patch_size
        if config.crop % patch or config.crop > config.resize:
            raise ValueError(
                f"backbone {config.name!r}: crop is {config.crop} pixels, but must be a multiple of the "
                f"patch size {patch} and at most resize, {config.resize}."
            )
        side = config.crop // patch
        self.id: str = config.name
        self.d_model: int = settings.hidden_size
        self.grid: tuple[int, int] = (side, side)  # patches, (height, width)
        self.n_prefix: int = 1 + getattr(settings, "num_register_tokens", 0)  # CLS and registers
        self.n_tokens: int = self.n_prefix + side * side
        self.preprocessing: dict[str, Any] = config.preprocessing

    def tokens(self, images: Sequence[Image.Image]) -> "torch.Tensor":
        """Tokens after the final LayerNorm, (n, n_tokens, d_model) float32 on the backbone's device."""
        import torch

        size = self._batch_size
        batches = [self._batch(images[start : start + size]) for start in range(0, len(images), size)]
        return torch.cat(batches) if batches else torch.empty(0, self.n_tokens, self.d_model)

    def fingerprint(self) -> str:
        """The SHA-256 of the weights, 64 hexadecimal digits: an SAE is made for these and no others."""
        digest = hashlib.sha256()
        for name, weight in sorted(self._network.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _batch(self, images: Sequence[Image.Image]) -> "torch.Tensor":
        import torch

        pixels = np.stack([preprocess(image, self._spec) for image in images])
        with torch.inference_mode():
            inputs = torch.from_numpy(pixels).to(self._device, self._network.dtype)
            return self._network(pixel_values=inputs).last_hidden_state.float()


def preprocess(image: Image.Image, spec: BackboneSpec) -> np.ndarray:
    """The image as the backbone's input, (3, crop, crop) float32.

    Shorter side to `resize` pixels (bicubic, antialiased; the longer side rounds down), centre crop, RGB
    scaled to 0 to 1, minus `mean`, over `std`. An image that already has the size is not resampled.
    """
    resize, crop = spec.resize, spec.crop
    width, height = image.size
    short = min(width, height)
    size = (int(resize * width / short), int(resize * height / short))
    image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - crop) / 2) for side in size)  # halves to even, as torchvision rounds
    pixels = np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float32) / np.float32(255)
    normal = (pixels - np.asarray(spec.mean, np.float32)) / np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(normal.transpose(2, 0, 1))


def _load(config: BackboneConfig, device: "torch.device") -> Any:
    from transformers import AutoConfig, AutoModel

    source = str(config.source)
    try:
        with quiet():
            family = AutoConfig.from_pretrained(source, revision=config.revision or "main").model_type
            if family not in _FAMILIES:
                raise ValueError(f"backbone {source!r} is a {family}; known are {' and '.join(_FAMILIES)}.")
            network = AutoModel.from_pretrained(
                source,
                revision=config.revision or "main",
                dtype=dtype_of(config.dtype, device),
                use_safetensors=True,
            )
    except (OSError, httpx.HTTPError) as error:
        raise ValueError(
            f"backbone {config.name!r} cannot be loaded from {source} ({first_line(error)}): "
            "check the source and the network."
        ) from error
    return network.to(device).eval()
