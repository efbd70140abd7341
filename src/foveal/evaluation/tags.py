"""The measured quality of a tagger: average precision by class, and the scores of every image."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.evaluation.base import Measurement
from foveal.training.checkpoint import replace_file
from foveal.types import IGNORED

FIGURES, PREDICTIONS = "evaluation.json", "predictions.npz"


@dataclass(frozen=True, kw_only=True)
class TagEvaluation(Measurement):
    """The measured quality of a tagger: `metrics` in %; the rest is of the first protocol.

    scores float32 [N, classes], labels uint8 [N, classes] (1 there, 0 not, 255 not counted), class_ap float64 [classes]
    in %, NaN of a class that no image has.
    """

    scores: Tensor = field(repr=False, compare=False)
    labels: Tensor = field(repr=False, compare=False)
    class_ap: Tensor = field(repr=False, compare=False)
    names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.labels)

    @property
    def class_table(self) -> list[dict[str, Any]]:
        """Of each class: name, ap in % (None where no image has it), images that have it, and that do not count."""
        there, left_out = (self.labels == 1).sum(0).tolist(), (self.labels == IGNORED).sum(0).tolist()
        return [
            {"name": name, "ap": None if math.isnan(ap) else ap, "images": there[i], "not_counted": left_out[i]}
            for i, (name, ap) in enumerate(zip(self.classes, self.class_ap.tolist(), strict=True))
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values, null for a class without an image."""
        return super().as_json() | {"classes": self.class_table}

    def text(self) -> str:
        """Figures and classes."""
        lines = [f"{self.model} ({self.checkpoint}) on {self.data}, {self.split} split: {self.images:,} images", ""]
        width = max(map(len, self.metrics))
        lines += [f"{name.replace('_', ' '):<{width + 1}} {value:6.2f} %" for name, value in self.metrics.items()]
        longest = max(5, *(len(name) for name in self.classes))
        lines += ["", f"{'class':<{longest}}    AP, %   images  not counted"]
        for row in self.class_table:
            ap = "-" if row["ap"] is None else f"{row['ap']:.2f}"
            lines.append(f"{row['name']:<{longest}}  {ap:>7}  {row['images']:7,}  {row['not_counted']:11,}")
        lines += [f"not read: {file}: {reason}" for file, reason in self.skipped]
        return "\n".join([*lines, *([self.note] if self.note else [])])


def tag_evaluation(found: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> TagEvaluation:
    """What protocols, by name, found of a tagger; `about` has the other fields."""
    first = next(iter(found.values()))
    metrics = {
        key if values is first else f"{name}/{key}": value
        for name, values in found.items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    return TagEvaluation(**about, metrics=metrics, **{k: first[k] for k in ("scores", "labels", "class_ap")})


def save_tags(folder: Path, evaluation: TagEvaluation) -> None:
    """Write an evaluation into a run's folder: figures, and the scores of every image."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scores=evaluation.scores.numpy(),
        labels=evaluation.labels.numpy(),
        class_ap=evaluation.class_ap.numpy(),
        names=np.array(evaluation.names),
    )
    replace_file(folder / PREDICTIONS, buffer.getvalue())
    replace_file(folder / FIGURES, (json.dumps(evaluation.as_json(), indent=1) + "\n").encode())


def load_tag_evaluation(folder: Path) -> TagEvaluation | None:
    """What was written into a run's folder, or None when its held-out split was not evaluated yet."""
    if not (folder / FIGURES).exists():
        return None
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        with np.load(folder / PREDICTIONS, allow_pickle=False) as saved:
            scores, labels, class_ap = (torch.from_numpy(saved[name]) for name in ("scores", "labels", "class_ap"))
            names = tuple(str(name) for name in saved["names"])
        return TagEvaluation(
            **{name: figures[name] for name in ("run", "model", "checkpoint", "data", "split", "metrics", "note")},
            classes=tuple(row["name"] for row in figures["classes"]),
            skipped=tuple((row["file"], row["reason"]) for row in figures["skipped"]),
            names=names,
            scores=scores,
            labels=labels,
            class_ap=class_ap,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FovealError(
            f"{folder / FIGURES} or {PREDICTIONS} beside it is damaged or missing",
            f"measure again: foveal evaluate {folder}",
        ) from error
