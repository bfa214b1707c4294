"""The stages, in the order in which data flows through them. Each is a module with `run(space) -> report`."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.workspace import Workspace

# Command line name: module, and one line of help.
STAGES: dict[str, tuple[str, str]] = {
    "sample": ("sample", "Sample a captioned dataset."),
    "generate": ("generate", "Draw an image for every caption with every generator."),
    "train-sae": ("train_sae", "Train the sparse autoencoder that defines the concepts."),
    "encode": ("encode", "Turn images into codes and energies of concepts."),
    "name": ("name", "Name concepts from captions."),
    "compare": ("compare", "Compare generated with real energies, concept by concept."),
    "cooccur": ("cooccur", "Count which concepts go together."),
    "datapoints": ("datapoints", "Compare every pair of a real and a generated image."),
    "layout": ("layout", "Lay the concepts out on a map."),
    "advise": ("advise", "Say what would help each concept that is drawn too little or too much."),
    "probe": ("probe", "Ask generators for concepts by name, and count how often they come."),
}


def stage(name: str) -> "Callable[[Workspace], str]":
    """The `run` of a stage; its module is imported here and not before."""
    return import_module(f"pipeline.stages.{STAGES[name][0]}").run
