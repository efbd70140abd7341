"""How good a trained run is: protocols over a split, and everything that is computed from their probabilities."""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal import catalog
from foveal.data.dataset import ImageSet, stratified
from foveal.data.open import data_splits, open_data, readable
from foveal.errors import FovealError
from foveal.metrics.bootstrap import bootstrap_interval
from foveal.metrics.calibration import Calibration, calibration
from foveal.metrics.classification import PerClass, confusion_matrix, most_confused, per_class, top_k_wrong
from foveal.training.checkpoint import replace_file
from foveal.training.run import Run

FIGURES, PREDICTIONS = "evaluation.json", "predictions.npz"
_LONG_TABLE = 30  # classes; of more the terminal shows the worst
_UNITS = {"error": "%", "entropy": "nats"}


@dataclass(frozen=True)
class Evaluation:
    """The measured quality of one checkpoint on one split; tables and interval are those of the first protocol.

    `metrics` holds numbers by name: errors in %, `cross_entropy` in nats. Those of further protocols come after the
    protocol's name and a slash.
    """

    run: str
    model: str
    checkpoint: str
    data: str
    split: str
    classes: tuple[str, ...]
    metrics: Mapping[str, float]
    probabilities: Tensor = field(repr=False, compare=False)  # float32 [N, classes]
    labels: Tensor = field(repr=False, compare=False)  # int64 [N]
    skipped: tuple[tuple[str, str], ...] = ()  # (file, reason) of unreadable images

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
        return {
            "run": self.run,
            "model": self.model,
            "checkpoint": self.checkpoint,
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "metrics": dict(self.metrics),
            "top1_error_interval": list(self.interval),
            "calibration_error": reliability.ece,
            "calibration": {k: _plain(getattr(reliability, k)) for k in ("edges", "counts", "confidence", "accuracy")},
            "classes": [{"name": name, **row} for name, row in zip(self.classes, rows, strict=True)],
            "confusion": self.confusion.tolist(),
            "skipped": [{"file": file, "reason": reason} for file, reason in self.skipped],
        }

    def text(self) -> str:
        """The same for the terminal: figures, classes (of many: the worst), the most frequent mistakes."""
        return _text(self)


def evaluate(
    run: Run | str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    protocols: Sequence[str] = ("center_crop",),
    checkpoint: str = "best",
) -> Evaluation:
    """Measure a run's checkpoint ("best" or "last") on a split of its own data, or of other `data`.

    Other data may hold its classes in another order, or only some of the run's; a class that the run does not know
    raises FovealError. Unreadable images are skipped and listed, or refused where the recipe says `strict`. The result
    on the run's own held-out split is also written to its folder: evaluation.json, and predictions.npz with
    `probabilities`, `labels` and `names`.
    """
    run = run if isinstance(run, Run) else Run(os.fspath(run))
    if not protocols:
        raise FovealError("no protocol was asked for", f"choose of: {', '.join(catalog.names('protocol'))}")
    source = run.recipe.data if data is None else os.fspath(data)
    images, skipped = readable(open_split(run, split, source), run.recipe.strict)
    predictor = run.predictor(checkpoint)
    reduced = _Reduced(images, predictor.pipeline.min_side(train=False))
    measured = [dict(catalog.get("protocol", name)(predictor, reduced)) for name in protocols]
    evaluation = Evaluation(
        run=str(run.path),
        model=run.recipe.model,
        checkpoint=checkpoint,
        data=source,
        split=split,
        classes=run.classes,
        metrics=_numbers(protocols, measured),
        probabilities=measured[0]["probabilities"],
        labels=measured[0]["labels"],
        skipped=tuple(skipped),
    )
    if source == run.recipe.data and split == held_out(run):
        _save(run.path, evaluation, [images.name(i) for i in range(len(images))])
    return evaluation


def held_out(run: Run) -> str:
    """The split that a run's final figure is measured on: "test", or "val" where its data has no test split."""
    return "test" if "test" in run.data["counts"] else "val"


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
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FovealError(
            f"{run.path / FIGURES} or {PREDICTIONS} beside it is damaged or missing",
            f"measure again: foveal evaluate {run.path}",
        ) from error


def open_split(run: Run, split: str, data: str | None = None) -> ImageSet:
    """A split of the run's own data as it was trained or held out, or of other data with the run's class numbers.

    Unreadable images are still in it. Raises FovealError for a split that is not there and for unknown classes.
    """
    source = run.recipe.data if data is None else data
    own = source == run.recipe.data
    splits = data_splits(source)
    cut = own and "val" not in splits and run.recipe.holdout > 0  # the validation split was taken from training
    if split not in splits and not (cut and split == "val"):
        there = [*splits, *(["val"] if cut else [])]
        raise FovealError(f"{source} has no {split} split", f"it has {', '.join(there)}: choose split={there[-1]}")
    images = open_data(source, "train" if cut and split == "val" else split, seed=run.recipe.seed)
    if cut and split != "test":
        images, _ = readable(images)  # as in training, the cut is made of the images that can be read
        rest, part = stratified(images.labels, run.recipe.holdout, run.recipe.seed)
        images = images.select(part, split="val") if split == "val" else images.select(rest)
    return images if images.classes == run.classes else _renumbered(images, run, source)


