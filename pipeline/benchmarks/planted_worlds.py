"""Generators with one fault of known size, and what the rules make of them; `planted.py` runs the trials.

The generator is the world's renderer, which draws every caption anew with its ordinary noise (position,
size, rotation, tone, phase) and with an attribute value replaced by others of its family in a share of the
pictures that ask for it, or put unasked into a share of those that do not.

Truth is at concept level: concepts whose energy on held-out real scenes predicts the value with an AUROC of
at least 0.9 belong to it. The negatives are concepts that belong to values of other families and whose share
the fault leaves as it was, which is measured and not assumed: the held-out scenes are drawn with the fault
and without it, all noise being the same, and a concept is a negative while its energy changes by less than
0.5%. (Another background changes what the patches around an object say, another shape the area of a colour.)
The rest are side effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy import sparse
from scipy.stats import rankdata
from tqdm import tqdm

from pipeline.measures.energy import image_energies
from pipeline.measures.evidence import Evidence, label_concepts
from pipeline.measures.naming import count_terms
from pipeline.sources.backbones import BackboneConfig, open_backbone
from pipeline.world.planting import CHANGES, VALUES, Direction, Value, shows
from pipeline.world.render import render
from pipeline.world.scenes import Scene, describe, sample_scene

LEAST_AUROC = 0.9
STILL = 0.005  # relative change of its energy below which a concept of another family is a negative
_N_REDRAWN = 500  # scenes per value and direction, at most, that show what a fault does
_N_TRUTH, _N_TRAINING = 1500, 6000  # scenes; streams of their own
_TRUTH_STREAM, _TRAINING_STREAM, _TRIAL_STREAM = 101, 102, 103
RULES = ("q", "labels", "absolute", "relative")
THRESHOLDS = (0.46, 0.54)  # of our labels, ratio form: 15% less, or 17% more energy than real


class Eye:
    """Images to energies, through the embedded backbone and an SAE trained on the world's scenes."""

    def __init__(self, n_training: int = _N_TRAINING, n_steps: int = 1200) -> None:
        from sae_models import ArrayTokens, SAEConfig, TrainingConfig, train

        self.backbone = open_backbone(BackboneConfig(name="tiny-dinov2"))
        scenes = _scenes(_TRAINING_STREAM, n_training)
        tokens = self.backbone.tokens(_draw(scenes, _TRAINING_STREAM)).flatten(0, 1)
        config = SAEConfig(d_model=self.backbone.d_model, n_concepts=512, k=8, n_points=768)
        schedule = TrainingConfig(n_steps=n_steps, batch_size=2048)
        with TemporaryDirectory() as folder:
            self.sae = train(ArrayTokens(tokens), config, schedule, checkpoint_folder=Path(folder))

    def energies(self, images: Sequence[Image.Image]) -> sparse.csr_array:
        """(n_images, n_concepts)."""
        blocks = [self._block(images[start : start + 256]) for start in range(0, len(images), 256)]
        return sparse.csr_array(sparse.vstack(blocks))

    def _block(self, images: Sequence[Image.Image]) -> sparse.csr_array:
        tokens = self.backbone.tokens(images)
        values, indices = (part.detach().numpy() for part in self.sae.encode(tokens.flatten(0, 1)))
        row, slot = np.nonzero(values > 0)
        image, token = np.divmod(row, tokens.shape[1])
        found = image_energies(image, token, indices[row, slot], values[row, slot])
        shape = (len(images), self.sae.config.n_concepts)
        return sparse.csr_array((found.energy.astype(float), (found.image, found.concept)), shape=shape)


def _scenes(stream: int, n: int, seed: int = 0) -> list[Scene]:
    return [sample_scene(np.random.default_rng([stream, seed, i])) for i in range(n)]


def _draw(scenes: Sequence[Scene], stream: int, seed: int = 0) -> list[Image.Image]:
    return [render(scene, np.random.default_rng([stream, seed, i, 1])) for i, scene in enumerate(scenes)]


