"""SAEs outside of a run: those of other libraries brought in, and several compared on the same tokens."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.sources.backbones import BACKBONES, BackboneConfig, open_backbone, with_defaults
from pipeline.sources.images import ImageError, decode
from pipeline.stages.train_sae import held_out_folder

if TYPE_CHECKING:
    import torch

    from sae_models import SAE

_PUBLISHED = {"RA-SAE-DINOv2-32k": "dinov2-base-reg"}  # part of a file's name: the backbone it was made for
_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
_MOST_TOKENS = 65_536
_NULL_SEED = 20_250_613  # of the random dictionary; no SAE starts from it
_COLUMNS = {  # of the table, and how a number is printed
    "n_concepts": "{:,.0f}", "r2": "{:.4f}", "l0_mean": "{:.2f}", "l0_p05": "{:.0f}", "l0_p50": "{:.0f}",
    "l0_p95": "{:.0f}", "dead": "{:.1%}", "stable_rank": "{:.1f}", "coherence": "{:.3f}", "ood": "{:.3f}",
    "stability": "{:.3f}", "stability_null": "{:.3f}",
}  # fmt: skip


def import_sae(
    source: str,
    to: Path,
    *,
    backbone: str | None = None,
    k: int | None = None,
    threshold: float | None = None,
    revision: str | None = None,
) -> str:
    """Bring in an SAE of another library from a path or the Hub, save it to `to`, and say what it is.

    The backbone and its preprocessing are recorded with it, so that a run (`sae.load`) on other tokens is
    refused. ValueError where `to` holds an SAE, the source is not known or not whole, or no backbone is
    given.
    """
    from sae_models import importers

    if (to / "cfg.json").exists():
        raise ValueError(f"there is an SAE in {to} already; give another folder with --to.")
    path = importers.locate(source, revision)
    sae = importers.import_sae(path, importers.Options(k=k, threshold=threshold))
    files = [source, *(file.name for file in (path.iterdir() if path.is_dir() else []))]
    spec = _backbone(files, backbone, sae.config.backbone)
    sae.config = replace(sae.config, backbone=spec.name, preprocessing=spec.preprocessing)
    sae.save(to)
    config = sae.config
    return (
        f"{source}: {config.n_concepts:,} concepts of {config.d_model}-wide tokens of {spec.name}, "
        f"{config.activation}{' after a LayerNorm' if config.layer_norm else ''}, in {to}"
    )


def _backbone(files: list[str], named: str | None, recorded: str) -> BackboneConfig:
    """The backbone that was asked for, or that of a published SAE, or what the file says if that is known."""
    source = files[0]
    known = next((name for part, name in _PUBLISHED.items() if any(part in file for file in files)), None)
    name = named or known or (recorded if recorded in BACKBONES or "/" in recorded else None)
    if name is None:
        says = f"{source} calls the backbone {recorded!r}" if recorded else f"{source} names no backbone"
        raise ValueError(f"{says}: write --backbone with one of {', '.join(BACKBONES)}, or a Hub id.")
    return with_defaults(BackboneConfig(name=name))


def report(
    folders: Sequence[Path], tokens: Path | None = None, images: Path | None = None
) -> list[dict[str, Any]]:
    """Measure SAEs on the same tokens, which none of them was trained on; a row per SAE.

    tokens: a folder of token shards. images: a folder of pictures, for the backbone of the first SAE.
    Without either, what the training of the first SAE held out. ValueError where there are no tokens, or an
    SAE is not whole or was made for those of another backbone.
    """
    from sae_models import load
    from sae_models import report as measure

    if tokens and images:
        raise ValueError("--tokens and --images are both given; leave one out.")
    rows_of_tokens, about = _picture_tokens(folders[0], images) if images else _shards(folders[0], tokens)
    saes = {str(folder): load(folder, **about) for folder in folders}
    rows: list[dict[str, Any]] = [
        {"sae": name, "n_concepts": sae.config.n_concepts, **measure(sae, rows_of_tokens).scalars()}
        for name, sae in saes.items()
    ]
    return [row | _stabilities(row["sae"], saes) for row in rows]


def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    cells = [["sae", *_COLUMNS]]
    for row in rows:
        numbers = [
            "-" if row.get(name) is None else shape.format(row[name]) for name, shape in _COLUMNS.items()
        ]
        cells.append([row["sae"], *numbers])
    wide = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([line[0].ljust(wide[0]), *(c.rjust(w) for c, w in zip(line[1:], wide[1:], strict=True))])
        for line in cells
    ]
    return "\n".join([*lines, f"\n{rows[0]['n_tokens']:,.0f} tokens that none was trained on."])


def write_json(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows, with the stability of every pair, as JSON."""
    path.write_text(json.dumps(rows, indent=2) + "\n")


def _shards(first: Path, folder: Path | None) -> tuple["torch.Tensor", dict[str, Any]]:
    from sae_models import ShardTokens
    from sae_models.initialise import sample_tokens

    folder = folder or held_out_folder(first.resolve())
    if not folder.is_dir():
        raise ValueError(
            f"there are no held-out tokens of {first} ({folder}): give a folder of token shards with "
            "--tokens, or of pictures with --images."
        )
    shards = ShardTokens(folder, held_out=0)
    about = {"backbone": shards.backbone, "preprocessing": shards.preprocessing} if shards.backbone else {}
    return sample_tokens(shards, min(len(shards), _MOST_TOKENS), seed=0), about


def _picture_tokens(first: Path, folder: Path) -> tuple["torch.Tensor", dict[str, Any]]:
    from sae_models import load

    config = load(first).config
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in _PICTURES)
    if not files:
        raise ValueError(f"there are no pictures in {folder}; give a folder with png, jpg or webp files.")
    own = {name: value for name, value in config.preprocessing.items() if name != "interpolation"}
    backbone = open_backbone(BackboneConfig(name=config.backbone, **own))
    try:
        pictures = [decode(path.read_bytes()) for path in files[: max(1, _MOST_TOKENS // backbone.n_tokens)]]
    except (ImageError, OSError) as error:
        raise ValueError(f"a picture in {folder} cannot be read ({error}).") from error
    tokens = backbone.tokens(pictures).flatten(0, 1).cpu()
    return tokens, {"backbone": backbone.id, "preprocessing": backbone.preprocessing}


def _stabilities(name: str, saes: "dict[str, SAE]") -> dict[str, Any]:
    """Mean cosine of matched atoms with every other SAE of the same shape, and with a random dictionary."""
    import torch

    from sae_models import stability
    from sae_models.metrics import MATCHABLE

    atoms = saes[name].dictionary()
    others = {
        other: stability(atoms, sae.dictionary())
        for other, sae in saes.items()
        if other != name and sae.dictionary().shape == atoms.shape and len(atoms) <= MATCHABLE
    }
    if not others:
        return {"stability": None, "stability_null": None, "stability_with": {}}
    random = torch.randn(atoms.shape, generator=torch.Generator().manual_seed(_NULL_SEED))
    return {
        "stability": sum(others.values()) / len(others),
        "stability_null": stability(atoms, random),
        "stability_with": others,
    }
