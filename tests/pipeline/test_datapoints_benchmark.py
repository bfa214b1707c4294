"""The benchmark of datapoints at small sizes: the copies are planted, and every figure is there."""

import numpy as np

from pipeline.benchmarks.analyses_datapoints import Sizes, datapoint_rows, synthetic

SMALL = Sizes(n_images=300, few_images=200, n_concepts=1500, n_fired=60, d_model=32)


def test_every_hundredth_image_is_a_copy():
    real, gen = synthetic(SMALL, 200)
    assert real.energies.shape == gen.energies.shape == (200, 1500)
    cosine = (real.tokens * gen.tokens).sum(1) / np.linalg.norm(real.tokens, axis=1)
    cosine /= np.linalg.norm(gen.tokens, axis=1)
    assert np.flatnonzero(cosine > 0.95).tolist() == [0, 100]
    again = synthetic(SMALL, 200)[1]
    assert np.array_equal(gen.energies.indices, again.energies.indices)


def test_every_figure_is_measured():
    rows = {row.what: row for row in datapoint_rows(SMALL)}
    assert all(row.what.startswith("datapoints: ") and row.figure > 0 for row in rows.values())
    assert rows["datapoints: seconds"].bar == 120 and rows["datapoints: peak GiB"].bar == 4
    assert rows["datapoints: cost per image, many / few"].bar == 1.3
    assert rows["datapoints: planted copies found"].figure == 1
