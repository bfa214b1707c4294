"""Are blindspots found that were really put there, and only those? Results go to the table `planted`.

Ours are the test alone (q < 0.05) and the labels, which need a threshold as well (here 15% less or 17% more
energy than real). Beside them stand the released rules on the same energies: the absolute form at
T 0.8 and the relative form at T 0.4, beyond 0.1 and 0.9. The embedded faulty generator is
judged in the same way, against the faithful one that it came from.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
from tqdm import tqdm

from pipeline.benchmarks import Row
from pipeline.benchmarks.planted_worlds import (
    RULES,
    Eye,
    Truth,
    World,
    build_world,
    judge,
    learn_truth,
    plant,
)
from pipeline.config import fingerprint
from pipeline.measures.asking import asking_pairs
from pipeline.measures.evidence import weigh
from pipeline.measures.naming import count_terms
from pipeline.sources.generators import GeneratorConfig, open_generator
from pipeline.world.dataset import WorldDataset
from pipeline.world.evaluate import HELD_OUT_SEED
from pipeline.world.planting import CHANGES, FAMILIES, VALUES, Value
from pipeline.world.variants import EXAGGERATED, SUPPRESSED
from tables import TABLES, TableStore
from tracking.runs import Tracker

RATES = (5, 10, 20, 40, 80, 100)  # percent
SIZES = (500, 1000, 2000)  # pairs
N_SEEDS = 10
_weigh = partial(weigh, n_resamples=100, n_flips=400)  # no interval is judged here


def measure(lake: str) -> list[Row]:
    """Run all trials, each seed into the lake when it is done, and hold the figures against their bars."""
    TableStore(lake).create()  # a lake that cannot take the rows is refused before the work
    eye = Eye()
    truth = learn_truth(eye)
    seeds = []
    for seed in tqdm(range(N_SEEDS), desc="planted", unit="seed"):
        seeds.append(run_trials(eye, truth, seed, RATES, SIZES))
        keep(seeds[-1], lake)
    trials = pl.concat(seeds)
    for rule in RULES:
        print(f"\nshare of planted values found, rule: {rule}\n{power_table(trials, rule)}")
    print()
    return [*rows_of(trials), embedded(eye, truth)]


def embedded(eye: Eye, truth: Truth, n_pairs: int = 500) -> Row:
    """How many of the values planted in `tiny-suppressed` are found, of those with a concept; its parent."""
    world = WorldDataset(n_pairs=n_pairs, seed=HELD_OUT_SEED)
    captions = [world.caption(i) for i in range(n_pairs)]
    terms, _ = count_terms(captions, longest=1, least_images=5)
    real = eye.energies([world.image(i) for i in range(n_pairs)])
    planted = [(Value(family, name), -1) for family, name in SUPPRESSED.items()]
    planted += [(Value(family, name), 1) for family, (name, _) in EXAGGERATED.items()]
    planted = [(value, side) for value, side in planted if truth.belongs[value].any()]

    def n_found(generator: str) -> int:
        drawing = open_generator(GeneratorConfig(name=generator, batch_size=32))
        images = [
            d.image for d in drawing.draw(captions, list(range(n_pairs)), list(range(n_pairs))) if d.image
        ]
        gen = eye.energies(images)
        found = _weigh(real, gen, asked=asking_pairs(real, gen, terms))
        sign = np.sign(found.energy_gen - found.energy_real)
        with np.errstate(invalid="ignore"):
            return sum(
                bool(((found.q < 0.05) & (sign == side) & truth.belongs[value]).any())
                for value, side in planted
            )

    beside = f"of {len(planted)}; its parent tiny-sd {n_found('tiny-sd')}"
    return Row(
        "tiny-suppressed: planted values found", n_found("tiny-suppressed"), len(planted), beside=beside
    )


def keep(trials: pl.DataFrame, lake: str) -> None:
    """Put the trials into the table `planted`, seed by seed in the place of older ones."""
    store, tracker = TableStore(lake), Tracker(lake)
    store.create()
    with store.lock(), tracker.stage("benchmark planted", {}, {}) as run:
        for (seed,), rows in trials.group_by("seed", maintain_order=True):
            mark = fingerprint(rows.write_json())
            how = {"shard": mark, "stage": "benchmark", "run_id": run.run_id}
            store.replace("planted", rows, where={"seed": int(seed)}, **how)
        run.wrote("planted", store.version("planted"))


def run_trials(eye: Eye, truth: Truth, seed: int, rates: Sequence[int], sizes: Sequence[int]) -> pl.DataFrame:
    """One row per trial and rule of a seed, with the columns of the table `planted`."""
    known = [value for value in VALUES if truth.belongs[value].any()]
    values = _values(known, seed)
    world = build_world(eye, seed, max(sizes), values)
    rows: list[dict[str, object]] = []
    for value in values:
        rows += _trials(world, truth, value, seed, rates, sizes)
    return pl.DataFrame(rows, schema_overrides=TABLES["planted"].columns, infer_schema_length=None)


def _trials(
    world: World,
    truth: Truth,
    value: Value,
    seed: int,
    rates: Sequence[int],
    sizes: Sequence[int],
) -> list[dict[str, object]]:
    rows = []
    for direction in CHANGES:
        for n_pairs in sizes:
            for rate in rates:
                gen = plant(world, value, direction, rate, n_pairs, seed)
                real, terms = world.real[:n_pairs], world.terms[:n_pairs]
                asked = asking_pairs(real, gen, terms)
                evidence = _weigh(real, gen, asked=asked, seed=seed)
                about = {
                    "seed": seed,
                    "family": value.family,
                    "value": value.name,
                    "direction": direction,
                    "rate": rate,
                    "n_pairs": n_pairs,
                }
                rows += [about | row for row in judge(evidence, truth, value, direction, rate)]
    return rows


def _values(known: Sequence[Value], seed: int) -> list[Value]:
    """One value of each family that has concepts, another with every seed."""
    families = ([value for value in known if value.family == family] for family in FAMILIES)
    return [values[seed % len(values)] for values in families if values]


def power_table(trials: pl.DataFrame, rule: str) -> str:
    """Share of values found, by direction and number of pairs, against the rate."""
    mine = trials.filter(pl.col("rule") == rule)
    found = mine.group_by("direction", "n_pairs", "rate").agg(pl.col("found").mean())
    rates = sorted(found["rate"].unique())
    lines = [f"{'':<12}{'pairs':>6}" + "".join(f"{rate:>6}%" for rate in rates)]
    for direction in ("suppressed", "exaggerated"):
        for n_pairs in sorted(found["n_pairs"].unique()):
            row = found.filter((pl.col("direction") == direction) & (pl.col("n_pairs") == n_pairs))
            shares = dict(row.select("rate", "found").iter_rows())
            lines.append(f"{direction:<12}{n_pairs:>6}" + "".join(f"{shares[rate]:>7.2f}" for rate in rates))
    return "\n".join(lines)


def rows_of(trials: pl.DataFrame) -> list[Row]:
    """The figures at the largest number of pairs, ours against their bars, the released rules beside them."""
    largest = trials.filter(pl.col("n_pairs") == trials["n_pairs"].max())
    by_rule = {rule: largest.filter(pl.col("rule") == rule) for rule in RULES}
    strong, weak = pl.col("rate") >= 40, pl.col("rate") == 20

    def beside(figure) -> str:
        return ", ".join(f"{rule} {figure(by_rule[rule]):.3f}" for rule in RULES[1:])

    def found(where: pl.Expr):
        return lambda frame: float(frame.filter(where)["found"].to_numpy().mean())

    def false_share(frame: pl.DataFrame) -> float:
        wrong, right = (int(frame[name].to_numpy().sum()) for name in ("n_false", "n_hits"))
        return wrong / max(wrong + right, 1)

    def ranking(frame: pl.DataFrame) -> float:
        return float(frame["auroc"].drop_nulls().to_numpy().mean())

    def side_right(frame: pl.DataFrame) -> float:
        right, found = (int(frame[name].to_numpy().sum()) for name in ("n_side_right", "n_side"))
        return right / found if found else float("nan")

    ours = by_rule[RULES[0]]
    n_side = int(ours["n_side"].to_numpy().sum())
    return [
        Row("planted at 40% or more: found", found(strong)(ours), 1.0, beside=beside(found(strong))),
        Row("planted at 20%: found", found(weak)(ours), 0.8, beside=beside(found(weak))),
        Row(
            "false among all discoveries", false_share(ours), 0.05, at_least=False, beside=beside(false_share)
        ),
        Row("AUROC of the ranking", ranking(ours), 0.9, beside=beside(ranking)),
        Row("side effects found: their sign is right", side_right(ours), 0.95, beside=f"of {n_side}"),
    ]
