"""How good a trained run is: protocols over a split, and everything that is computed from their probabilities."""

from __future__ import annotations

import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal import catalog
from foveal.data.dataset import ImageSet, LabelledSet, VisionSet
from foveal.data.open import readable
from foveal.errors import FovealError
from foveal.evaluation.base import Measured, Measurement
from foveal.evaluation.boxes import box_evaluation, save_boxes
from foveal.evaluation.masks import mask_evaluation, save_masks
from foveal.evaluation.own import check_own, cut_by_seed, is_own
from foveal.evaluation.splits import held_out, open_split
from foveal.evaluation.tags import save_tags, tag_evaluation
from foveal.evaluation.text import text as words
from foveal.metrics.bootstrap import bootstrap_interval
from foveal.metrics.calibration import Calibration, calibration
from foveal.metrics.classification import PerClass, confusion_matrix, per_class, top_k_wrong
from foveal.tasks import task
from foveal.tasks.detect import with_targets
from foveal.training.checkpoint import replace_file
from foveal.training.inputs import Reduced
from foveal.training.run import Run
from foveal.training.trained import Trained

FIGURES, PREDICTIONS = "evaluation.json", "predictions.npz"


@dataclass(frozen=True, kw_only=True)
class Evaluation(Measurement):
    """The measured quality of a classifier; tables and interval are those of the first protocol.

    `metrics` are errors in % and `cross_entropy` in nats; `measured` has them protocol by protocol. `run` names several
    runs where they were averaged, with commas between.
    """

    probabilities: Tensor = field(repr=False, compare=False)  # float32 [N, classes]
    labels: Tensor = field(repr=False, compare=False)  # int64 [N]
    measured: tuple[Measured, ...] = ()

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.labels)

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each image, int64 [N]."""
        return self.probabilities.argmax(1)

    @property
    def top1_error(self) -> float:
        """Share of images whose most probable class is wrong, in %, by the first protocol."""
        return self.metrics["top1_error"]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the top-1 error, in %."""
        return bootstrap_interval(top_k_wrong(self.probabilities, self.labels))

    @property
    def confusion(self) -> Tensor:
        """True class by row, predicted class by column, int64 [classes, classes]."""
        return confusion_matrix(self.predicted, self.labels, len(self.classes))

    @property
    def per_class(self) -> PerClass:
        """Precision, recall, F1 and support of each class."""
        return per_class(self.confusion)

    @property
    def calibration(self) -> Calibration:
        """The reliability diagram and the expected calibration error."""
        return calibration(self.probabilities, self.labels)

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that the run knows and of which there was no image."""
        there = set(self.labels.tolist())
        return tuple(name for i, name in enumerate(self.classes) if i not in there)

    def as_json(self) -> dict[str, Any]:
        """Plain values, all but the probabilities; null where there was nothing to compute from."""
        table, reliability = self.per_class, self.calibration
        columns = {name: _plain(getattr(table, name)) for name in ("precision", "recall", "f1", "support")}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return super().as_json() | {
            "protocols": [
                {
                    "protocol": part.protocol,
                    "metrics": dict(part.metrics),
                    "intervals": {name: list(interval) for name, interval in part.intervals.items()},
                }
                for part in self.measured
            ],
            "top1_error_interval": list(self.interval),
            "calibration_error": reliability.ece,
            "calibration": {k: _plain(getattr(reliability, k)) for k in ("edges", "counts", "confidence", "accuracy")},
            "classes": [{"name": name, **row} for name, row in zip(self.classes, rows, strict=True)],
            "confusion": self.confusion.tolist(),
        }

    def text(self) -> str:
        """The same for the terminal: figures, classes (of many: the worst), the most frequent mistakes."""
        return words(self)


def evaluate(
    run: Run | str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    protocols: Sequence[str] = (),
    checkpoint: str = "best",
) -> Measurement:
    """Measure a run's checkpoint ("best", "last" or a file of weights) on a split of its own data, or of other `data`.

    `protocols` are names, with options if wanted: "ten_crop", "dense(scales=(256, 384))", or package.module:function;
    by default the one of the run's task. Returns an `Evaluation` for classes, a `TagEvaluation` for tags, a
    `MaskEvaluation` for masks, a `BoxEvaluation` for boxes.

    Other data may hold the classes of a classifier in another order, or only some of the run's; a class that the run
    does not know raises FovealError, and so do own data that are not what they were in training. Unreadable images are
    skipped and listed, or refused where the recipe says `strict`. What "best" has on the run's own held-out split is
    also written to its folder: evaluation.json, and predictions.npz.
    """
    run = run if isinstance(run, Run) else Run(os.fspath(run))
    functions = configured(protocols or (task(run.recipe.task).protocol,))
    check_task(functions, run.recipe.task)
    source = run.recipe.data if data is None else os.fspath(data)
    own = is_own(run, source)
    if own:
        source = run.recipe.data
        check_own(run)
    chosen = open_split(run, split, source)
    images, skipped = readable(chosen, run.recipe.strict)
    about: dict[str, Any] = {
        "run": str(run.path),
        "model": run.recipe.model,
        "checkpoint": checkpoint,
        "data": source,
        "split": split,
        "classes": run.classes,
        "skipped": tuple(skipped),
        "note": "" if own else _note(source, chosen, split, run.recipe.seed),
    }
    saved = run.path if own and split == held_out(run) and checkpoint == "best" else None
    names = [images.name(i) for i in range(len(images))]
    if run.recipe.task == "tag":
        found = measure(run.tagger(checkpoint), images, functions)
        tags = tag_evaluation(found, {**about, "names": tuple(names)})
        if saved is not None:
            save_tags(saved, tags)
        return tags
    if run.recipe.task == "segment":
        found = measure(run.segmenter(checkpoint), images, functions)
        masks = mask_evaluation(found, {**about, "names": tuple(names)})
        if saved is not None:
            save_masks(saved, masks)
        return masks
    if run.recipe.task == "detect":
        detector = run.detector(checkpoint)
        if own:
            detector.remember(run.path, images)
        found = measure(detector, with_targets(images, detector.model), functions)
        boxes = box_evaluation(found, {**about, "names": tuple(names)})
        if saved is not None:
            save_boxes(saved, boxes)
        return boxes
    assert isinstance(images, ImageSet)  # open_split looks at the task
    found = measure(run.predictor(checkpoint), images, functions)
    first = next(iter(found.values()))
    measured = tuple(of_protocol(name, values) for name, values in found.items())
    evaluation = Evaluation(
        **about,
        metrics=together(measured),
        probabilities=first["probabilities"],
        labels=first["labels"],
        measured=measured,
    )
    if saved is not None:
        _save(saved, evaluation, names)
    return evaluation


def load_evaluation(run: Run) -> Evaluation | None:
    """What `evaluate` wrote into the run's folder, or None when the run's held-out split was not evaluated yet."""
    if not (run.path / FIGURES).exists():
        return None
    try:
        figures = json.loads((run.path / FIGURES).read_text(encoding="utf-8"))
        with np.load(run.path / PREDICTIONS, allow_pickle=False) as saved:
            probabilities, labels = torch.from_numpy(saved["probabilities"]), torch.from_numpy(saved["labels"])
        return Evaluation(
            **{name: figures[name] for name in ("run", "model", "checkpoint", "data", "split", "metrics")},
            classes=tuple(row["name"] for row in figures["classes"]),
            probabilities=probabilities,
            labels=labels,
            skipped=tuple((row["file"], row["reason"]) for row in figures["skipped"]),
            measured=tuple(
                Measured(
                    protocol=part["protocol"],
                    metrics=part["metrics"],
                    intervals={name: (low, high) for name, (low, high) in part["intervals"].items()},
                )
                for part in figures["protocols"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FovealError(
            f"{run.path / FIGURES} or {PREDICTIONS} beside it is damaged or missing",
            f"measure again: foveal evaluate {run.path}",
        ) from error


def configured(protocols: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """The protocols that texts name, with their options bound. FovealError for none, an unknown one or one twice."""
    if not protocols:
        raise FovealError("no protocol was asked for", f"choose of: {', '.join(catalog.names('protocol'))}")
    functions = {name: catalog.configured("protocol", name) for name in protocols}
    if len(functions) < len(protocols):
        twice = next(name for name in protocols if list(protocols).count(name) > 1)
        raise FovealError(f"protocol {twice} was asked for twice", "name each once, or with other options")
    return functions


def check_task(functions: Mapping[str, Callable[..., Any]], wanted: str) -> None:
    """Raise FovealError for a protocol of another task; a file of `protocols/` says its own as TASK."""
    for name, function in functions.items():
        inner = getattr(function, "func", function)  # options are bound by a partial
        own = getattr(sys.modules[inner.__module__], "TASK", "classify")
        if own != wanted:
            raise FovealError(
                f"protocol {name} measures what was trained to {own}, not to {wanted}",
                f"{task(wanted).protocol} is the one for that",
            )


def measure(
    predictor: Trained, images: VisionSet, functions: Mapping[str, Callable[..., Any]]
) -> dict[str, dict[str, Any]]:
    """What each protocol yields for the images, whose classes are the predictor's."""
    least = predictor.pipeline.min_side(train=False) if isinstance(images, LabelledSet) else None
    return {
        name: dict(protocol(predictor, Reduced(images, None if _rescales(protocol) else least)))
        for name, protocol in functions.items()
    }