@dataclass(frozen=True)
class Truth:
    """What held-out real scenes say of the concepts; arrays of shape (n_concepts,)."""

    belongs: dict[Value, np.ndarray]  # bool: which concepts belong to the value
    change: dict[tuple[Value, Direction], np.ndarray]  # of the energy, relative, by the fault at 100%

    def others(self, value: Value) -> np.ndarray:
        """Concepts of values of other families, bool."""
        families = [self.belongs[other] for other in self.belongs if other.family != value.family]
        return np.any(families, axis=0) & ~self.belongs[value]


def learn_truth(eye: Eye, n: int = _N_TRUTH, n_redrawn: int = _N_REDRAWN) -> Truth:
    """Which concepts belong to which value, and what faults of each known value do to all concepts."""
    scenes = _scenes(_TRUTH_STREAM, n)
    energies = eye.energies(_draw(scenes, _TRUTH_STREAM))
    belongs = concept_values(energies, scenes)
    faults = [(value, direction) for value in VALUES if belongs[value].any() for direction in CHANGES]
    changes = {
        (value, direction): _relative_change(eye, scenes, energies, value, direction, n_redrawn)
        for value, direction in tqdm(faults, desc="truth", unit="fault")
    }
    return Truth(belongs, changes)


def _relative_change(
    eye: Eye,
    scenes: Sequence[Scene],
    energies: sparse.csr_array,
    value: Value,
    direction: Direction,
    n_redrawn: int,
) -> np.ndarray:
    """Of every concept's mean energy, if all scenes that show the value, or all others, had the fault."""
    has = np.array([shows(scene, value) for scene in scenes])
    able = has if direction == "suppressed" else ~has
    rows = np.flatnonzero(able)[:n_redrawn]
    rng = np.random.default_rng([_TRUTH_STREAM, VALUES.index(value), 2])
    images = [
        render(CHANGES[direction](scenes[i], value, rng), np.random.default_rng([_TRUTH_STREAM, 0, i, 1]))
        for i in rows.tolist()
    ]
    per_picture = np.asarray((eye.energies(images) - energies[rows]).mean(0)).ravel()
    mean = np.asarray(energies.mean(0)).ravel()
    return np.divide(per_picture * able.mean(), mean, out=np.zeros_like(mean), where=mean > 0)


def concept_values(energies: sparse.csr_array, scenes: Sequence[Scene]) -> dict[Value, np.ndarray]:
    """Which concepts belong to which attribute value: bool (n_concepts,), by AUROC over the scenes."""
    ranks = rankdata(energies.toarray(), axis=0)
    belongs = {}
    for value in VALUES:
        has = np.array([shows(scene, value) for scene in scenes])
        n_has, n_not = has.sum(), (~has).sum()
        auroc = (ranks[has].sum(0) - n_has * (n_has + 1) / 2) / max(n_has * n_not, 1)
        belongs[value] = auroc >= LEAST_AUROC
    return belongs


@dataclass(frozen=True)
class World:
    """One seed's pairs, with captions and energies of everything that a trial may need of them."""

    terms: sparse.csr_array  # (n_pairs, n_terms): words of the captions
    real: sparse.csr_array
    plain: sparse.csr_array  # every scene drawn anew, without a fault
    faulty: dict[tuple[Value, Direction], tuple[np.ndarray, sparse.csr_array]]  # rows, and their energies


