"""What every stage works in: the configuration, the tables, the runs, and the plan of shards."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl

from pipeline.config import RunConfig, fingerprint
from pipeline.sources.generators import GeneratorConfig, resolve
from pipeline.sources.registry import WEIGHTS
from tables import OK, REAL, TABLES, TableStore
from tracking.runs import Tracker
from tracking.stage import Stage


@dataclass(frozen=True)
class Shard:
    """A fixed slice of pair ids, committed once."""

    id: str
    start: int  # first pair id
    stop: int  # one past the last


@dataclass
class Workspace:
    """One configuration at work in one lake."""

    config: RunConfig
    store: TableStore
    tracker: Tracker
    parent: str | None = None  # name of the run that the stages belong to, where they belong to one
    _open: ExitStack = field(default_factory=ExitStack)
    _parent_open: bool = False

    @classmethod
    def open(cls, config: RunConfig, parent: str | None = None) -> "Workspace":
        """Open the lake of a configuration and make the missing tables; a wrong name is refused before."""
        store = TableStore(config.lake)
        space = cls(config, store, Tracker(config.lake), parent)
        _ = space.generators
        store.create()
        return space

    def __enter__(self) -> "Workspace":
        self._open.enter_context(self.store.lock())
        return self

    def __exit__(self, *error) -> bool | None:
        return self._open.__exit__(*error)

    # -- what the run is about -------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Local folder for what is not a table: SAEs and cached tokens."""
        return Path("lake-files") if "://" in self.config.lake else Path(self.config.lake)

    @cached_property
    def generators(self) -> list[GeneratorConfig]:
        """The generators, completed from the registry."""
        return [resolve(generator) for generator in self.config.generators]

    @property
    def sources(self) -> list[str]:
        """Names of all image sets, the real one first."""
        return [REAL, *(generator.name for generator in self.generators)]

    @cached_property
    def dataset_print(self) -> str:
        """Stands for the dataset's settings; how many pairs are taken may change later."""
        settings = self.config.dataset.model_dump(exclude={"n_pairs", "spare", "download"})
        return fingerprint(settings, self.config.shard_size)

    def generator_print(self, generator: GeneratorConfig) -> str:
        """Stands for what a generator draws; the embedded ones are the same wherever this checkout lies."""
        settings = generator.model_dump(exclude={"batch_size", "device"})
        if generator.source and Path(generator.source).parent == WEIGHTS:
            settings["source"] = f"embedded/{Path(generator.source).name}"
        return fingerprint(self.dataset_print, settings, self.config.seed)

    def source_print(self, source: str) -> str:
        """Stands for the images of a source."""
        if source == REAL:
            return self.dataset_print
        return self.generator_print(next(g for g in self.generators if g.name == source))

    @cached_property
    def sae(self) -> str:
        """Name of the SAE in the lake: it says what it was made of."""
        sae = self.config.sae
        backbone = self.config.backbone.model_dump(exclude={"batch_size", "device"})
        if sae.load:
            return f"{sae.name}-{fingerprint(backbone, str(Path(sae.load).resolve()))[:8]}"
        trained_on = [self.source_print(source) for source in sae.train_on]
        settings = sae.model_dump(exclude={"name", "load"})
        digest = fingerprint(backbone, settings, trained_on, self.config.dataset.n_pairs)
        return f"{sae.name}-{sae.n_concepts}-{digest[:8]}"

    @property
    def sae_folder(self) -> Path:
        """Where the SAE's checkpoint lies."""
        return Path(self.config.sae.load) if self.config.sae.load else self.folder / "saes" / self.sae

    # -- pairs and shards ------------------------------------------------------------------------

    def pairs(self) -> pl.DataFrame:
        """The live pairs of the dataset (pair_id, caption), by id, as many as the configuration asks for."""
        pairs = (
            self.store.scan("pairs")
            .filter((pl.col("dataset") == self.config.dataset.name) & (pl.col("status") == OK))
            .select("pair_id", "caption")
            .sort("pair_id")
            .collect()
        )
        return pairs if self.config.dataset.n_pairs is None else pairs.head(self.config.dataset.n_pairs)

    def shards(self, prefix: str, n_rows: int) -> list[Shard]:
        """The slices of pair ids 0 to n_rows - 1."""
        size = self.config.shard_size
        bounds = ((start, min(start + size, n_rows)) for start in range(0, n_rows, size))
        return [Shard(f"{prefix}/{start:08d}-{stop:08d}", start, stop) for start, stop in bounds]

    def pair_shards(self, prefix: str) -> list[Shard]:
        """The slices that cover the live pairs."""
        pairs = self.pairs()
        return self.shards(prefix, int(pairs["pair_id"][-1]) + 1 if len(pairs) else 0)

    def encode_shards(self, source: str) -> list[Shard]:
        """The slices in which the images of a source are encoded with this run's SAE."""
        return self.pair_shards(f"{self.sae}/{self.claim_of(source)}")

    def derived_shard(self, settings: object, *sources: str) -> str:
        """Stands for everything that a table derived from these sources depends on."""
        return fingerprint(settings, [[shard.id for shard in self.encode_shards(s)] for s in sources])

    def images(self, source: str, shard: Shard | None = None) -> pl.LazyFrame:
        """Image rows of a source, of all pairs or of one shard's."""
        rows = self.store.scan("images").filter(
            (pl.col("dataset") == self.config.dataset.name) & (pl.col("source") == source)
        )
        if shard:
            rows = rows.filter(pl.col("pair_id").is_between(shard.start, shard.stop, closed="left"))
        return rows

    def live_images(self, source: str) -> pl.DataFrame:
        """Images of the live pairs of a source that are pictures: image_id, pair_id."""
        rows = self.images(source).filter(pl.col("status") == OK).select("image_id", "pair_id")
        return (
            rows.sort("image_id")
            .collect()
            .join(self.pairs(), on="pair_id", how="semi", maintain_order="left")
        )

    def require_drawn(self, sources: list[str]) -> None:
        """Raise, in one sentence, unless all images of these sources are in the lake."""
        if self.pairs().is_empty():
            raise ValueError(f"the lake {self.config.lake} has no live pairs; run the stage sample first.")
        for source in sources:
            shards = [] if source == REAL else self.pair_shards(self.claim_of(source))
            if not all(self.store.has("images", shard.id) for shard in shards):
                raise ValueError(f"not all images of {source!r} are drawn yet; run the stage generate first.")

    def require_encoded(self) -> None:
        """Raise, in one sentence, unless every image set is encoded with this run's SAE."""
        for source in self.sources:
            shards = self.encode_shards(source)
            if not shards or not all(self.store.has("energies", shard.id) for shard in shards):
                raise ValueError(
                    f"images of {source!r} are not encoded with {self.sae} yet; run the stage encode first."
                )

    def n_concepts(self) -> int:
        """Number of concepts of this run's SAE."""
        return json.loads((self.sae_folder / "cfg.json").read_text())["d_sae"]

    def append(self, table: str, frame: pl.DataFrame, shard: Shard, stage: str, run: Stage) -> None:
        """Commit one shard's rows; rows that an earlier, shorter run left there stay as they are."""
        rule = TABLES[table]
        if len(frame):
            same = [pl.col(name) == frame[name][0] for name in rule.partitions]
            same.append(pl.col("pair_id").is_between(shard.start, shard.stop, closed="left"))
            known = self.store.scan(table).filter(*same).select(rule.key).collect()
            frame = frame.join(known, on=list(rule.key), how="anti")
        self.store.append(table, frame, shard=shard.id, stage=stage, run_id=run.run_id)

    def check_claim(self, table: str, source: str, what: str) -> None:
        """Refuse to mix: the lake holds rows of the same name that were made with other settings."""
        if self.store.has(table, self.claim_of(source)):
            return
        rows = self.store.scan(table).filter(pl.col("dataset") == self.config.dataset.name)
        if table == "images":
            rows = rows.filter(pl.col("source") == source)
        if rows.select("pair_id").head(1).collect().is_empty():
            return
        raise ValueError(
            f"the lake {self.config.lake} holds {what} made with other settings; "
            "give this one another name, or use another lake."
        )

    def claim(self, table: str, source: str, stage: str, run: Stage) -> None:
        """Note with which settings the rows of a source are made, before the first of them."""
        nothing = pl.DataFrame(schema=self.store.scan(table).drop("run_id").collect_schema())
        self.store.append(table, nothing, shard=self.claim_of(source), stage=stage, run_id=run.run_id)

    def claim_of(self, source: str) -> str:
        """Stands for the images of a source and the settings they were made with; begins shard ids."""
        return f"{self.config.dataset.name}/{source}/{self.source_print(source)}"

    # -- runs --------------------------------------------------------------------------------------

    @contextmanager
    def stage(
        self, name: str, settings: dict, reads: tuple[str, ...], writes: tuple[str, ...]
    ) -> Iterator[Stage]:
        """The MLflow run of one stage, with the versions of the tables it reads and writes."""
        if self.parent and not self._parent_open:
            self._open.enter_context(self.tracker.run(self.parent, self.config.model_dump()))
            self._parent_open = True
        versions = {table: self.store.version(table) for table in reads}
        with self.tracker.stage(name, settings, versions) as run:
            yield run
            for table in writes:
                self.store.compact(table)
                run.wrote(table, self.store.version(table))
