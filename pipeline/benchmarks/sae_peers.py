"""The SAE libraries that the speed benchmark times beside ours, where they are installed.

None of them is needed for anything else; CONTRIBUTING.md says how to install them.
"""

from collections.abc import Callable

import torch

from pipeline.sources.registry import first_line

Task = Callable[[], object]
_PACKAGES = {"overcomplete": "overcomplete", "sparsify": "sparsify", "SAELens": "sae_lens"}


def peers(
    x: torch.Tensor, n_concepts: int, k: int, points: tuple[int, ...]
) -> tuple[dict[str, Task], list[str]]:
    """Tasks by `name:encode` and `name:step` of the libraries that import, and a word on the others."""
    found: dict[str, Task] = {}
    missing = []
    for name, make in {"overcomplete": _overcomplete, "sparsify": _sparsify, "SAELens": _sae_lens}.items():
        try:
            found |= make(x, n_concepts, k, points)
        except ImportError as error:
            package = (error.name or "").split(".")[0]
            absent = isinstance(error, ModuleNotFoundError) and package == _PACKAGES[name]
            missing.append(
                f"{name} not installed" if absent else f"{name} cannot be imported ({first_line(error)})"
            )
    return found, missing


def _overcomplete(x: torch.Tensor, n_concepts: int, k: int, points: tuple[int, ...]) -> dict[str, Task]:
    """Its step is one batch of its own `train_sae`, with the loss of its documentation, without its logs."""
    from overcomplete.sae import RATopKSAE, TopKSAE, train_sae

    def error(x, x_hat, pre_codes, codes, dictionary) -> torch.Tensor:
        return (x - x_hat).square().mean()

    def step(n_points: int) -> Task:
        sae = RATopKSAE(x.shape[1], n_concepts, torch.randn(n_points, x.shape[1]), top_k=k)
        optimiser = torch.optim.Adam(sae.parameters(), lr=1e-4, fused=True)
        return lambda: train_sae(sae, [x], error, optimiser, nb_epochs=1, monitoring=0)

    tasks: dict[str, Task] = {f"overcomplete RATopK {n_points}:step": step(n_points) for n_points in points}
    eager = TopKSAE(x.shape[1], n_concepts, top_k=k).eval()
    return tasks | {"overcomplete TopK:encode": _inference(lambda: eager.encode(x))}


def _sparsify(x: torch.Tensor, n_concepts: int, k: int, points: tuple[int, ...]) -> dict[str, Task]:
    from sparsify import SparseCoder, SparseCoderConfig

    sae = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=n_concepts, k=k))
    return {
        "sparsify TopK:step": _step(sae, lambda module: module(x).fvu),
        "sparsify TopK:encode": _inference(lambda: sae.encode(x)),
    }


def _sae_lens(x: torch.Tensor, n_concepts: int, k: int, points: tuple[int, ...]) -> dict[str, Task]:
    from sae_lens import TopKSAE, TopKSAEConfig

    sae = TopKSAE(TopKSAEConfig(d_in=x.shape[1], d_sae=n_concepts, k=k))
    return {"SAELens TopK:encode": _inference(lambda: sae.encode(x))}


def _step(sae: torch.nn.Module, loss: Callable[[torch.nn.Module], torch.Tensor]) -> Task:
    optimiser = torch.optim.Adam(sae.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss(sae).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def _inference(encode: Task) -> Task:
    def run() -> None:
        with torch.inference_mode():
            encode()

    return run
