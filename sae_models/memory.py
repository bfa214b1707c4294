"""How many bytes a run will need, said before any of them is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from sae_models.config import SAEConfig, TrainingConfig

_FLOAT = 4
_TRAINED_COPIES = 4  # value, gradient and AdamW's two moments
_BLOCK_BYTES = 64 << 20  # dense pre_codes of one block, its selection and sparse bookkeeping


def model_bytes(config: SAEConfig) -> int:
    """Bytes of the parameters of an SAE in float32."""
    encoder = config.n_concepts * (config.d_model + 3)
    atoms = config.n_concepts * (config.d_model + 1)
    if config.dictionary == "archetypal":
        atoms += config.n_points * (config.n_concepts + config.d_model)
    return _FLOAT * (encoder + atoms)


def training_bytes(config: SAEConfig, training: TrainingConfig) -> int:
    """Bytes at the peak of a step: parameters with gradients and moments, the built dictionary, one batch."""
    built = 4 * config.n_concepts * config.d_model  # atoms before and after scaling, and their gradients
    batch = training.batch_size * (8 * config.d_model + 8 * config.k)
    return _TRAINED_COPIES * model_bytes(config) + _FLOAT * (built + batch) + _BLOCK_BYTES


def available_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device, None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    candidates = [value for value in (_system_bytes(), _control_group_bytes()) if value is not None]
    return min(candidates, default=None)


def check_memory(needed: int, device: torch.device, what: str) -> None:
    """Raises ValueError, with both numbers, when `device` has less than `needed` bytes."""
    available = available_bytes(device)
    if available is not None and needed > available:
        raise ValueError(
            f"{what} needs {needed:,} bytes ({needed / 2**30:.1f} GiB) and {device} has {available:,} "
            f"({available / 2**30:.1f} GiB) left; write a smaller n_concepts, n_points or batch_size"
        )


def _system_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None
    except OSError:
        pass
    try:  # not Linux: the whole memory is the best answer there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _control_group_bytes() -> int | None:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        fields = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        cached = int(fields.get("inactive_file", 0)) + int(fields.get("active_file", 0))  # given up on demand
        return max(0, int(limit) - used + cached)
    except (OSError, ValueError):
        return None
