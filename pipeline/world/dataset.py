"""The world as a captioned dataset: the same pair ids always give the same captions and pictures."""

import io

import numpy as np
import polars as pl
from PIL import Image

from pipeline.world.render import render
from pipeline.world.scenes import Scene, describe, sample_scene

DATASET_STREAM = 11  # keeps these scenes apart from the training scenes of `corpus.py`


class WorldDataset:
    """`n_pairs` captioned pictures of the world."""

    def __init__(self, name: str = "world", n_pairs: int = 600, seed: int = 0) -> None:
        self.name, self.n_pairs, self.seed = name, n_pairs, seed

    def _pair(self, pair_id: int) -> tuple[Scene, str, np.random.Generator]:
        rng = np.random.default_rng([DATASET_STREAM, self.seed, pair_id])
        scene = sample_scene(rng)
        return scene, describe(scene, rng), rng

    def scene(self, pair_id: int) -> Scene:
        """What pair `pair_id` truly shows; for benchmarks only."""
        return self._pair(pair_id)[0]

    def caption(self, pair_id: int) -> str:
        """The caption of pair `pair_id`."""
        return self._pair(pair_id)[1]

    def image(self, pair_id: int) -> Image.Image:
        """The picture of pair `pair_id`."""
        scene, _, rng = self._pair(pair_id)
        return render(scene, rng)

    def rows(self) -> pl.DataFrame:
        """Manifest with one row per pair: pair_id, caption, uri."""
        ids = range(self.n_pairs)
        return pl.DataFrame(
            {
                "pair_id": list(ids),
                "caption": [self.caption(pair_id) for pair_id in ids],
                "uri": [f"world:{self.seed}/{pair_id}" for pair_id in ids],
            },
            schema={"pair_id": pl.Int64, "caption": pl.String, "uri": pl.String},
        )

    def image_bytes(self, uri: str) -> bytes:
        """The picture named by a manifest's uri, as PNG."""
        buffer = io.BytesIO()
        self.image(int(uri.rsplit("/", 1)[1])).save(buffer, "PNG")
        return buffer.getvalue()