def of_protocol(name: str, values: Mapping[str, Any]) -> Measured:
    """The scalars that a protocol yielded, and the intervals of its errors from its probabilities."""
    metrics = {key: float(value) for key, value in values.items() if not isinstance(value, Tensor)}
    counts = {"top1_error": 1, "top5_error": 5}
    wrong = {
        key: top_k_wrong(values["probabilities"], values["labels"], k) for key, k in counts.items() if key in metrics
    }
    intervals = {key: bootstrap_interval(one) for key, one in wrong.items()}
    return Measured(protocol=name, metrics=metrics, intervals=intervals)


def together(measured: Sequence[Measured]) -> dict[str, float]:
    """The numbers of all protocols by name, those of the first one without its name."""
    prefixes = ["", *(f"{part.protocol}/" for part in measured[1:])]
    return {
        prefix + name: value
        for prefix, part in zip(prefixes, measured, strict=True)
        for name, value in part.metrics.items()
    }


def _rescales(protocol: Callable[..., Any]) -> bool:
    """Whether a protocol may show images at other sizes than the recipe, so that they are needed as they are."""
    return bool({"scale", "scales"} & catalog.options(protocol).keys())


def _note(source: str, images: VisionSet, split: str, seed: int) -> str:
    """What to know of other data: that only a part was measured, where it has no splits of its own."""
    if not cut_by_seed(source, images, split, seed):
        return ""
    return f"{source} has no splits of its own: measured was the part that would be its {split} split"


def _save(folder: Path, evaluation: Evaluation, names: Sequence[str]) -> None:
    """Predictions first: whoever finds the figures finds the predictions too. Each file is replaced at once."""
    buffer = io.BytesIO()
    probabilities, labels = evaluation.probabilities.numpy(), evaluation.labels.numpy()
    np.savez_compressed(buffer, probabilities=probabilities, labels=labels, names=np.array(names))
    replace_file(folder / PREDICTIONS, buffer.getvalue())
    replace_file(folder / FIGURES, (json.dumps(evaluation.as_json(), indent=1) + "\n").encode())


def _plain(values: Tensor) -> list[float | int | None]:
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values.tolist()]
