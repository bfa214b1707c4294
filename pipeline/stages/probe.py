"""Ask generators for concepts by name: does a suppressed concept come when a prompt says it?

Reads: `energies`, `pairs`, `concepts`, `name_edits`, `energy_differences`, the SAE. Writes: `probes`, one row
per concept and generator: how many of the images drawn for prompts with its name have the concept, beside the
real images whose captions say the name and the other real ones; and `images`, those drawn, under dataset and
source names that end in `@probe`, so that they never count among the images of the pairs.

An image has the concept where it fires at all (energy above 0), as in prevalence; the row keeps how strongly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.config import fingerprint
from pipeline.frames import list_column, schema_of
from pipeline.measures.energy import image_energies
from pipeline.measures.naming import mentions
from pipeline.measures.proportion import wilson
from pipeline.runners.local import run_shards
from pipeline.sources.backbones import Backbone, open_backbone
from pipeline.sources.generators import Generator, GeneratorConfig, image_seed, open_generator
from pipeline.sources.images import decode
from pipeline.stages.encode import nonzero_codes
from pipeline.stages.generate import picture_columns
from pipeline.workspace import Shard, Workspace
from tables import OK, REAL, image_id
from tables.edits import named_concepts
from tables.schemas import PROBE
from tracking.stage import Stage

if TYPE_CHECKING:
    from sae_models import SAE

_READS = ("energies", "pairs", "concepts", "name_edits", "energy_differences")

See = Callable[[pl.DataFrame, int], np.ndarray]  # energies of one concept in images


@dataclass(frozen=True)
class Probe:
    """One generator asked for one concept."""

    generator: str
    concept_id: int
    name: str
    prompts: list[str]  # one per image
    drawn: str  # shard of its images, shared by concepts of the same name
    shard: Shard  # of its row; as long as the images


def run(space: Workspace) -> str:
    """Draw and look at what is missing, generator by generator."""
    space.require_encoded()
    able = [generator for generator in space.generators if not generator.images]
    skipped = "".join(
        f"; {generator.name} is skipped, for it has pictures of the pairs only and cannot draw"
        for generator in space.generators
        if generator.images
    )
    plan = {generator.name: _plan(space, generator) for generator in able}
    if not any(plan.values()):
        return f"nothing to do: no generator has a suppressed concept with a name{skipped}"
    pending = {
        name: [probe for probe in probes if not _is_done(space, probe)] for name, probes in plan.items()
    }
    if not any(pending.values()):
        n_done = sum(map(len, plan.values()))
        return f"nothing to do: all {n_done} probes of {space.sae} are done{skipped}"
    settings = space.config.probe
    with space.stage("probe", settings.model_dump(), _READS, ("images", "probes")) as run:
        run.params({"seed": space.config.seed})
        see, real = _eye(space), _Real(space, [probe for probes in pending.values() for probe in probes])
        for generator in able:
            todo = pending[generator.name]
            done = settings.n_images * (len(plan[generator.name]) - len(todo))
            if todo:
                _run_generator(space, generator, todo, see, real, run, done)
    asked = [f"{name} is asked for {len(todo)} concepts" for name, todo in pending.items() if todo]
    return ", ".join(asked) + skipped


def _plan(space: Workspace, generator: GeneratorConfig) -> list[Probe]:
    settings = space.config.probe
    return [
        _probe(space, generator, concept_id, name)
        for concept_id, name in (
            _asked(space) if settings.concepts else _suppressed(space, generator.name)
        ).iter_rows()
    ]


def _probe(space: Workspace, generator: GeneratorConfig, concept_id: int, name: str) -> Probe:
    settings = space.config.probe
    turns = [settings.templates[index % len(settings.templates)] for index in range(settings.n_images)]
    prompts = [turn.replace("{name}", name) for turn in turns]
    drawn = f"{generator.name}{PROBE}/{fingerprint(space.generator_print(generator), prompts)}"
    row = space.derived_shard([drawn, concept_id], REAL)
    return Probe(generator.name, concept_id, name, prompts, drawn, Shard(row, 0, settings.n_images))


def _asked(space: Workspace) -> pl.DataFrame:
    """The concepts that the settings name: concept_id, name."""
    wanted = list(dict.fromkeys(space.config.probe.concepts))
    named = dict(_named(space).iter_rows())
    for concept_id in wanted:
        if concept_id not in named:
            raise ValueError(
                f"probe.concepts asks for concept {concept_id}, but {space.sae} has 0 to {len(named) - 1}."
            )
        if named[concept_id] is None:
            raise ValueError(
                f"concept {concept_id} of {space.sae} has no name to ask for; give it one with"
                f" `python -m pipeline rename {concept_id} NAME --lake {space.config.lake}`."
            )
    return pl.DataFrame([(concept_id, named[concept_id]) for concept_id in wanted], orient="row")


def _named(space: Workspace) -> pl.DataFrame:
    concepts = named_concepts(space.store, space.sae).select("concept_id", "name").collect()
    if concepts.is_empty():
        raise ValueError(f"the concepts of {space.sae} have no names yet; run the stage name first.")
    return concepts


def _suppressed(space: Workspace, generator: str) -> pl.DataFrame:
    rows = space.store.scan("energy_differences").filter(
        (pl.col("sae") == space.sae) & (pl.col("generator") == generator)
    )
    compared = rows.collect()
    if compared.is_empty():
        raise ValueError(f"images of {generator!r} are not compared yet; run the stage compare first.")
    return suppressed_concepts(
        compared.join(_named(space), on="concept_id", how="left"), space.config.probe.n_concepts
    )


def suppressed_concepts(compared: pl.DataFrame, n: int) -> pl.DataFrame:
    """The n suppressed concepts to ask for: concept_id, name.

    Those with a name that are suppressed by themselves and as a group, most energy lost first; but every name
    once before any twice, for a generator that lost one thing lost all concepts that are called like it.
    """
    return (
        compared.filter(
            pl.col("label") == "suppressed",
            pl.col("group_label") == "suppressed",
            pl.col("name").is_not_null(),
        )
        .sort("difference", "concept_id")
        .with_columns(pl.int_range(pl.len()).over("name").alias("turn"))
        .sort("turn", "difference", "concept_id")
        .select("concept_id", "name")
        .head(n)
    )


def _where(space: Workspace, probe: Probe) -> dict[str, str | int]:
    return {"sae": space.sae, "generator": probe.generator, "concept_id": probe.concept_id}


def _is_done(space: Workspace, probe: Probe) -> bool:
    return space.store.holds("probes", _where(space, probe), probe.shard.id)


def _run_generator(
    space: Workspace,
    config: GeneratorConfig,
    probes: list[Probe],
    see: See,
    real: "_Real",
    run: Stage,
    done: int,
) -> None:
    opened = cache(lambda: open_generator(config))  # not at all where a killed run has drawn everything
    of_shard = {probe.shard.id: probe for probe in probes}
    hits: dict[int, int] = {}

    def work(shard: Shard) -> int:
        probe = of_shard[shard.id]
        if not space.store.has("images", probe.drawn):
            _draw(space, opened(), probe, run)
            run.rate(len(probe.prompts), "images")
        images = _images(space, probe)
        row = {
            **_where(space, probe),
            **_found(probe, images, see(images, probe.concept_id)),
            **real.of(probe),
        }
        frame = pl.DataFrame([row], schema=schema_of("probes"))
        where = _where(space, probe)
        space.store.replace("probes", frame, where=where, shard=shard.id, stage="probe", run_id=run.run_id)
        hits[probe.concept_id] = row["n_hits"]
        return len(probe.prompts)

    shards = [probe.shard for probe in probes]
    n_looked_at = run_shards(shards, work, title=f"probe {config.name}", unit="images", done=done)
    run.log({f"{config.name}_images": n_looked_at, f"{config.name}_hits": sum(hits.values())})


def _names_of(space: Workspace, probe: Probe) -> dict[str, str]:
    return {"dataset": space.config.dataset.name + PROBE, "source": probe.generator + PROBE}


def _draw(space: Workspace, generator: Generator, probe: Probe, run: Stage) -> None:
    """Draw and commit the images of one name."""
    seeds = [image_seed(space.config.seed, index) for index in range(len(probe.prompts))]
    names = _names_of(space, probe)
    rows = [
        {
            **names,
            "image_id": image_id(names["dataset"], probe.drawn, index),
            "pair_id": index,
            "seed_index": 0,
            "seed": seed if generator.seeded else None,
            **picture_columns(picture),
        }
        for index, (seed, picture) in enumerate(zip(seeds, generator.draw(probe.prompts, seeds), strict=True))
    ]
    frame = pl.DataFrame(rows, schema=schema_of("images"))
    space.store.append("images", frame, shard=probe.drawn, stage="probe", run_id=run.run_id)


def _images(space: Workspace, probe: Probe) -> pl.DataFrame:
    """The pictures of a probe, by number: image_id, pair_id, image."""
    names = _names_of(space, probe)
    ids = [image_id(names["dataset"], probe.drawn, index) for index in range(len(probe.prompts))]
    mine = [pl.col(name) == value for name, value in names.items()]
    rows = space.store.scan("images").filter(*mine, pl.col("image_id").is_in(ids), pl.col("status") == OK)
    return rows.select("image_id", "pair_id", "image").sort("pair_id").collect()


def _eye(space: Workspace) -> See:
    """Energies of a concept in images, as `encode` has them."""
    from sae_models import load

    backbone = open_backbone(space.config.backbone)
    sae = load(space.sae_folder, backbone=backbone.id, preprocessing=backbone.preprocessing)
    size = space.config.shard_size

    def see(images: pl.DataFrame, concept_id: int) -> np.ndarray:
        blocks = [images["image"][start : start + size] for start in range(0, len(images), size)]
        return np.concatenate(
            [np.empty(0), *(_energies(backbone, sae, block, concept_id) for block in blocks)]
        )

    return see


def _energies(backbone: Backbone, sae: "SAE", images: pl.Series, concept_id: int) -> np.ndarray:
    tokens = backbone.tokens([decode(data) for data in images])
    found = image_energies(*nonzero_codes(backbone, sae, tokens))
    energies = np.zeros(len(images))
    mine = found.concept == concept_id
    energies[found.image[mine]] = found.energy[mine]
    return energies


def _found(probe: Probe, images: pl.DataFrame, energies: np.ndarray) -> dict:
    """What a row of `probes` says of the images that were drawn."""
    n_hits = int((energies > 0).sum())
    low, high = wilson(n_hits, len(images))
    return {
        "name": probe.name,
        "image_ids": images["image_id"],
        "prompts": [probe.prompts[index] for index in images["pair_id"]],
        "energies": list_column("energies", [energies], pl.Float32)[0],
        "n_images": len(images),
        "n_failed": len(probe.prompts) - len(images),
        "n_hits": n_hits,
        "low": low,
        "high": high,
    }


class _Real:
    """The real images of the live pairs, and whether their captions say the names of some probes."""

    def __init__(self, space: Workspace, probes: list[Probe]):
        self._space = space
        pairs = space.live_images(REAL).join(space.pairs(), on="pair_id", how="left", maintain_order="left")
        self._images = pairs["image_id"]
        names = sorted({probe.name for probe in probes})
        said = mentions(pairs["caption"].to_list(), names).toarray() > 0
        self._said = dict(zip(names, said.T, strict=True))

    def of(self, probe: Probe) -> dict:
        """In how many real images the concept fires, where the caption says its name and elsewhere."""
        mine = self._space.store.scan("energies").filter(
            (pl.col("sae") == self._space.sae)
            & (pl.col("source") == REAL)
            & (pl.col("concept_id") == probe.concept_id)
        )
        fired = self._images.is_in(mine.select("image_id").collect()["image_id"].implode()).to_numpy()
        said = self._said[probe.name]
        row: dict = {}
        for part, where in (("real", said), ("rest", ~said)):
            n, n_hits = int(where.sum()), int((fired & where).sum())
            low, high = wilson(n_hits, n)
            row |= {f"n_{part}": n, f"n_{part}_hits": n_hits, f"{part}_low": low, f"{part}_high": high}
        return row
