"""Small lakes for the tests: complete, partly filled and foreign, with captions and names that mean harm."""

import io
import math
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from tables import OK, REAL, TableStore, image_id
from tables.schemas import PROBE

DATASET, SAE, OLD_SAE = "world", "archetypal-40", "topk-16"
GENERATORS = ("tiny-sd", "tiny-suppressed")
N_CONCEPTS, N_PAIRS, GRID, N_PREFIX = 40, 12, 4, 1

HOSTILE = (
    "<script>document.title = 'broken'</script> <img src=x onerror=alert(1)> <b>bold?</b>",
    "**not bold** [a link](javascript:alert(1)) `code` $x^2$ :red[red] # heading | table |",
    "emoji 🦜🎈 :smile: :material/home: -> <- -- www.example.com https://example.com a@example.com",
    "مثلث أحمر على خلفية زرقاء \u202e reversed",
    "",
    "a very long caption " * 40,
)
PLAIN = (
    "a red triangle above a blue circle",
    "two green squares on a striped background",
    "a small yellow star",
    "a purple ring beside a red square",
    "one blue circle on dots",
    "an orange cross below a green triangle",
)
FORMS = ("absolute", "relative", "ratio")
NAMES = (
    "red triangle",
    "stripes",
    "<b>bold</b> *star* :smile:",
    "blue circle",
    "مثلث 🦜",
    "$x$ [link](http://example.com)",
)
WORDS = (
    ["red", "triangle"],
    ["stripes", "background"],
    ["<i>star</i>", "**x**"],
    ["blue", "circle"],
    ["مثلث"],
    ["dots"],
)


