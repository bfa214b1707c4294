"""The command line: `python -m pipeline --help`. One command per stage, `run` for all of them in a row."""

import sys
import time
import traceback
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import load_config
from pipeline.stages import STAGES, stage
from pipeline.summary import status_table, summarise
from pipeline.workspace import Workspace
from tables import TableStore

ROOT = Path(__file__).parents[1]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=__doc__,
)
world = typer.Typer(no_args_is_help=True, help="The embedded world: train its parts anew.")
app.add_typer(world, name="world")

Config = Annotated[str, typer.Argument(help="TOML file, or the name of a preset: demo, paper.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")]
Lake = Annotated[str | None, typer.Option(help="Folder or URI of the tables; overrides the configuration.")]


def _run(
    config: str, settings: list[str] | None, lake: str | None, names: list[str], parent: str | None
) -> None:
    """Run stages in one lake, and say of each what it did or why it had nothing to do."""
    overrides = [*(settings or []), *([f"lake={lake}"] if lake else [])]
    checked = load_config(config, overrides)
    with Workspace.open(checked, parent) as space:
        for name in names:
            started = time.monotonic()
            report = stage(name)(space)
            typer.echo(f"{name}: {report} ({time.monotonic() - started:.1f} s)")
        if parent:
            typer.echo(f"\n{summarise(space)}")


@app.command()
def run(config: Config, settings: Settings = None, lake: Lake = None) -> None:
    """Run all stages of a configuration; what is done already is not done again."""
    _run(config, settings, lake, list(STAGES), "run")


@app.command()
def demo(settings: Settings = None, lake: Lake = None) -> None:
    """Run all stages on the embedded default: no network, no GPU."""
    _run("demo", settings, lake, list(STAGES), "demo")


def _require_lake(lake: str) -> None:
    if "://" not in lake and not Path(lake).is_dir():
        raise ValueError(f"there is no lake at {lake}; `python -m pipeline demo --lake {lake}` makes one.")


@app.command()
def status(lake: Annotated[str, typer.Option(help="Folder or URI of the tables.")] = "lake") -> None:
    """Print every table of a lake with rows, size, version and last run."""
    _require_lake(lake)
    typer.echo(status_table(TableStore(lake).status()))


@app.command()
def export(
    table: Annotated[str, typer.Argument(help="Name of a table, such as advice.")],
    to: Annotated[Path, typer.Option(help="File to write, .csv or .parquet.")],
    lake: Annotated[str, typer.Option(help="Folder or URI of the tables.")] = "lake",
) -> None:
    """Write a table to a CSV or Parquet file."""
    from pipeline import export as exporting

    _require_lake(lake)
    typer.echo(exporting.export(lake, table, to))


@app.command()
def rename(
    concept: Annotated[int, typer.Argument(min=0, help="Number of the concept.")],
    name: Annotated[str, typer.Argument(help="Its name; an empty one brings back the found name.")],
    lake: Annotated[str, typer.Option(help="Folder or URI of the tables.")] = "lake",
    sae: Annotated[str | None, typer.Option(help="Name of the SAE, where the lake has several.")] = None,
) -> None:
    """Give a concept a name that stays, whatever `name` finds."""
    from tables import edits

    _require_lake(lake)
    store = TableStore(lake)
    chosen = sae or edits.only_sae(store)
    kept = edits.rename(store, chosen, concept, name)
    typer.echo(f"concept {concept} of {chosen} " + (f"is called {kept!r}" if kept else "has its found name"))


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="Which benchmark; `list` names them.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    lake: Annotated[str, typer.Option(help="Where a benchmark with a table of its own keeps it.")] = "lake",
) -> None:
    """Measure, print figure, floor, bar and verdict, and exit 1 where a bar falls short."""
    from pipeline.benchmarks import run_benchmark

    raise typer.Exit(0 if run_benchmark(name, json_file, lake) else 1)


@app.command("import-sae")
def import_sae(
    source: Annotated[str, typer.Argument(help="Path, or Hub id: owner/name, or owner/name/folder.")],
    to: Annotated[Path, typer.Option(help="Folder for the imported SAE.")],
    backbone: Annotated[str | None, typer.Option(help="Backbone that its tokens come from.")] = None,
    k: Annotated[int | None, typer.Option(min=1, help="Concepts per token, where it does not say.")] = None,
    threshold: Annotated[float | None, typer.Option(help="BatchTopK's, where it does not say.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch on the Hub.")] = None,
) -> None:
    """Import an SAE of overcomplete, SAELens, sparsify, dictionary_learning or saev."""
    from pipeline import saes

    typer.echo(saes.import_sae(source, to, backbone=backbone, k=k, threshold=threshold, revision=revision))


@app.command("sae-report")
def sae_report(
    folders: Annotated[list[Path], typer.Argument(metavar="SAE_DIR...", help="Folders of SAEs.")],
    tokens: Annotated[Path | None, typer.Option(help="Token shards none was trained on.")] = None,
    images: Annotated[Path | None, typer.Option(help="Pictures none was trained on.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare SAEs on held-out tokens: R2, L0, dead, stable rank, coherence, OOD, stability."""
    from pipeline import saes

    rows = saes.report(folders, tokens, images)
    typer.echo(saes.as_table(rows))
    if json_file:
        saes.write_json(rows, json_file)


@world.command()
def train(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Parts to train; all where none is named.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of checkpoints and latents.")] = Path("world-cache"),
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Train the embedded autoencoder, backbone, recogniser and generators; a killed run goes on."""
    import torch

    from pipeline.world.train import train as train_parts

    if threads:
        torch.set_num_threads(threads)
    train_parts(parts or [], cache)


def _stage_command(name: str, help_: str) -> None:
    @app.command(name, help=help_)
    def command(config: Config, settings: Settings = None, lake: Lake = None) -> None:
        _run(config, settings, lake, [name], None)


for _name, (_module, _help) in STAGES.items():
    _stage_command(_name, _help)


def main() -> None:
    """Run the command line; a mistake of the user's ends in one sentence and exit code 2.

    A ValueError counts as such only where our own code raised it; anything else keeps its traceback.
    """
    try:
        app(standalone_mode=True)
    except ValueError as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if not raised_in.is_relative_to(ROOT) or ".venv" in raised_in.parts:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
