"""The measured quality of a detector: average precision, its curves by class, what kinds of mistakes it makes."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foveal.data.outlines import Runs
from foveal.errors import FovealError
from foveal.evaluation.base import Measurement
from foveal.evaluation.masks import FIGURES, PREDICTIONS
from foveal.metrics.boxes import Found, Table, Truth
from foveal.metrics.coco import SHAPES, CocoFigures, coco, given
from foveal.metrics.voc import Curve, judged, mistakes, voc
from foveal.training.checkpoint import replace_file

_FOUND = ("boxes", "scores", "labels", "masks", "keypoints")
_TRUTH = ("boxes", "labels", "ignored", "crowd", "area", "masks", "keypoints")


_WIDE = len("keypoint AP")


@dataclass(frozen=True, kw_only=True)
class BoxEvaluation(Measurement):
    """The measured quality of a detector: `metrics` in %, boxes compared in the images' own pixels.

    `found` and `truth`: what was detected and what is there, one of each an image, in the order of `names`.
    """

    found: tuple[Found, ...] = field(repr=False, compare=False)
    truth: tuple[Truth, ...] = field(repr=False, compare=False)
    names: tuple[str, ...] = field(default=(), repr=False)

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.truth)

    @cached_property
    def curves(self) -> tuple[Curve, ...]:
        """Precision and recall of each class at IoU 0.5, as PASCAL VOC counts."""
        return voc(self.found, self.truth, len(self.classes))[1]

    @cached_property
    def coco(self) -> CocoFigures:
        """COCO's twelve numbers, 0 to 1, and -1 where nothing is to be found."""
        return coco(self.found, self.truth, len(self.classes))

    @cached_property
    def shapes(self) -> Mapping[str, CocoFigures]:
        """The same by masks ("mask"), twelve, or keypoints ("keypoint"), ten, of a detector that gives them."""
        return {
            name: coco(self.found, self.truth, len(self.classes), by)
            for name, by in SHAPES.items()
            if given(self.found, self.truth, by)
        }

    @cached_property
    def score(self) -> float:
        """The score from which on detections, all classes together, have the best F1 at IoU 0.5."""
        table = Table(self.found, self.truth)
        right, wrong, _ = judged(table, 0.5)
        order = np.argsort(-table.score, kind="stable")
        good, bad = np.cumsum(right[order]), np.cumsum(wrong[order])
        if not len(order):
            return 1.0
        f1 = 2 * good / np.maximum(good + bad + int((~table.t_ignored).sum()), 1)
        return float(table.score[order][int(f1.argmax())])

    @cached_property
    def mistakes(self) -> Mapping[str, int]:
        """How many mistakes of each kind there are among detections from `score` on, and how many boxes are missed."""
        return mistakes(self.found, self.truth, least_score=self.score)

    @cached_property
    def class_table(self) -> list[dict[str, Any]]:
        """Of each class: name, boxes to be found, ap50 and ap, precision and recall from `score` on, and mask_ap or
        keypoint_ap of a detector that gives these: in %, None where there is nothing to compute from."""
        return [self._row(k) for k in range(len(self.classes))]

    def _row(self, k: int) -> dict[str, Any]:
        curve = self.curves[k]
        count = int((curve.scores >= self.score).sum())
        there = curve.wanted > 0
        return {
            "name": self.classes[k],
            "boxes": curve.wanted,
            "ap50": 100 * curve.ap if there else None,
            "ap": 100 * self.coco.per_class[k] if there else None,
            "precision": 100 * float(curve.precision[count - 1]) if count else None,
            "recall": (100 * float(curve.recall[count - 1]) if count else 0.0) if there else None,
            **{f"{name}_ap": _known(figures.per_class[k]) for name, figures in self.shapes.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values, null where there was nothing to compute from; COCO's numbers in %."""
        return super().as_json() | {
            "coco": _in_percent(self.coco),
            **{f"{name}_coco": _in_percent(figures) for name, figures in self.shapes.items()},
            "score": self.score,
            "mistakes": dict(self.mistakes),
            "classes": self.class_table,
        }

    def text(self) -> str:
        """Figures, the classes by name, the kinds of mistakes."""
        lines = [f"{self.model} ({self.checkpoint}) on {self.data}, {self.split} split: {self.images:,} images", ""]
        width = max(map(len, self.metrics))
        lines += [f"{name.replace('_', ' '):<{width + 1}} {value:6.2f} %" for name, value in self.metrics.items()]
        longest = max(5, *(len(name) for name in self.classes))
        heads = "".join(f"  {name + ' AP':>{_WIDE}}" for name in self.shapes)
        lines += ["", f"{'class':<{longest}}    AP50      AP  precision  recall   boxes{heads}"]
        for row in self.class_table:
            ap50, ap, precision, recall = (_percent(row[key]) for key in ("ap50", "ap", "precision", "recall"))
            more = "".join(f"  {_percent(row[f'{name}_ap']):>{_WIDE}}" for name in self.shapes)
            lines.append(
                f"{row['name']:<{longest}}  {ap50:>6}  {ap:>6}  {precision:>9}  {recall:>6}  {row['boxes']:>6,}{more}"
            )
        told = ", ".join(f"{count:,} {kind}" for kind, count in self.mistakes.items())
        lines += ["", f"at a score of {self.score:.2f} (best F1): {told}"]
        lines += [f"not read: {file}: {reason}" for file, reason in self.skipped]
        return "\n".join([*lines, *([self.note] if self.note else [])])


def box_evaluation(measured: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> BoxEvaluation:
    """What protocols, by name, found of a detector; `about` has the other fields."""
    first = next(iter(measured.values()))
    metrics = {
        key if values is first else f"{name}/{key}": value
        for name, values in measured.items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    return BoxEvaluation(**about, metrics=metrics, found=tuple(first["found"]), truth=tuple(first["truth"]))


def save_boxes(folder: Path, evaluation: BoxEvaluation) -> None:
    """Write an evaluation into a run's folder: figures, and all detections beside what is there."""
    arrays = {f"found_{key}": value for key, value in _flat(evaluation.found, _FOUND).items()}
    arrays |= {f"truth_{key}": value for key, value in _flat(evaluation.truth, _TRUTH).items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, names=np.array(evaluation.names), **arrays)
    replace_file(folder / PREDICTIONS, buffer.getvalue())
    replace_file(folder / FIGURES, (json.dumps(evaluation.as_json(), indent=1) + "\n").encode())


def load_box_evaluation(folder: Path) -> BoxEvaluation | None:
    """What was written into a run's folder, or None when its held-out split was not evaluated yet."""
    if not (folder / FIGURES).exists():
        return None
    try:
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        with np.load(folder / PREDICTIONS, allow_pickle=False) as saved:
            arrays = {key: saved[key] for key in saved.files}
        return BoxEvaluation(
            **{name: figures[name] for name in ("run", "model", "checkpoint", "data", "split", "metrics", "note")},
            classes=tuple(row["name"] for row in figures["classes"]),
            skipped=tuple((row["file"], row["reason"]) for row in figures["skipped"]),
            found=tuple(Found(*parts) for parts in _each(arrays, "found", _FOUND)),
            truth=tuple(Truth(*parts) for parts in _each(arrays, "truth", _TRUTH)),
            names=tuple(str(name) for name in arrays["names"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise FovealError(
            f"{folder / FIGURES} or {PREDICTIONS} beside it is damaged or missing",
            f"measure again: foveal evaluate {folder}",
        ) from error


def _flat(records: Sequence[Any], keys: Sequence[str]) -> dict[str, Any]:
    """The records of all images as one array each key, and `counts` of each image; keys that none has are left out."""
    counts = np.array([len(record.labels) for record in records])
    known = [key for key in keys if all(getattr(record, key) is not None for record in records)]
    joined = {key: torch.cat([getattr(record, key) for record in records]).numpy() for key in known if key != "masks"}
    if "masks" in known:
        masks = [mask for record in records for mask in record.masks]
        joined["mask_sizes"] = np.array([(mask.height, mask.width, len(mask.counts)) for mask in masks]).reshape(-1, 3)
        joined["mask_runs"] = np.concatenate([np.zeros(0, np.int64), *(mask.counts for mask in masks)])
    return {"counts": counts, **joined}


def _each(arrays: Mapping[str, Any], kind: str, keys: Sequence[str]) -> list[list[Any]]:
    """What `_flat` put together, image by image; None for a key that was left out."""
    counts = arrays[f"{kind}_counts"]
    places = np.cumsum(counts)[:-1]
    columns: list[Sequence[Any]] = [
        _masks(arrays, kind, counts)
        if key == "masks" and f"{kind}_mask_runs" in arrays
        else [torch.from_numpy(part) for part in np.split(arrays[f"{kind}_{key}"], places)]
        if f"{kind}_{key}" in arrays
        else [None] * len(counts)
        for key in keys
    ]
    return [list(parts) for parts in zip(*columns, strict=True)]


def _masks(arrays: Mapping[str, Any], kind: str, counts: Any) -> list[tuple[Runs, ...]]:
    """The masks of each image, of which there are `counts`."""
    sizes = arrays[f"{kind}_mask_sizes"]
    runs = np.split(arrays[f"{kind}_mask_runs"], np.cumsum(sizes[:, 2])[:-1]) if len(sizes) else []
    masks = iter([Runs(own, int(h), int(w)) for own, (h, w, _) in zip(runs, sizes, strict=True)])
    return [tuple(next(masks) for _ in range(count)) for count in counts.tolist()]


def _in_percent(figures: CocoFigures) -> dict[str, float | None]:
    """COCO's numbers, None where nothing is to be found."""
    return {name: None if value < 0 else 100 * value for name, value in figures.figures.items()}


def _known(share: float) -> float | None:
    """A share in %, None for NaN."""
    return None if math.isnan(share) else 100 * share


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