class _Reduced:
    """A set whose large images are decoded no larger than the network needs, as in training."""

    def __init__(self, images: ImageSet, min_side: int | None) -> None:
        self.images, self.min_side = images, min_side

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images.load(i, self.min_side), int(self.images.labels[i])

    def name(self, i: int) -> str:
        return self.images.name(i)


def _renumbered(images: ImageSet, run: Run, source: str) -> ImageSet:
    """The same images, labelled with the run's class numbers. Raises FovealError for classes it does not know."""
    strange = sorted(set(images.classes) - set(run.classes))
    if strange:
        missing = sorted(set(run.classes) - set(images.classes))
        lacking = f" and lacks {_listed(missing)}" if missing else ""
        raise FovealError(
            f"{source} has {_listed(strange)}, which {run.path} was not trained to tell{lacking}",
            "rename the classes to the run's, or take them out of the set",
        )
    numbers = torch.tensor([run.classes.index(name) for name in images.classes])
    renumbered = images.select(range(len(images)))
    renumbered.labels, renumbered.classes = numbers[images.labels], run.classes
    return renumbered


def _numbers(protocols: Sequence[str], measured: Sequence[Mapping[str, Tensor | float]]) -> dict[str, float]:
    """The scalars of all protocols by name, those of the first one without its name."""
    prefixes = ["", *(f"{protocol}/" for protocol in protocols[1:])]
    return {
        prefix + name: float(value)
        for prefix, values in zip(prefixes, measured, strict=True)
        for name, value in values.items()
        if not isinstance(value, Tensor)
    }


def _save(folder: Path, evaluation: Evaluation, names: Sequence[str]) -> None:
    """Predictions first: whoever finds the figures finds the predictions too. Each file is replaced at once."""
    buffer = io.BytesIO()
    probabilities, labels = evaluation.probabilities.numpy(), evaluation.labels.numpy()
    np.savez_compressed(buffer, probabilities=probabilities, labels=labels, names=np.array(names))
    replace_file(folder / PREDICTIONS, buffer.getvalue())
    replace_file(folder / FIGURES, (json.dumps(evaluation.as_json(), indent=1) + "\n").encode())


def _plain(values: Tensor) -> list[float | int | None]:
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values.tolist()]


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    kind = "class" if len(names) == 1 else "classes"
    return f"{kind} {shown}" + (f" and {len(names) - most} more" if len(names) > most else "")


def _text(e: Evaluation) -> str:
    title = f"{e.model} ({e.checkpoint}) on {e.data}, {e.split} split: {e.images:,} images, {len(e.classes)} classes"
    parts = [title, _text_of_figures(e), _text_of_classes(e), _text_of_mistakes(e), _remarks(e)]
    return "\n\n".join(part for part in parts if part)


def _text_of_figures(e: Evaluation) -> str:
    figures = {name: (value, _UNITS.get(name.rpartition("_")[2], "")) for name, value in e.metrics.items()}
    figures["calibration_error"] = (100 * e.calibration.ece, "%")
    width = max(map(len, figures))
    lines = []
    for name, (value, unit) in figures.items():
        label = name.replace("_", " ").replace("top1", "top-1").replace("top5", "top-5")
        lines.append(f"{label:<{width + 1}} {value:8.{2 if unit == '%' else 4}f} {unit}")
        if name == "top1_error":
            lines[-1] += "   95 % interval {:.2f} to {:.2f}".format(*e.interval)
    return "\n".join(lines)


def _text_of_classes(e: Evaluation) -> str:
    table = e.per_class
    shown = [i for i in range(len(e.classes)) if table.support[i] > 0]
    left = len(shown) - _LONG_TABLE
    if left > 0:
        shown = sorted(shown, key=lambda i: float(table.f1[i]))[:_LONG_TABLE]
    width = max(len("class"), *(len(e.classes[i]) for i in shown))
    lines = [f"{'class':<{width}}  precision   recall       F1   images"]
    for i in shown:
        cells = (_percent(column[i]) for column in (table.precision, table.recall, table.f1))
        lines.append(f"{e.classes[i]:<{width}}    {'  '.join(cells)}  {int(table.support[i]):7,}")
    if left > 0:
        lines.append(f"({left} more classes whose F1 is no worse)")
    return "\n".join(lines)


def _text_of_mistakes(e: Evaluation) -> str:
    table = e.confusion
    pairs = [
        f"{e.classes[true]} taken for {e.classes[taken]}: {count:,} of {int(table[true].sum()):,}"
        for true, taken, count in most_confused(table, 5)
    ]
    return "most frequent mistakes\n" + "\n".join(f"  {pair}" for pair in pairs) if pairs else "no mistakes"


def _remarks(e: Evaluation) -> str:
    lines = []
    if e.absent:
        lines.append(f"no images of {_listed(e.absent)}")
    if e.skipped:
        file, reason = e.skipped[0]
        lines.append(f"unreadable and skipped: {len(e.skipped)}, the first one being {file}: {reason}")
    return "\n".join(lines)


def _percent(share: Tensor) -> str:
    return "     –" if share.isnan() else f"{100 * float(share):5.1f}%"
