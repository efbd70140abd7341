"""The measured quality of a segmenter: figures over all pixels, a table of classes, the images one by one."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.evaluation.base import Measurement
from foveal.metrics.segmentation import class_accuracies, class_ious
from foveal.training.checkpoint import replace_file

FIGURES, PREDICTIONS = "evaluation.json", "predictions.npz"


@dataclass(frozen=True, kw_only=True)
class MaskEvaluation(Measurement):
    """The measured quality of a segmenter: `metrics` in %, pixels counted at the images' own size.

    `confusion`: pixels, true class by row, int64 [classes, classes]; `image_iu`: the mean IU of each image, in %.
    """

    confusion: Tensor = field(repr=False, compare=False)
    image_iu: Tensor = field(repr=False, compare=False)  # float64 [N]
    names: tuple[str, ...] = field(default=(), repr=False)
    boundary: Tensor | None = field(default=None, repr=False, compare=False)  # F1 of each class in %, where asked for

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.image_iu)

    @property
    def class_table(self) -> list[dict[str, Any]]:
        """Of each class: name, iu and accuracy in % (None without a true pixel), and its share of the pixels; the F1
        of its boundary where that was measured."""
        ious, accuracies = class_ious(self.confusion), class_accuracies(self.confusion)
        pixels = self.confusion.sum(1)
        total = max(int(pixels.sum()), 1)
        rows = [
            {
                "name": name,
                "iu": _plain(ious[i]),
                "accuracy": _plain(accuracies[i]),
                "share": 100 * int(pixels[i]) / total,
            }
            for i, name in enumerate(self.classes)
        ]
        if self.boundary is None:
            return rows
        return [row | {"boundary_f1": _plain(one)} for row, one in zip(rows, self.boundary, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Plain values, null for a class without a pixel."""
        return super().as_json() | {
            "classes": self.class_table,
            "confusion": self.confusion.tolist(),
        }

    def text(self) -> str:
        """Figures, the classes by name, the worst images."""
        lines = [f"{self.model} ({self.checkpoint}) on {self.data}, {self.split} split: {self.images:,} images", ""]
        width = max(map(len, self.metrics))
        lines += [f"{name.replace('_', ' '):<{width + 1}} {value:6.2f} %" for name, value in self.metrics.items()]
        longest = max(5, *(len(name) for name in self.classes))
        edges = "  boundary F1" if self.boundary is not None else ""
        lines += ["", f"{'class':<{longest}}      IU  accuracy  of pixels{edges}"]
        for row in self.class_table:
            iu, accuracy = (f"{row[key]:.2f}" if row[key] is not None else "-" for key in ("iu", "accuracy"))
            edge = row.get("boundary_f1")
            last = "" if not edges else f"  {'-' if edge is None else format(edge, '.2f'):>11}"
            lines.append(f"{row['name']:<{longest}}  {iu:>6}  {accuracy:>8}  {row['share']:9.2f}{last}")
        worst = self.image_iu.nan_to_num(nan=torch.inf).argsort()[:3].tolist()
        lines += ["", "worst images:", *(f"{self.image_iu[i]:6.2f} %  {self.names[i]}" for i in worst)]
        lines += [f"not read: {file}: {reason}" for file, reason in self.skipped]
        return "\n".join([*lines, *([self.note] if self.note else [])])


def mask_evaluation(found: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> MaskEvaluation:
    """What protocols, by name, found of a segmenter; `about` has the other fields."""
    first = next(iter(found.values()))
    metrics = {
        key if values is first else f"{name}/{key}": value
        for name, values in found.items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    return MaskEvaluation(
        **about,
        metrics=metrics,
        confusion=first["confusion"],
        image_iu=first["image_iu"],
        boundary=first.get("class_boundary_f1"),
    )


def save_masks(folder: Path, evaluation: MaskEvaluation) -> None:
    """Write an evaluation into a run's folder: figures, and the images one by one."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, image_iu=evaluation.image_iu.numpy(), names=np.array(evaluation.names))
    replace_file(folder / PREDICTIONS, buffer.getvalue())
    replace_file(folder / FIGURES, (json.dumps(evaluation.as_json(), indent=1) + "\n").encode())


def load_mask_evaluation(folder: Path) -> MaskEvaluation | None:
    """What was written into a run's folder, or None when its held-out split was not evaluated yet."""
    if not (folder / FIGURES).exists():
        return None
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        with np.load(folder / PREDICTIONS, allow_pickle=False) as saved:
            image_iu, names = torch.from_numpy(saved["image_iu"]), tuple(str(name) for name in saved["names"])
        return MaskEvaluation(
            **{name: figures[name] for name in ("run", "model", "checkpoint", "data", "split", "metrics", "note")},
            classes=tuple(row["name"] for row in figures["classes"]),
            skipped=tuple((row["file"], row["reason"]) for row in figures["skipped"]),
            confusion=torch.tensor(figures["confusion"]),
            image_iu=image_iu,
            names=names,
            boundary=_boundary(figures["classes"]),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise FovealError(
            f"{folder / FIGURES} or {PREDICTIONS} beside it is damaged or missing",
            f"measure again: foveal evaluate {folder}",
        ) from error


def _boundary(rows: Sequence[Mapping[str, Any]]) -> Tensor | None:
    if "boundary_f1" not in rows[0]:
        return None
    return torch.tensor(
        [math.nan if row["boundary_f1"] is None else row["boundary_f1"] for row in rows], dtype=torch.float64
    )


def _plain(value: Tensor) -> float | None:
    return None if bool(value.isnan()) else float(value)
