"""What an SAE is made of and how it is trained. A wrong value is a ValueError that says what to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Activation = Literal["topk", "batchtopk", "threshold"]
DictionaryKind = Literal["free", "archetypal"]
AtomScale = Literal["unit", "learned", "none"]
Initialisation = Literal["points", "tokens", "random"]


@dataclass(frozen=True)
class SAEConfig:
    """Shape and parts of one SAE.

    "Standardised" below means tokens minus their mean, divided by the root mean square of their norm, so that
    lengths are shares of a typical token and codes of different backbones can be compared.
    """

    d_model: int  # width of a token, in dimensions
    n_concepts: int  # rows of the dictionary
    k: int = 16  # active concepts per token: exact (topk) or on average over tokens (batchtopk, threshold)
    activation: Activation = "topk"  # rule that makes pre_codes sparse; threshold is JumpReLU
    layer_norm: bool = False  # LayerNorm over concepts on the pre_codes, before the activation
    dictionary: DictionaryKind = "archetypal"  # archetypal: D = W C + Lambda; free: every atom a free vector
    n_points: int = 1024  # rows of C, the K-means points (archetypal dictionary or init "points"), in points
    delta: float = 0.5  # largest length of a row of Lambda, in standardised token lengths
    atom_scale: AtomScale = (
        "unit"  # unit: atoms have length 1 (standardised); learned: times exp(m); none: as they come
    )
    centring: bool = True  # subtract the mean of the tokens before the encoder, add it after the dictionary
    init: Initialisation = (
        "points"  # where atoms (and the tied encoder) start; archetypal starts at points always
    )
    bandwidth: float = 0.05  # width of JumpReLU's gradient window, in units of pre_codes (threshold only)
    backbone: str = ""  # id of the network whose tokens these are; "" = not recorded
    preprocessing: Mapping[str, Any] = field(
        default_factory=dict
    )  # how images became tokens; JSON values only
    seed: int = 0  # of initialisation, of the order of the tokens and of K-means
    points_seed: int | None = None  # of K-means and of the tokens it reads; None = seed

    def __post_init__(self) -> None:
        for name in ("d_model", "n_concepts", "k"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a whole number of at least 1")
        if self.k > self.n_concepts:
            raise ValueError(
                f"k = {self.k} is above n_concepts = {self.n_concepts}; write a k of at most n_concepts"
            )
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write one of {', '.join(allowed)}")
        if self.uses_points and not (_is_count(self.n_points) and self.n_points > self.d_model):
            # d + 1 points are the fewest whose hull can hold the mean of the tokens inside it.
            raise ValueError(
                f"n_points = {self.n_points} is too few for tokens of width {self.d_model}; write at least "
                f"{self.d_model + 1}, better {2 * self.d_model} to {4 * self.d_model}"
            )
        if not self.delta >= 0:
            raise ValueError(f"delta is {self.delta!r}; write a length of 0 or more, in token lengths")
        if not self.bandwidth > 0:
            raise ValueError(f"bandwidth is {self.bandwidth!r}; write a width above 0, for example 0.05")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise ValueError(f"seed is {self.seed!r}; write a whole number of 0 or more")
        if self.points_seed is not None and not _is_count(self.points_seed, least=0):
            raise ValueError(
                f"points_seed is {self.points_seed!r}; write a whole number of 0 or more, or None"
            )

    @property
    def uses_points(self) -> bool:
        """Whether K-means points are needed to build this SAE."""
        return self.dictionary == "archetypal" or self.init == "points"

    @property
    def seed_of_points(self) -> int:
        """The seed of K-means and of the tokens it reads."""
        return self.seed if self.points_seed is None else self.points_seed

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self) | {"preprocessing": dict(self.preprocessing)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SAEConfig:
        """Back from `to_dict`. Raises ValueError when a field is unknown or missing."""
        return _from_dict(cls, fields)


@dataclass(frozen=True)
class TrainingConfig:
    """How an SAE is trained. One step is one batch."""

    n_steps: int = 1500  # optimiser steps
    batch_size: int = 2048  # tokens per step
    learning_rate: float = 3e-3  # AdamW, at the top of the schedule, per step
    final_learning_rate: float = 1e-5  # at the end of the cosine
    warmup: float = 0.05  # share of the steps in which the rate rises from 0
    weights_rate: float = 0.1  # learning rate of the archetypal weights W, as a share of learning_rate
    second_moment: float = 0.999  # AdamW's beta_2, the memory of squared gradients
    weight_decay: float = 0.0  # AdamW's, per unit of learning rate
    gradient_clip: float = 1.0  # largest norm of the whole gradient; 0 = no clipping
    auxiliary_weight: float = 1 / 32  # weight of the loss that revives dead codes
    auxiliary_k: int = 0  # dead codes that rebuild the residual of one token; 0 = d_model // 2
    dead_after: int = 100_000  # tokens without firing after which a code counts as dead in training
    resample_every: int = 0  # steps between moves of dead codes to badly rebuilt tokens; 0 = never
    resample_until: float = 0.7  # share of the steps after which dead codes are left where they are
    sparsity_weight: float = 1.0  # weight of (L0 / k - 1)^2, threshold activation only
    threshold_memory: float = 0.99  # share of the old value kept when BatchTopK's threshold moves, per step
    n_sample: int = 65_536  # tokens read first for mean, scale and K-means; at least 8 per point are used
    device: str = "auto"  # torch device; auto = the first GPU if there is one
    mixed_precision: bool = True  # bfloat16 matrix products, on a GPU only
    log_every: int = 50  # steps between two calls of `log`
    evaluate_every: int = 0  # steps between two held-out measurements; 0 = at the end only
    checkpoint_every: int = 500  # steps between two checkpoints; there is always one at the end

    def __post_init__(self) -> None:
        for name in ("n_steps", "batch_size", "n_sample", "log_every", "checkpoint_every"):
            if not _is_count(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a whole number of at least 1")
        for name in ("auxiliary_k", "dead_after", "resample_every", "evaluate_every"):
            if not _is_count(getattr(self, name), least=0):
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a whole number of 0 or more")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise ValueError(
                f"final_learning_rate = {self.final_learning_rate} and learning_rate = {self.learning_rate}; "
                "write 0 < final_learning_rate <= learning_rate"
            )
        for name in ("warmup", "second_moment", "threshold_memory"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a share from 0 to below 1")
        for name in ("weights_rate", "weight_decay", "gradient_clip", "auxiliary_weight", "sparsity_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a number of 0 or more")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TrainingConfig:
        """Back from `to_dict`. Raises ValueError when a field is unknown or missing."""
        return _from_dict(cls, fields)


_CHOICES = {
    "activation": get_args(Activation),
    "dictionary": get_args(DictionaryKind),
    "atom_scale": get_args(AtomScale),
    "init": get_args(Initialisation),
}


def _is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _from_dict(cls: type, fields: Mapping[str, Any]) -> Any:
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(f"these are not the fields of {cls.__name__}: {error}") from error