def picture(seed: int, size: int = 64) -> bytes:
    """A PNG of a few coloured shapes."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(int(c) for c in rng.integers(150, 240, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = (int(v) for v in rng.integers(4, size - 24, 2))
        colour = tuple(int(c) for c in rng.integers(20, 220, 3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)([x, y, x + 20, y + 20], fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def full_lake(folder: Path) -> str:
    """A complete lake: 40 concepts, 12 pairs, two generators, two concepts asked for by name."""
    lake = TableStore(str(folder))
    lake.create()
    rng = np.random.default_rng(0)
    _write(lake, "pairs", _pairs(), "sample")
    _write(lake, "images", _images(REAL, 0), "sample")
    energy = {REAL: rng.gamma(2.0, 1.0, (N_PAIRS, N_CONCEPTS)) * (rng.random((N_PAIRS, N_CONCEPTS)) < 0.5)}
    for number, generator in enumerate(GENERATORS, 1):
        _write(lake, "images", _images(generator, number), "generate")
        factor = np.exp(rng.normal(0, 1.2, N_CONCEPTS))
        factor[[0, 2]] = 0.02  # planted: suppressed
        factor[[1, 4]] = 60.0  # planted: exaggerated
        energy[generator] = energy[REAL] * factor
        energy[generator][:4, 3] = energy[generator][-4:, 7] = 0  # now and then left out
    energy[REAL][:, [1, 4]] += 0.02
    for matrix in energy.values():
        matrix[:, N_CONCEPTS - 1] = 0  # a dead concept
    for source, matrix in energy.items():
        codes = _codes(source, matrix, rng)
        _write(lake, "codes", codes, "encode")
        _write(lake, "energies", _energies(codes), "encode")
        _write(lake, "concept_stats", _stats(source, matrix), "compare")
        _write(lake, "top_images", _top_images(codes, source, matrix), "compare")
        _write(lake, "cooccurrences", _cooccurrences(source, matrix, energy[REAL]), "cooccur")
    for generator in GENERATORS:
        _write(lake, "energy_differences", _differences(generator, energy), "compare")
        _write(lake, "datapoints", _datapoints(generator), "datapoints")
        _write(lake, "images", _probe_images(generator), "probe")
        _write(lake, "probes", _probes(generator), "probe")
        for table, rows in _beside(generator).items():
            _write(lake, table, rows, "compare")
    _write(lake, "communities", _communities(), "cooccur")
    _write(lake, "agreements", _agreements(), "compare")
    _write(lake, "concepts", _concepts(), "name")
    _write(lake, "layout", _layout(rng), "layout")
    _write(lake, "regions", _regions(), "layout")
    _write(lake, "advice", _advice(), "advise")
    _write(lake, "map_clusters", _map_clusters(), "layout")
    return str(folder)


def add_old_sae(folder: str) -> None:
    """A second SAE with a few compared concepts."""
    lake = TableStore(folder)
    frame = lake.scan("energy_differences").filter(pl.col("concept_id") < 16).drop("run_id").collect()
    _write(lake, "energy_differences", frame.with_columns(sae=pl.lit(OLD_SAE)), "compare", "old")


def _write(lake: TableStore, table: str, frame: pl.DataFrame, stage: str, tag: str = "") -> None:
    slices = [str(frame[column][0]) for column in ("source", "generator") if column in frame.columns]
    lake.append(table, frame, shard="-".join([table, tag, *slices]), stage=stage, run_id="run-1")


def _id(source: str, pair: int) -> int:
    return image_id(DATASET, source, pair)


def _pairs() -> pl.DataFrame:
    captions = [*HOSTILE, *PLAIN]
    return pl.DataFrame(
        {
            "dataset": DATASET,
            "pair_id": range(N_PAIRS),
            "caption": captions,
            "uri": None,
            "status": OK,
            "error": None,
        }
    ).with_columns(pl.col("uri", "error").cast(pl.String))


def _images(source: str, number: int) -> pl.DataFrame:
    rows = []
    for pair in range(N_PAIRS):
        data = picture(1000 * number + pair)
        if source != REAL and pair == 3:
            data = data[: len(data) // 2]  # a truncated file among good ones
        missing = source != REAL and pair == 5
        rows.append(
            {
                "dataset": DATASET,
                "source": source,
                "image_id": _id(source, pair),
                "pair_id": pair,
                "seed_index": 0,
                "seed": None if source == REAL else pair,
                "image": None if missing else data,
                "codec": None if missing else "png",
                "width": 64,
                "height": 64,
                "sha256": None,
                "status": "failed" if missing else OK,
                "error": "it was not drawn" if missing else None,
            }
        )
    schema = {
        "seed": pl.Int64,
        "image": pl.Binary,
        "codec": pl.String,
        "sha256": pl.String,
        "error": pl.String,
    }
    return pl.DataFrame(
        rows, schema_overrides={**schema, "seed_index": pl.Int32, "width": pl.Int32, "height": pl.Int32}
    )


PROBED, N_PROBED, N_HITS = (0, 2), 10, 3  # concepts, images drawn for each of them, hits among these


def _probe_ids(generator: str) -> list[int]:
    return [image_id(f"{DATASET}{PROBE}", generator, index) for index in range(N_PROBED)]


def _probe_images(generator: str) -> pl.DataFrame:
    """Images that belong to no pair, though their numbers are those of pairs; the second is truncated."""
    drawn = _images(generator, 9).head(N_PROBED).drop("image", "codec", "status", "error")
    data = [picture(9000 + index) for index in range(N_PROBED)]
    data[1] = data[1][: len(data[1]) // 2]
    return drawn.with_columns(
        pl.lit(f"{DATASET}{PROBE}").alias("dataset"),
        pl.lit(f"{generator}{PROBE}").alias("source"),
        pl.Series("image_id", _probe_ids(generator)),
        pl.Series("image", data),
        pl.lit("png").alias("codec"),
        pl.lit(OK).alias("status"),
        pl.lit(None, pl.String).alias("error"),
    )


def _probes(generator: str) -> pl.DataFrame:
    """Two names, one of which means harm; the first generator fails one prompt."""
    rows = [
        {
            "sae": SAE,
            "generator": generator,
            "concept_id": k,
            "name": NAMES[k],
            "image_ids": _probe_ids(generator),
            "prompts": [f"{('a photo of', 'one')[i % 2]} {NAMES[k]}" for i in range(N_PROBED)],
            "energies": [1.5 if i in (1, 4, 7) else 0.0 for i in range(N_PROBED)],
            "n_images": N_PROBED,
            "n_failed": 1 if generator == GENERATORS[0] else 0,
            "n_hits": N_HITS,
            "low": 0.108,
            "high": 0.603,
            "n_real": 8 if k == 0 else 0,
            "n_real_hits": 6 if k == 0 else 0,
            "real_low": 0.409 if k == 0 else 0.0,
            "real_high": 0.929 if k == 0 else 1.0,
            "n_rest": 4,
            "n_rest_hits": 1,
            "rest_low": 0.046,
            "rest_high": 0.699,
        }
        for k in PROBED
    ]
    types = {"concept_id": pl.Int32, "energies": pl.List(pl.Float32)}
    return pl.DataFrame(rows, schema_overrides=types)


def _codes(source: str, energy: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    for pair in range(N_PAIRS):
        token, concept, activation = [], [], []
        for k in np.flatnonzero(energy[pair]):
            tokens = rng.choice(GRID * GRID, 3, replace=False) + N_PREFIX
            for t, share in zip(tokens, (0.6, 0.3, 0.1), strict=True):
                token.append(int(t))
                concept.append(int(k))
                activation.append(float(energy[pair, k] * share))
        rows.append(
            (
                SAE,
                source,
                _id(source, pair),
                pair,
                GRID * GRID + N_PREFIX,
                N_PREFIX,
                token,
                concept,
                activation,
            )
        )
    names = ["sae", "source", "image_id", "pair_id", "n_tokens", "n_prefix", "token", "concept", "activation"]
    types = {
        "n_tokens": pl.Int32,
        "n_prefix": pl.Int32,
        "token": pl.List(pl.Int32),
        "concept": pl.List(pl.Int32),
    }
    return pl.DataFrame(
        rows, schema=names, orient="row", schema_overrides={**types, "activation": pl.List(pl.Float32)}
    )


def _energies(codes: pl.DataFrame) -> pl.DataFrame:
    exploded = codes.explode("token", "concept", "activation")
    return (
        exploded.group_by("sae", "source", "concept", "image_id", "pair_id")
        .agg(
            energy=pl.col("activation").sum(),
            peak=pl.col("activation").max(),
            peak_token=pl.col("token").sort_by("activation").last(),
        )
        .rename({"concept": "concept_id"})
    )


def _stats(source: str, energy: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sae": SAE,
            "source": source,
            "concept_id": np.arange(N_CONCEPTS, dtype=np.int32),
            "mean_energy": energy.mean(0),
            "variance": energy.var(0, ddof=1),
            "prevalence": (energy > 0).mean(0),
            "n_images": N_PAIRS,
        }
    )


def _differences(generator: str, energy: dict[str, np.ndarray]) -> pl.DataFrame:
    real, drawn = energy[REAL].mean(0), energy[generator].mean(0)
    rows = []
    for k in range(N_CONCEPTS):
        total = real[k] + drawn[k]
        rel = (drawn[k] - real[k]) / total if total else None
        ratio = None if rel is None else (1 + rel) / 2
        tested = ratio is not None and k % 7 != 3
        label = "aligned"
        if ratio is not None and (ratio < 0.1 or ratio > 0.9):
            label = "uncertain" if k % 5 == 3 else ("suppressed" if ratio < 0.1 else "exaggerated")
        rows.append(
            {
                "sae": SAE,
                "generator": generator,
                "concept_id": k,
                "n_pairs": N_PAIRS,
                "n_fired_real": int((energy[REAL][:, k] > 0).sum()),
                "n_fired_gen": int((energy[generator][:, k] > 0).sum()),
                "energy_real": float(real[k]),
                "energy_gen": float(drawn[k]),
                "difference": float(drawn[k] - real[k]),
                "absolute": 1 / (1 + math.exp(-float(drawn[k] - real[k]) / 0.8)) if total else None,
                "relative": None if rel is None else 1 / (1 + math.exp(-rel / 0.4)),
                "ratio": ratio,
                "form": "ratio",
                "low": max(0.0, ratio - 0.08) if tested and ratio is not None else None,
                "high": min(1.0, ratio + 0.08) if tested and ratio is not None else None,
                "difference_low": float(drawn[k] - real[k]) - 0.1,
                "difference_high": float(drawn[k] - real[k]) + 0.1,
                "ratio_low": None if ratio is None else max(0.0, ratio - 0.08),
                "ratio_high": None if ratio is None else min(1.0, ratio + 0.08),
                "p": 0.01 if tested else 1.0,
                "q": 0.03 if tested else None,
                "label": label,
                "group": k,
                "group_delta": ratio,
                "group_low": None if ratio is None else max(0.0, ratio - 0.08),
                "group_high": None if ratio is None else min(1.0, ratio + 0.08),
                "group_q": 0.03 if tested else None,
                "group_label": label,
            }
        )
    ids = {"concept_id": pl.Int32, "group": pl.Int32}
    return pl.DataFrame(rows, schema_overrides=ids, infer_schema_length=None)


def _beside(generator: str) -> dict[str, pl.DataFrame]:
    """Null, distribution, funnel and caption differences of one generator."""
    both = {"sae": SAE, "generator": generator}
    edges = [step / 40 for step in range(41)]
    nulls = [
        {
            **both,
            "kind": "real",
            "form": form,
            "bin": step,
            "low_edge": edges[step],
            "high_edge": edges[step + 1],
            "n_concepts": 5.0 if 18 <= step < 22 else 0.0,
            "low": 0.0,
            "high": 8.0,
        }
        for form in FORMS
        for step in range(40)
    ]
    figures = {"skewness": -0.5, "median": 0.48, "spread": 0.1}
    figures |= {"blindspots_seen": 4.0, "blindspots_chance": 0.5, "blindspots_excess": 3.5}
    distributions = [
        {**both, "form": form, "statistic": name, "value": value, "low": value - 0.1, "high": value + 0.1}
        for form in FORMS
        for name, value in figures.items()
    ]
    funnel = {"prevalence_low": 0.1, "prevalence_high": 1.0, "n_concepts": 39, "median": 0.5}
    funnel |= {"null_low": 0.4, "null_high": 0.6}
    captions = [
        {
            **both,
            "concept_id": k,
            "word": NAMES[k],
            "form": "ratio",
            "n_mentioned": k,
            "mentioned": None if k == 0 else 0.1 * k,
            "mentioned_low": None if k == 0 else 0.08 * k,
            "mentioned_high": None if k == 0 else 0.12 * k,
            "mentioned_p": 0.5,
            "n_rest": N_PAIRS - k,
            "rest": 0.5,
            "rest_low": 0.4,
            "rest_high": 0.6,
            "rest_p": 0.5,
        }
        for k in range(len(NAMES))
    ]
    return {
        "nulls": pl.DataFrame(nulls, schema_overrides={"bin": pl.Int32}),
        "distributions": pl.DataFrame(distributions),
        "funnel": pl.DataFrame(
            [{**both, "form": form, "bin": 0, **funnel} for form in FORMS], schema_overrides={"bin": pl.Int32}
        ),
        "caption_differences": pl.DataFrame(captions, schema_overrides={"concept_id": pl.Int32}),
    }


def _agreements() -> pl.DataFrame:
    a, b = GENERATORS
    rows = [("pearson", 0.5, 0.4, 0.6), ("jaccard_suppressed", 0.2, None, None)]
    return pl.DataFrame(
        [
            {"sae": SAE, "generator_a": a, "generator_b": b, "statistic": s, "value": v, "low": x, "high": y}
            for s, v, x, y in rows
        ]
    )


def _top_images(codes: pl.DataFrame, source: str, energy: np.ndarray) -> pl.DataFrame:
    lists = {row["pair_id"]: row for row in codes.iter_rows(named=True)}
    rows = []
    for k in range(N_CONCEPTS):
        best = [int(p) for p in np.argsort(-energy[:, k], kind="stable") if energy[p, k] > 0][:6]
        for rank, pair in enumerate(best):
            grid = np.zeros(GRID * GRID)
            row = lists[pair]
            for t, c, a in zip(row["token"], row["concept"], row["activation"], strict=True):
                if c == k:
                    grid[t - N_PREFIX] = a
            twin = None if source == REAL else _id(REAL, pair)
            rows.append(
                (
                    SAE,
                    source,
                    k,
                    rank,
                    _id(source, pair),
                    pair,
                    twin,
                    energy[pair, k],
                    grid.tolist(),
                    GRID,
                    GRID,
                )
            )
    names = ["sae", "source", "concept_id", "rank", "image_id", "pair_id", "twin_image_id", "energy"]
    names += ["heatmap", "grid_height", "grid_width"]
    types = {"concept_id": pl.Int32, "rank": pl.Int32, "twin_image_id": pl.Int64, "energy": pl.Float32}
    grids = {"heatmap": pl.List(pl.Float32), "grid_height": pl.Int32, "grid_width": pl.Int32}
    return pl.DataFrame(rows, schema=names, orient="row", schema_overrides={**types, **grids})


def _cooccurrences(source: str, energy: np.ndarray, real: np.ndarray) -> pl.DataFrame:
    def counts(matrix: np.ndarray, a: int, b: int) -> dict:
        fires = matrix[:, [a, b]] > 0
        n_a, n_b = (int(n) for n in fires.sum(0))
        strength = float((matrix[:, a] * matrix[:, b]).mean())
        return {"n_images": int(fires.all(1).sum()), "n_a": n_a, "n_b": n_b, "strength": strength}

    rows = []
    for a in range(0, 12):
        for b in range(a + 1, 12):
            now, before = counts(energy, a, b), counts(real, a, b)
            row = {"concept_a": a, "concept_b": b, **now, "lift": 1.0 + 0.1 * (a - b), "correlation": 0.1}
            row |= {f"real_{name}": value for name, value in before.items()}
            difference = None if source == REAL else (now["n_images"] - before["n_images"]) / len(energy)
            rows.append(row | {"difference": difference} | _evidence(difference, b))
    frame = pl.DataFrame(
        rows,
        schema_overrides=dict.fromkeys(("difference", *_evidence(None, 0)), pl.Float64),
        infer_schema_length=None,
    )
    named = (pl.lit(SAE).alias("sae"), pl.lit(source).alias("source"), pl.lit("real").alias("kept"))
    return frame.with_columns(*named).cast({"concept_a": pl.Int32, "concept_b": pl.Int32})


def _evidence(difference: float | None, concept_b: int) -> dict[str, float | None]:
    """Interval, p, q and `sure` of a change: every other one is sure."""
    if difference is None:
        return dict.fromkeys(("low", "high", "p", "q", "sure"))
    sure = concept_b % 2 == 0 and difference != 0
    reach = abs(difference) / 2 if sure else abs(difference) + 0.1
    return {
        "low": difference - reach,
        "high": difference + reach,
        "p": 0.001 if sure else 0.5,
        "q": 0.01 if sure else 0.9,
        "sure": difference / 2 if sure else 0.0,
    }


def _communities() -> pl.DataFrame:
    """Two communities of the first twelve concepts; the others go together with nothing."""
    ids = range(N_CONCEPTS)
    return pl.DataFrame(
        {
            "sae": SAE,
            "concept_id": ids,
            "community": [(0 if k < 7 else 1) if k < 12 else None for k in ids],
            "n_members": [(7 if k < 7 else 5) if k < 12 else 1 for k in ids],
            "n_partners": [11 if k < 12 else 0 for k in ids],
        },
        schema_overrides={"concept_id": pl.Int32, "community": pl.Int32},
    )


def _datapoints(generator: str) -> pl.DataFrame:
    pairs = range(N_PAIRS)
    return pl.DataFrame(
        {
            "sae": SAE,
            "generator": generator,
            "pair_id": pairs,
            "image_id": [_id(generator, pair) for pair in pairs],
            "real_image_id": [_id(REAL, pair) for pair in pairs],
            "n_images": 1,
            "n_duplicates": 0,
            "paper_score": [0.5 + 0.0001 * pair for pair in pairs],
            "distance": [pair / N_PAIRS for pair in pairs],
            "similarity": [1 - pair / N_PAIRS for pair in pairs],
            "rank": [N_PAIRS - pair for pair in pairs],
            "suspect_image_id": [_id(generator, pair) for pair in pairs],
            "nearest_image_id": [_id(REAL, pair) for pair in pairs],
            "nearest_energy": [1 - pair / N_PAIRS for pair in pairs],
            "nearest_token": [1 - pair / N_PAIRS for pair in pairs],
            "nearest_edges": [0.95 if pair == 0 else 0.1 for pair in pairs],
            "nearest_layout": [0.97 if pair == 0 else 0.2 for pair in pairs],
            "seed_similarity": [None] * N_PAIRS,
            "memorisation": [5.0 if pair == 0 else 0.1 for pair in pairs],
            "p": [1e-6 if pair == 0 else 0.5 for pair in pairs],
            "q": [1e-5 if pair == 0 else 0.9 for pair in pairs],
            "null_pairs": "matched",
            "mismatched_p": [0.5 if pair == 1 else 0.01 for pair in pairs],
            "verdict": ["memorised", "different"] + ["faithful"] * (N_PAIRS - 2),
        },
        schema_overrides={"seed_similarity": pl.Float64},
    )


def _concepts() -> pl.DataFrame:
    ids = range(N_CONCEPTS)
    return pl.DataFrame(
        {
            "sae": SAE,
            "concept_id": ids,
            "name": [NAMES[k] if k < len(NAMES) else None for k in ids],
            "found_name": [NAMES[k] if k < len(NAMES) else None for k in ids],
            "words": [WORDS[k] if k < len(WORDS) else ["shape"] if k % 3 else [] for k in ids],
            "confidence": [4.0 if k < len(NAMES) else None for k in ids],
            "group": list(ids),
            "neighbours": [[(k + step) % N_CONCEPTS for step in (1, 2, 5)] for k in ids],
            "neighbour_cosine": [[0.9, 0.7, 0.4]] * N_CONCEPTS,
            "dead": [k == N_CONCEPTS - 1 for k in ids],
        },
        schema_overrides={
            "concept_id": pl.Int32,
            "words": pl.List(pl.String),
            "group": pl.Int32,
            "neighbours": pl.List(pl.Int32),
            "neighbour_cosine": pl.List(pl.Float32),
        },
    )


def _layout(rng: np.random.Generator) -> pl.DataFrame:
    spots = rng.normal(0, 3, (N_CONCEPTS, 2)).astype(np.float32)
    return pl.DataFrame(
        {
            "sae": SAE,
            "concept_id": np.arange(N_CONCEPTS, dtype=np.int32),
            "x": spots[:, 0],
            "y": spots[:, 1],
            "region": np.arange(N_CONCEPTS, dtype=np.int32) % 4,
        }
    )


REGIONS = ("red, triangle", "<b>dots</b> 🦜", None, "مثلث")


def _regions() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sae": SAE,
            "region": pl.Series(range(4), dtype=pl.Int32),
            "name": REGIONS,
            "words": [name.split(", ") if name else [] for name in REGIONS],
            "n_concepts": N_CONCEPTS // 4,
            "x": pl.Series([0.0] * 4, dtype=pl.Float32),
            "y": pl.Series([0.0] * 4, dtype=pl.Float32),
        }
    ).with_columns(pl.col("n_concepts").cast(pl.Int64))


def _map_clusters() -> pl.DataFrame:
    found = {"n_concepts": 8, "agreement": 0.5, "shuffled": 0.2, "low": 0.1, "high": 0.3, "p": 0.001}
    return pl.DataFrame(
        [
            {"sae": SAE, "generator": generator, "space": space, "kind": kind, **found, "n_shuffles": 1000}
            for generator in GENERATORS
            for space in ("map", "atoms")
            for kind in ("suppressed", "exaggerated", "less")
        ]
    )


ADVICE = {0: "not drawn", 2: "badly captioned", 1: "drawn unasked"}


def _advice() -> pl.DataFrame:
    """Advice on three concepts of the last generator, the reason of one with markup in it."""
    return pl.DataFrame(
        [
            {
                "sae": SAE,
                "generator": GENERATORS[-1],
                "concept_id": concept,
                "name": NAMES[concept],
                "label": "exaggerated" if concept == 1 else "suppressed",
                "advice": advice,
                "delta": 0.97 if concept == 1 else 0.02,
                "form": "ratio",
                "q": 0.001,
                "prevalence_real": 0.5,
                "prevalence_gen": 0.5,
                "n_strong": 6,
                "n_mentioned": 3,
                "words": WORDS[concept],
                "reason": f"Captions of 3 of its 6 strongest images mention it ({NAMES[concept]}).",
                "pair_ids": [0, 1],
            }
            for concept, advice in sorted(ADVICE.items())
        ],
        schema_overrides={"concept_id": pl.Int32},
    )
