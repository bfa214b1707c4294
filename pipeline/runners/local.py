"""Work through shards one after another, with a bar that shows rate and time left."""

from collections.abc import Callable, Sequence

from tqdm import tqdm

from pipeline.workspace import Shard


def run_shards(
    shards: Sequence[Shard], work: Callable[[Shard], int], *, title: str, unit: str, done: int = 0
) -> int:
    """Call `work` on every shard; it commits the shard and gives the number of units it did.

    `done` counts units of earlier runs, to start the bar there. Returns the units done now.
    """
    total = 0
    expected = sum(shard.stop - shard.start for shard in shards)
    with tqdm(total=done + expected, initial=done, desc=title, unit=f" {unit}", smoothing=0.1) as bar:
        for shard in shards:
            total += work(shard)
            bar.update(shard.stop - shard.start)
    return total
