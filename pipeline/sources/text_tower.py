"""Towers that put pictures and phrases into one space: CLIP, SigLIP and their kin in transformers."""

from collections.abc import Sequence
from typing import Any

import httpx2 as httpx
import numpy as np
from PIL import Image

from pipeline.sources.devices import device_of, quiet
from pipeline.sources.registry import first_line

_BATCH = 32


class TextTower:
    """A CLIP-style network in evaluation mode, from a Hub id or a folder with safetensors.

    Raises ValueError in one sentence for a source that cannot be loaded, or has no towers for both.
    """

    def __init__(self, source: str, device: str = "auto"):
        from transformers import AutoModel, AutoProcessor

        self._device = device_of(device)
        try:
            with quiet():
                self._network = AutoModel.from_pretrained(source, use_safetensors=True)
                self._processor = AutoProcessor.from_pretrained(source)
        except (OSError, httpx.HTTPError, ValueError) as error:
            raise ValueError(
                f"the text tower cannot be loaded from {source} ({first_line(error)}): check the source and "
                "the network; it needs safetensors, a tokenizer and an image processor."
            ) from error
        if not hasattr(self._network, "get_text_features") or not hasattr(
            self._network, "get_image_features"
        ):
            raise ValueError(
                f"{source} is a {self._network.config.model_type}, which has no towers for both text and "
                "images; name a CLIP or SigLIP."
            )
        self._network.to(self._device).eval()

    def texts(self, phrases: Sequence[str]) -> np.ndarray:
        """Unit vectors of phrases, (n, d) float32; a phrase that is too long is cut."""
        window = self._network.config.text_config.max_position_embeddings
        cut = {"padding": "max_length", "truncation": True, "max_length": window}
        return self._embed(phrases, "get_text_features", "text", **cut)

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Unit vectors of pictures, (n, d) float32."""
        rgb = [picture.convert("RGB") for picture in pictures]
        return self._embed(rgb, "get_image_features", "images")

    def _embed(self, items: Sequence[Any], method: str, what: str, **options: Any) -> np.ndarray:
        import torch

        parts = []
        for start in range(0, len(items), _BATCH):
            batch = {what: list(items[start : start + _BATCH])}
            inputs = self._processor(**batch, return_tensors="pt", **options).to(self._device)
            with torch.inference_mode():
                parts.append(_vectors(getattr(self._network, method)(**inputs)))
        return np.concatenate(parts)


def _vectors(features: Any) -> np.ndarray:
    """Some versions of transformers give the projected vectors, others an output that holds them."""
    import torch

    vectors: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
