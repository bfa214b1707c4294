"""Settings of the stages, each field with its unit. They import nothing heavy: a typo is found at once."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.measures.energy import Form


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SAEStageConfig(_Settings):
    """The sparse autoencoder: one to train on the run's images, or a folder with a trained one."""

    name: str = "ra"  # prefix of its name in the lake
    load: str | None = (
        None  # folder of a trained SAE (cfg.json and sae_weights.safetensors) instead of training
    )
    train_on: list[str] = ["real"]  # image sets whose tokens it is trained on: real or generators' names
    n_concepts: int = Field(default=512, ge=1)  # rows of the dictionary
    k: int = Field(default=8, ge=1)  # active concepts per token
    n_points: int = Field(default=768, ge=1)  # K-means points of the archetypal dictionary
    n_steps: int = Field(default=1200, ge=1)  # optimiser steps
    batch_size: int = Field(default=2048, ge=1)  # tokens per step
    learning_rate: float = Field(default=3e-3, gt=0)  # at the top of the schedule
    seed: int = Field(default=0, ge=0)  # of initialisation and batches
    options: dict[str, Any] = {}  # further fields of sae_models.SAEConfig
    training: dict[str, Any] = {}  # further fields of sae_models.TrainingConfig


class CompareConfig(_Settings):
    """How energies become labels."""

    form: Form = "ratio"  # of the energy difference
    temperature: float | None = Field(default=None, gt=0)  # of the sigmoid forms; none: the published one
    suppressed_below: float = Field(default=0.1, ge=0, le=0.5)  # on the form's 0 to 1 scale
    exaggerated_above: float = Field(default=0.9, ge=0.5, le=1)
    least_images: int = Field(default=5, ge=1)  # pairs a concept must fire in, on either side, to be judged
    level: float = Field(default=0.05, gt=0, lt=1)  # q-value below which a difference counts as real
    n_resamples: int = Field(default=1000, ge=100)  # of the pairs, for intervals
    n_flips: int = Field(default=1000, ge=100)  # random sign patterns of the test
    n_splits: int = Field(default=20, ge=2)  # halvings of the real images, for the null
    seed: int = Field(default=0, ge=0)  # of resamples, flips and splits
    n_top_images: int = Field(default=12, ge=1)  # kept per concept and image set


class CooccurConfig(_Settings):
    """Which pairs of concepts are kept."""

    n_partners: int = Field(default=20, ge=1)  # per concept
    least_images: int = Field(default=3, ge=1)  # images in which both must fire


class NameConfig(_Settings):
    """How concepts get their words."""

    strong_share: float = Field(default=0.25, gt=0, le=1)  # share of a concept's images that count as strong
    least_images: int = Field(default=3, ge=1)  # captions that must hold a word
    n_words: int = Field(default=8, ge=1)  # kept per concept
    longest: int = Field(default=2, ge=1)  # words in a term
    least_z: float = Field(default=3.0, ge=0)  # standard score below which there is no name
    n_neighbours: int = Field(default=12, ge=1)  # nearest atoms kept
    least_cosine: float = Field(default=0.7, gt=0, le=1)  # of atoms that may be duplicates, if they co-fire
    same_cosine: float = Field(default=0.9, gt=0, le=1)  # of atoms that are duplicates anyway
    least_overlap: float = Field(default=0.5, ge=0, le=1)  # shared over all images that either fires in


class LayoutConfig(_Settings):
    """UMAP of the atoms."""

    n_neighbors: int = Field(default=15, ge=2)  # UMAP's
    min_dist: float = Field(default=0.1, ge=0)  # UMAP's
    seed: int = Field(default=0, ge=0)