def build_world(eye: Eye, seed: int, n_pairs: int, values: Sequence[Value]) -> World:
    """Draw and encode the pairs of a seed, and their faulty versions for the chosen values."""
    scenes = _scenes(_TRIAL_STREAM, n_pairs, seed)
    faulty: dict[tuple[Value, Direction], tuple[np.ndarray, sparse.csr_array]] = {}
    for value in values:
        for direction, change in CHANGES.items():
            rng = np.random.default_rng([_TRIAL_STREAM, seed, VALUES.index(value), 2])
            has = np.array([shows(scene, value) for scene in scenes])
            rows = np.flatnonzero(has if direction == "suppressed" else ~has)
            changed = [change(scenes[i], value, rng) for i in rows]
            images = [render(scene, rng) for scene in changed]
            faulty[value, direction] = (rows, eye.energies(images))
    redrawn = [
        render(scene, np.random.default_rng([_TRIAL_STREAM, seed, i, 3])) for i, scene in enumerate(scenes)
    ]
    captions = [
        describe(scene, np.random.default_rng([_TRIAL_STREAM, seed, i, 4])) for i, scene in enumerate(scenes)
    ]
    terms, _ = count_terms(captions, longest=1, least_images=5)
    return World(terms, eye.energies(_draw(scenes, _TRIAL_STREAM, seed)), eye.energies(redrawn), faulty)


def plant(
    world: World, value: Value, direction: Direction, rate: int, n_pairs: int, seed: int
) -> sparse.csr_array:
    """Energies of the first `n_pairs` pictures, with the fault in `rate` percent of those that can."""
    rows, energies = world.faulty[value, direction]
    able = np.flatnonzero(rows < n_pairs)
    rng = np.random.default_rng([seed, n_pairs, rate])
    chosen = rng.choice(able, round(rate / 100 * len(able)), replace=False)
    stacked = sparse.vstack([world.plain[:n_pairs], energies[chosen]], format="csr")
    source = np.arange(n_pairs)
    source[rows[chosen]] = n_pairs + np.arange(len(chosen))
    return sparse.csr_array(stacked[source])


def judge(
    evidence: Evidence, truth: Truth, value: Value, direction: Direction, rate: int
) -> list[dict[str, object]]:
    """What each rule makes of one trial: found, false discoveries, side effects, AUROC of its ranking.

    `q` is the test alone; `labels` need THRESHOLDS as well.
    """
    positives, others = truth.belongs[value], truth.others(value)
    change = truth.change[value, direction] * rate / 100
    negatives, touched = others & (np.abs(change) < STILL), others & (np.abs(change) >= STILL)
    sign = -1 if direction == "suppressed" else 1
    seen = np.sign(evidence.energy_gen - evidence.energy_real)
    right = seen == sign
    absolute, relative = evidence.delta("absolute"), evidence.delta("relative")
    low, high = evidence.interval("ratio")
    labels = label_concepts(
        evidence.delta("ratio"),
        low,
        high,
        evidence.q,
        suppressed_below=THRESHOLDS[0],
        exaggerated_above=THRESHOLDS[1],
    )
    with np.errstate(invalid="ignore"):
        flagged = {"labels": np.isin(labels, ["suppressed", "exaggerated"]), "q": evidence.q < 0.05}
        flagged |= {
            name: (delta < 0.1) | (delta > 0.9)
            for name, delta in (("absolute", absolute), ("relative", relative))
        }
    scores = {
        "labels": np.where(right, 1, -1) * -np.log10(evidence.p),
        "q": np.where(right, 1, -1) * -np.log10(evidence.p),
        "absolute": sign * np.nan_to_num(absolute, nan=0.5),
        "relative": sign * np.nan_to_num(relative, nan=0.5),
    }
    rows: list[dict[str, object]] = []
    for rule in RULES:
        hits = flagged[rule] & right & positives
        wrong = flagged[rule] & negatives
        rows.append(
            {
                "rule": rule,
                "found": bool(hits.any()),
                "n_positive": int(positives.sum()),
                "n_hits": int(hits.sum()),
                "n_negative": int(negatives.sum()),
                "n_false": int(wrong.sum()),
                "n_touched": int(touched.sum()),
                "n_side": int((flagged[rule] & touched).sum()),
                "n_side_right": int((flagged[rule] & touched & (seen == np.sign(change))).sum()),
                "auroc": _auroc(scores[rule][positives], scores[rule][negatives]),
            }
        )
    return rows


def _auroc(high: np.ndarray, low: np.ndarray) -> float | None:
    if not len(high) or not len(low):
        return None
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))
