"""Verification of a trained network: are two images of one identity, also of one that it was never trained on?"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal.data.dataset import ImageSet, only
from foveal.data.open import data_splits, open_data, readable
from foveal.data.pairs import Pairs, draw_pairs, read_pairs
from foveal.errors import FovealError, unknown
from foveal.evaluation.features import features
from foveal.metrics.similarity import NAMES, learn
from foveal.metrics.verification import FoldAccuracy, Roc, accuracy_by_fold, roc
from foveal.training.checkpoint import replace_file
from foveal.training.run import Run

_RATES = (0.001, 0.01, 0.1)  # false accepts at which true ones are told


@dataclass(frozen=True)
class Verification:
    """How well pairs are told apart. `known` are those identities of the pairs that are called as a class of the
    network's training is."""

    run: str
    data: str
    metric: str
    features: int
    identities: tuple[str, ...]
    known: tuple[str, ...]
    pairs: Pairs = field(repr=False, compare=False)
    distances: Tensor = field(repr=False, compare=False)  # float64 [N]; a learned metric's are of each fold's own
    accuracy: FoldAccuracy
    roc: Roc = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values; rates are shares, accuracies in %."""
        return {
            "run": self.run,
            "data": self.data,
            "metric": self.metric,
            "features": self.features,
            "identities": list(self.identities),
            "known": list(self.known),
            "pairs": len(self.pairs),
            "note": self.pairs.note,
            "accuracy": self.accuracy.mean,
            "standard_error": self.accuracy.standard_error,
            "folds": list(self.accuracy.folds),
            "area": self.roc.area,
            "equal_error": self.roc.equal_error,
            "true_accepts": {str(rate): self.roc.true_accept_at(rate) for rate in _RATES},
        }

    def text(self) -> str:
        """The same for the terminal."""
        seen = f"{len(self.known) or 'none'} of them among the classes of its training"
        accepts = ", ".join(f"{100 * self.roc.true_accept_at(r):.1f} % at {100 * r:g} %" for r in _RATES)
        return "\n".join(
            [
                f"{self.run} on {self.data}: {len(self.identities)} identities, {seen}",
                f"{self.pairs.note}; {self.metric} distance of {self.features} features",
                f"accuracy {self.accuracy.mean:.2f} ± {self.accuracy.standard_error:.2f} % (standard error)",
                f"area under the ROC curve {self.roc.area:.4f}, equal error {100 * self.roc.equal_error:.2f} %",
                f"true accepts at false accepts: {accepts}",
            ]
        )

    def save(self, folder: str | Path) -> Path:
        """Write verification.json into a folder, the figures and the points of the curve. FovealError if that fails."""
        curve = {
            "false_accepts": self.roc.false_accepts.tolist(),
            "true_accepts": self.roc.true_accepts.tolist(),
        }
        file = Path(folder) / "verification.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, json.dumps({**self.as_json(), "roc": curve}, ensure_ascii=False).encode())
        except OSError as error:
            raise FovealError(
                f"{file} cannot be written: {error.strerror or error}", "choose another folder"
            ) from error
        return file


def verify(
    run: Run | str | Path,
    data: str | None = None,
    *,
    split: str = "test",
    classes: Sequence[str] = (),
    pairs: str | Path | None = None,
    metric: str = "cosine",
    layer: str | None = None,
    folds: int = 10,
    each: int = 300,
    seed: int = 0,
    checkpoint: str = "best",
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """LFW's protocol on any set with a class per identity: accuracy ± standard error over folds, and the ROC curve.

    Args:
        run: a trained classifier; its features are compared, so that the identities may be new to it.
        data: the images, by default the run's own data; with `pairs` the folder of the people.
        split: which of their splits.
        classes: only these identities.
        pairs: a list in the form of LFW's pairs.txt; otherwise `folds` folds of `each` + `each` pairs are drawn by
            `seed`.
        metric: euclidean, cosine, chi_square or siamese. The last two learn their weights for each fold on the pairs of
            the other folds.
        layer: whose output is compared, by default what goes into the last fully connected layer.
        checkpoint: best, last or a weights file.
        progress: told (images done, all).

    A learned metric's distances are standardised by the mean and deviation on the pairs that it learned from, so that
    one curve can be drawn of all folds. Raises FovealError for what the user can mend.
    """
    run = run if isinstance(run, Run) else Run(run)
    if metric not in NAMES:
        raise unknown("metric", metric, NAMES)
    if run.recipe.task != "classify":
        raise FovealError(f"{run.path} was trained to {run.recipe.task}, not to classify", "name a run of a classifier")
    source = run.recipe.data if data is None else data
    if pairs is None:
        images = _chosen(run, source, split, classes)
        chosen = draw_pairs(images, folds=folds, each=each, seed=seed)
    elif classes:
        raise FovealError("the pairs of a list have their identities", "leave classes away")
    else:
        images, chosen = read_pairs(pairs, source)
    rows = features(run.predictor(checkpoint), images, layer, progress=progress)
    left, right = rows[chosen.left], rows[chosen.right]
    distances = torch.empty(len(chosen), dtype=torch.float64)
    for fold in torch.unique(chosen.folds).tolist():
        mine = chosen.folds == fold
        found = learn(metric, left[~mine], right[~mine], chosen.same[~mine])
        others = found(left[~mine], right[~mine])
        centre, spread = (float(others.mean()), float(others.std())) if found.weights is not None else (0.0, 1.0)
        distances[mine] = (found(left[mine], right[mine]) - centre) / max(spread, 1e-12)
    used = torch.unique(images.labels[torch.cat((chosen.left, chosen.right))]).tolist()
    names = tuple(images.classes[label] for label in used)
    return Verification(
        run=str(run.path),
        data=source,
        metric=metric,
        features=rows.shape[1],
        identities=names,
        known=tuple(name for name in names if name in run.classes),
        pairs=chosen,
        distances=distances,
        accuracy=accuracy_by_fold(distances, chosen.same, chosen.folds),
        roc=roc(distances, chosen.same),
    )


def _chosen(run: Run, source: str, split: str, classes: Sequence[str]) -> ImageSet:
    """The readable images of a split; those of some classes."""
    splits = data_splits(source)
    if split not in splits:
        raise FovealError(f"{source} has no {split} split", f"it has {', '.join(splits)}")
    found, _ = readable(open_data(source, split, seed=run.recipe.seed, task="classify"), strict=True)
    return only(found, classes) if classes else found
