"""The benchmark of co-occurrence at small sizes: the data are what it says, and every figure is there."""

import numpy as np

from pipeline.benchmarks.analyses_cooccurrence import Sizes, cooccurrence_rows, synthetic

SMALL = Sizes(n_images=40, few_images=20, n_tokens=9, k=4, n_concepts=600, n_topics=8, top=5, n_resamples=100)


def test_synthetic_codes_are_as_described():
    real, gen = (synthetic(SMALL, 40, seed) for seed in (0, 1))
    for side in (real, gen):
        assert side.codes.shape == (40 * 9, 600)
        assert (np.diff(side.codes.indptr) == 4).all()
        tokens = np.repeat(np.arange(40 * 9), 4)
        assert len(np.unique(tokens * 600 + side.codes.indices)) == 40 * 9 * 4  # no concept twice
        assert side.presence.shape == (40, 600)
    again = synthetic(SMALL, 40)
    assert np.array_equal(real.codes.indices, again.codes.indices)
    shared = np.asarray((real.presence @ gen.presence.T).todense())
    others = shared[~np.eye(40, dtype=bool)]
    assert np.diag(shared).mean() > 1.5 * others.mean()  # the same topics
    few = synthetic(SMALL, 20)
    assert np.array_equal(few.presence.shape, (20, 600))


def test_every_figure_is_measured():
    rows = cooccurrence_rows(SMALL)
    assert [row.what.split(":")[0] for row in rows] == [
        *["co-occurrence"] * 4,
        *["change of company"] * 3,
        "communities",
    ]
    assert all(row.figure > 0 and not row.at_least for row in rows)
    bars = {row.what: row.bar for row in rows}
    assert bars["co-occurrence: seconds"] == 180 and bars["co-occurrence: peak GiB"] == 4
    assert bars["co-occurrence: CPU per image, many / few"] == 1.3
