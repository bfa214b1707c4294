"""Where and how deep learning code runs: device and dtype by name, and silence of its libraries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

DType = Literal["float32", "float16", "bfloat16"]


def device_of(name: str) -> "torch.device":
    """The device called `name`, such as cpu or cuda:1; `auto` is CUDA, else Apple's MPS, else the CPU.

    Raises ValueError for a name that PyTorch does not know.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: write auto, cpu, cuda, cuda:1 or mps.") from None


def dtype_of(name: DType, device: "torch.device") -> "torch.dtype":
    """The dtype called `name`; float32 on the CPU, where the half precisions are slow and partly missing."""
    import torch

    return torch.float32 if device.type == "cpu" else getattr(torch, name)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and progress bars of diffusers and transformers: every caption that is longer
    than a text encoder's window would print a line."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
