"""A lake of the published size without its images' meaning: what the benchmark of the dashboard looks at.

Energies are drawn token by token and all that follows from them is counted, so that tables agree; names,
positions and partners belong to topics. Pictures are a few hundred, repeated.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFilter

from pipeline.benchmarks import dashboard_generators as generators
from pipeline.benchmarks import dashboard_tables as tables_of
from pipeline.benchmarks.dashboard_tables import DATASET, SAE, Drawn, Sizes
from tables import OK, REAL, TableStore, image_id
from tables.schemas import TABLES
from tracking import Tracker

_PREFIX = 5  # CLS and four registers
_SHARES = (0.6, 0.3, 0.1)  # of a concept's energy on its three tokens
_SIDE = 224  # pixels
_SHARD = 1_000  # pairs per commit
_DONE = "benchmark.json"
_RUNS = ("sample", "generate", "train-sae", "encode", "name", "compare", "cooccur", "datapoints", "layout")
Runs = dict[str, str]


@dataclass
class World:
    """How often and how strongly every concept fires in an image set: rates in (0, 1), scales of energy."""

    rate: np.ndarray
    scale: np.ndarray


def made(folder: Path, sizes: Sizes) -> str:
    """The lake in a folder: made there, or the one that was made there before with these sizes.

    Raises:
        ValueError: the folder holds something else.
    """
    note = folder / _DONE
    if note.is_file() and json.loads(note.read_text()) == asdict(sizes):
        return str(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else than this benchmark's lake; name an empty folder.")
    _fill(TableStore(str(folder)), sizes)
    note.write_text(json.dumps(asdict(sizes)))
    return str(folder)


def _fill(lake: TableStore, sizes: Sizes) -> None:
    rng = np.random.default_rng(sizes.seed)
    lake.create()
    runs = _runs(lake, sizes)
    topic = rng.integers(sizes.n_topics, size=sizes.n_concepts)
    worlds = _worlds(rng, sizes)
    files = pictures(rng, sizes.n_pictures)
    ids = {source: _ids(source, sizes) for source in worlds}
    _write(lake, "pairs", tables_of.pairs(rng, sizes), runs)
    for table, frame in tables_of.concept_tables(rng, sizes, topic).items():
        _write(lake, table, frame, runs)
    real: Drawn | None = None
    company: pl.DataFrame | None = None
    for source, world in worlds.items():
        _write(lake, "images", _images(rng, source, ids[source], files), runs)
        drawn = _draw(lake, rng, sizes, source, world, ids[source], runs)
        real = real or drawn
        rows = tables_of.per_source(drawn, real, ids, sizes)
        company = tables_of.company(rng, drawn, real, topic, company, sizes)
        rows["cooccurrences"] = company
        if source != REAL:
            rows |= generators.per_generator(rng, drawn, real, ids, sizes)
        for table, frame in rows.items():
            _write(lake, table, frame, runs)
    _write(lake, "agreements", generators.agreements(rng, list(worlds)[1:]), runs)
    for table in TABLES:
        lake.compact(table)


def _worlds(rng: np.random.Generator, sizes: Sizes) -> dict[str, World]:
    """Concepts fire by a power law; every generator shifts them a little, a few far down and a few far up."""
    share = 1 / np.arange(1, sizes.n_concepts + 1) ** 0.7
    rate = np.minimum(share / share.sum() * sizes.n_fired, 0.9)
    rate = rng.permutation(np.minimum(rate * sizes.n_fired / rate.sum(), 0.95))
    worlds = {REAL: World(rate, np.ones(sizes.n_concepts))}
    for name in sizes.generators:
        kind = rng.choice(3, size=sizes.n_concepts, p=[0.93, 0.04, 0.03])
        shift = np.exp(rng.normal(0, 0.2, sizes.n_concepts))
        worlds[name] = World(
            np.minimum(rate * np.array([1, 0.3, 1.5])[kind], 0.95),
            shift * np.array([1, 0.1, 10])[kind],
        )
    return worlds


def _draw(
    lake: TableStore,
    rng: np.random.Generator,
    sizes: Sizes,
    source: str,
    world: World,
    ids: np.ndarray,
    runs: Runs,
) -> Drawn:
    """Codes and energies of one image set, written shard by shard; all energies come back."""
    grid = sizes.grid**2
    parts = []
    for start in range(0, sizes.n_pairs, _SHARD):
        n = min(_SHARD, sizes.n_pairs - start)
        pair, concept = np.nonzero(rng.random((n, sizes.n_concepts), dtype=np.float32) < world.rate)
        energy = (rng.gamma(2, 1, len(pair)) * world.scale[concept]).astype(np.float32)
        rows = pl.DataFrame(
            {
                "concept_id": concept.astype(np.int32),
                "pair_id": pair + start,
                "energy": energy,
                "patch": rng.integers(grid, size=len(pair), dtype=np.int32),
            }
        )
        parts.append(rows)
        own = rows.with_columns(
            pl.lit(SAE).alias("sae"),
            pl.lit(source).alias("source"),
            pl.Series("image_id", ids[rows["pair_id"].to_numpy()]),
        )
        energies = own.with_columns(
            peak=(pl.col("energy") * _SHARES[0]).cast(pl.Float32), peak_token=pl.col("patch") + _PREFIX
        ).drop("patch")
        _write(lake, "energies", energies, runs, f"{source}-{start}")
        _write(lake, "codes", _codes(own, sizes), runs, f"{source}-{start}")
    return Drawn(source, sizes.n_pairs, pl.concat(parts))


def _codes(rows: pl.DataFrame, sizes: Sizes) -> pl.DataFrame:
    grid = sizes.grid**2
    spread = pl.concat(
        rows.with_columns(
            token=(pl.col("patch") + step) % grid + _PREFIX,
            activation=(pl.col("energy") * share).cast(pl.Float32),
        )
        for step, share in zip((0, 1, sizes.grid), _SHARES, strict=True)
    )
    return (
        spread.sort("pair_id", "token")
        .group_by("sae", "source", "image_id", "pair_id", maintain_order=True)
        .agg("token", pl.col("concept_id").alias("concept"), "activation")
        .with_columns(
            n_tokens=pl.lit(grid + _PREFIX, dtype=pl.Int32), n_prefix=pl.lit(_PREFIX, dtype=pl.Int32)
        )
    )


def _ids(source: str, sizes: Sizes) -> np.ndarray:
    return np.array([image_id(DATASET, source, pair) for pair in range(sizes.n_pairs)], dtype=np.int64)


def _images(
    rng: np.random.Generator, source: str, ids: np.ndarray, files: list[tuple[str, bytes]]
) -> pl.DataFrame:
    which = rng.integers(len(files), size=len(ids))
    sums = [hashlib.sha256(data).hexdigest() for _, data in files]
    pair = np.arange(len(ids))
    return pl.DataFrame(
        {
            "dataset": DATASET,
            "source": source,
            "image_id": ids,
            "pair_id": pair,
            "seed_index": 0,
            "seed": None if source == REAL else pair,
            "image": [files[k][1] for k in which],
            "codec": [files[k][0] for k in which],
            "width": _SIDE,
            "height": _SIDE,
            "sha256": [sums[k] for k in which],
            "status": OK,
            "error": None,
        },
        schema_overrides={
            **dict.fromkeys(("seed_index", "width", "height"), pl.Int32),
            **{"seed": pl.Int64, "image": pl.Binary, "error": pl.String},
        },
    )


def pictures(rng: np.random.Generator, n: int) -> list[tuple[str, bytes]]:
    """n different pictures as (codec, file): shapes on a ground, in WebP, JPEG and PNG by turns."""
    files = []
    for number in range(n):
        coarse = rng.integers(60, 230, (7, 7, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(image)
        for x, y, size, *colour in rng.integers(0, 160, (6, 6)).tolist():
            shape = draw.ellipse if size % 2 else draw.rectangle
            shape([x, y, x + 20 + size // 2, y + 20 + size // 2], fill=tuple(colour))
        codec = ("webp", "jpeg", "png")[number % 3]
        buffer = io.BytesIO()
        image.filter(ImageFilter.GaussianBlur(1)).save(buffer, format=codec.upper())
        files.append((codec, buffer.getvalue()))
    return files


def _runs(lake: TableStore, sizes: Sizes) -> Runs:
    """A recorded run of every stage, three times over as reruns leave them; the newest by stage."""
    tracker = Tracker(lake.uri)
    found: Runs = {}
    for _ in range(sizes.n_reruns):
        for name in _RUNS:
            settings = {**asdict(sizes), "suppressed_below": 0.1, "exaggerated_above": 0.9, "level": 0.05}
            with tracker.stage(name, settings, dict.fromkeys(TABLES, 1)) as run:
                run.rate(sizes.n_pairs, "images")
                run.log({f"figure_{k}": k / 7 for k in range(20)})
                found[name] = run.run_id
    return found


def _write(lake: TableStore, table: str, frame: pl.DataFrame, runs: Runs, shard: str = "") -> None:
    stage = TABLES[table].writers[-1]
    of = [
        str(frame[column][0]) for column in ("source", "generator") if column in frame.columns and len(frame)
    ]
    columns = [name for name in TABLES[table].columns if name != "run_id"]
    shard = shard or "-".join([table, *of])
    run_id = runs.get(stage, runs["compare"])
    lake.append(table, frame.select(columns), shard=shard, stage=stage, run_id=run_id)
