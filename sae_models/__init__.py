"""Sparse autoencoders for vision tokens: encoders, archetypal dictionary, training, metrics, checkpoints."""

from sae_models.checkpoint import load
from sae_models.config import SAEConfig, TrainingConfig
from sae_models.metrics import Report, report, stability
from sae_models.sae import SAE
from sae_models.sparse import Codes
from sae_models.tokens import ArrayTokens, ShardTokens, TokenSource, TokenWriter
from sae_models.training import train

__all__ = [
    "SAE", "ArrayTokens", "Codes", "Report", "SAEConfig", "ShardTokens", "TokenSource", "TokenWriter",
    "TrainingConfig", "load", "report", "stability", "train",
]  # fmt: skip
