"""Few images of new classes: a linear classifier on the features of a network that was trained on others.

M. D. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, section 5.2: with features
from ImageNet, six training images a class of Caltech-256 are enough to beat what ten times as many gave before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from foveal import experiment
from foveal.classical.linear import fit_linear
from foveal.data.dataset import ImageSet, only
from foveal.data.open import data_splits, open_data
from foveal.errors import FovealError
from foveal.evaluation.features import features
from foveal.report.charts import Curve, lines
from foveal.studies._halves import halves
from foveal.studies._lab import Lab, Trial
from foveal.studies._outcome import Cell, Outcome, Spread
from foveal.studies._recipes import small
from foveal.training.job import build
from foveal.training.recipe import Recipe
from foveal.training.recogniser import Recogniser
from foveal.training.run import Run

_TEXT = (
    "3-1-1Conv24 (ReLU) → 2-2MaxPool → 3-1-1Conv32 (ReLU) → 2-2MaxPool → 3-1-1Conv48 (ReLU) → 2-2MaxPool → "
    "FC128 (ReLU) → FC10"
)
_TITLES = {"learned": "features learned on A", "random": "features of the untrained network", "pixels": "pixels"}


def few_shot(
    lab: Lab,
    *,
    a: Sequence[str] = ("",),
    shots: Sequence[int] = (1, 3, 6, 12),
    loss: str = "hinge",
    l2: str = "true",
    strength: float = 1.0,
    draws: int = 5,
) -> Outcome:
    """Few images of new classes, Caltech-256 style: a linear classifier on features that were learned on other classes.

    a: the classes that the network learns, such as cat,dog; the linear classifier then tells the others apart. By
    default half of them, drawn anew for each seed. shots: training images of each new class. loss: hinge, ranking or
    logistic; strength: its C. l2: true brings features to length 1, false leaves them. draws: choices of the few images
    that are averaged. Beside the learned features stand those of the untrained network, and the pixels.

    Raises FovealError for unknown classes, losses and settings, and for classes with less images than `shots`.
    """
    l2 = str(l2).lower()
    if l2 not in ("true", "false"):
        raise FovealError(f"l2={l2} is neither true nor false", "true brings features to length 1")
    base = lab.base(small(lab, _TEXT, lr=0.05, schedule="onecycle", weight_decay=5e-4, evaluate_every=5))
    split = experiment.compared_on(base)
    if split not in data_splits(base.data):
        raise FovealError(f"{base.data} has neither a test nor a validation split of its own", "add one")
    sides = [halves(base, a, seed) for seed in lab.seeds]
    found: dict[tuple[str, int], list[tuple[float, float]]] = {(k, n): [] for k in _TITLES for n in shots}
    for seed, (of_a, of_b) in zip(lab.seeds, sides, strict=True):
        trial = lab.trial("base", base.with_settings(classes=of_a), seed)
        train, test = (_new(base, part, of_b, seed) for part in ("train", split))
        seen = _seen(trial, train, test, l2 == "true")
        for kind, (there, here) in seen.items():
            for n in shots:
                few = [_few(train.labels, n, len(of_b), 1000 * seed + draw) for draw in range(draws)]
                known = [(there[f], train.labels[f]) for f in few]
                scores = [_measured(fit_linear(*k, loss, strength=strength)(here), test.labels) for k in known]
                found[kind, n].append((float(np.mean([s[0] for s in scores])), float(np.mean([s[1] for s in scores]))))
    return _outcome(lab, base, found, shots, sides)


def _seen(trial: Trial, train: ImageSet, test: ImageSet, l2: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """What each kind of features says about the images of both sets."""
    learned = trial.run.predictor()
    fresh = Recogniser(
        learned.placement.place(_untrained(trial.run).eval()),
        learned.recipe,
        learned.classes,
        learned.placement,
        learned.pipeline,
    )
    found = {
        name: (features(network, train, l2=l2), features(network, test, l2=l2))
        for name, network in (("learned", learned), ("random", fresh))
    }
    pixels = [torch.stack([learned.prepare(s.load(i)) for i in range(len(s))]).flatten(1) for s in (train, test)]
    scaled = [p.float() / 255 for p in pixels]
    both = [torch.nn.functional.normalize(s) for s in scaled] if l2 else scaled
    return {**found, "pixels": (both[0], both[1])}


def _untrained(run: Run) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        return build(run.recipe, run.classes)


def _new(base: Recipe, split: str, classes: Sequence[str], seed: int) -> ImageSet:
    return only(open_data(base.data, split, seed=seed, task="classify"), classes)


def _few(labels: Tensor, count: int, classes: int, seed: int) -> Tensor:
    """The numbers of `count` images of each class."""
    random = np.random.RandomState(seed)
    chosen = []
    for label in range(classes):
        own = (labels == label).nonzero().flatten().numpy()
        if len(own) < count:
            raise FovealError(f"shots={count}: a class has {len(own)} training images", "give smaller shots")
        chosen.append(torch.from_numpy(random.choice(own, count, replace=False)))
    return torch.cat(chosen)


def _measured(scores: Tensor, truth: Tensor) -> tuple[float, float]:
    """Accuracy and mean average precision over the classes, in %, of scores [N, C]."""
    right = (scores.argmax(1) == truth).double().mean()
    precisions = [average_precision_score((truth == c).numpy(), scores[:, c].numpy()) for c in range(scores.shape[1])]
    return 100 * float(right), 100 * float(np.mean(precisions))


def _outcome(
    lab: Lab,
    base: Recipe,
    found: dict[tuple[str, int], list[tuple[float, float]]],
    shots: Sequence[int],
    sides: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
) -> Outcome:
    figures = {key: Spread(tuple(value[0] for value in values)) for key, values in found.items()}
    rows: list[dict[str, Cell]] = [
        {
            "features": _TITLES[kind],
            "shots": n,
            "accuracy": figures[kind, n],
            "precision": Spread(tuple(value[1] for value in values)),
        }
        for (kind, n), values in found.items()
    ]
    drawn = [
        Curve(title, list(shots), [figures[kind, n].mean for n in shots], bold=kind == "learned")
        for kind, title in _TITLES.items()
    ]
    told = "; ".join(f"{_TITLES[kind]} {', '.join(str(figures[kind, n]) for n in shots)}" for kind in _TITLES)
    return Outcome(
        study=lab.study,
        folder=lab.folder,
        title=f"Few images of new classes, by features of {base.name} on {base.data}",
        claim="a linear classifier on features learned from ImageNet beats all before it with six training images of "
        "each class of Caltech-256 (Zeiler and Fergus 2014).",
        finding=f"accuracy in % with {', '.join(map(str, shots))} images of each new class: {told}.",
        columns={
            "features": "features",
            "shots": "images a class",
            "accuracy": "accuracy, %",
            "precision": "mean average precision, %",
        },
        rows=rows,
        chart=lines("few_shot", drawn, x="training images of each new class", y="accuracy, %"),
        notes=[
            f"Seed {seed}: learned on {', '.join(of_a)}; told apart are {', '.join(of_b)}."
            for seed, (of_a, of_b) in zip(lab.seeds, sides, strict=True)
        ],
    )
