"""Settings of the stages, each field with its unit. They import nothing heavy: a typo is found at once."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class DatapointsConfig(_Settings):
    """When a generated image counts as a copy; pipeline/measures/memorisation.py says why."""

    n_neighbours: int = Field(default=5, ge=1)  # nearest real images looked at, by energies and by CLS tokens
    same_picture: float = Field(default=0.8, gt=0, le=1)  # correlation of edges; re-encoding keeps 0.9
    same_layout: float = Field(default=0.7, gt=0, le=1)  # correlation of 8 x 8 colours
    same_real_picture: float = Field(default=0.9, gt=0, le=1)  # of edges, of real duplicates
    level: float = Field(default=0.05, gt=0, lt=1)  # q-value below which a likeness is beyond chance
    seed: int = Field(default=0, ge=0)  # of the random projection and the panel of real images


class CooccurConfig(_Settings):
    """Which pairs of concepts are kept, and how sure their changes are."""

    n_partners: int = Field(default=20, ge=1)  # per concept, by strength and as many by correlation
    least_images: int = Field(default=3, ge=1)  # images in which both must fire
    n_resamples: int = Field(default=1000, ge=100)  # of the pairs of images, for intervals
    level: float = Field(default=0.05, gt=0, lt=1)  # q-value below which a change counts as real
    seed: int = Field(default=0, ge=0)  # of resamples and communities


class NameConfig(_Settings):
    """How concepts get their words."""

    strong_share: float = Field(default=0.25, gt=0, le=1)  # share of a concept's images that count as strong
    least_strong: int = Field(default=10, ge=1)  # images that do at least, where it fires in so many
    least_images: int = Field(default=3, ge=1)  # captions that must hold a word
    n_words: int = Field(default=8, ge=1)  # kept per concept
    longest: int = Field(default=2, ge=1)  # words in a term
    level: float = Field(default=0.05, gt=0, lt=1)  # chance that a concept without a word of its own gets one
    vocabulary: str | None = None  # file of words and phrases, one a line, to name concepts with
    text_tower: str | None = None  # CLIP-style, Hub id or folder, that tells which of them fits the images
    n_tower_images: int = Field(default=8, ge=1)  # a concept's strongest real images, shown to it
    n_neighbours: int = Field(default=12, ge=1)  # nearest atoms kept
    least_cosine: float = Field(default=0.7, gt=0, le=1)  # of atoms that may be duplicates, if they co-fire
    same_cosine: float = Field(default=0.9, gt=0, le=1)  # of atoms that are duplicates anyway
    least_overlap: float = Field(default=0.5, ge=0, le=1)  # shared over all images that either fires in

    @model_validator(mode="after")
    def _vocabulary_needs_a_tower(self) -> "NameConfig":
        if (self.vocabulary is None) != (self.text_tower is None):
            raise ValueError("vocabulary and text_tower go together; give both or neither")
        return self


class LayoutConfig(_Settings):
    """UMAP of the atoms, and what is read off the map."""

    n_neighbors: int = Field(default=15, ge=2)  # UMAP's; also those whose labels are compared
    min_dist: float = Field(default=0.1, ge=0)  # UMAP's
    n_epochs: int | None = Field(default=None, ge=1)  # UMAP's: by default 500, from 10,000 atoms on 200
    least_region: int | None = Field(default=None, ge=2)  # concepts; by default 1% of all, 5 to 50
    n_region_words: int = Field(default=3, ge=1)  # kept per region
    n_shuffles: int = Field(default=1000, ge=100)  # of labels over the map, as its null
    seed: int = Field(default=0, ge=0)  # of UMAP and of the shuffles


class AdviceConfig(_Settings):
    """What counts as rarely seen and as badly captioned."""

    rare_below: float = Field(default=0.01, ge=0, le=1)  # share of real images in which a concept fires
    mentioned_below: float = Field(default=0.2, ge=0, le=1)  # share of strong images whose captions say it
    n_words: int = Field(default=3, ge=1)  # evidence words that count as saying it, beside the name
    n_pairs: int = Field(default=12, ge=1)  # to look at, per concept


class ProbeConfig(_Settings):
    """Which concepts generators are asked for by name, and how."""

    n_concepts: int = Field(default=8, ge=1)  # suppressed ones with a name, per generator
    concepts: list[int] = []  # numbers of those to ask every generator for instead, suppressed or not
    n_images: int = Field(default=32, ge=1)  # drawn per concept
    # Prompts in turn, {name} stands for the concept's name. Without articles, for a name may be an adjective.
    templates: list[str] = Field(
        default=["a photo of {name}", "{name}", "a close-up photo of {name}", "a photo that shows {name}"],
        min_length=1,
    )

    @model_validator(mode="after")
    def _templates_say_the_name(self) -> "ProbeConfig":
        for template in self.templates:
            if "{name}" not in template:
                raise ValueError(f"the template {template!r} does not say the name; write {{name}} in it")
        return self
