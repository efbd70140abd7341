"""What a classifier sees in pictures: the most probable classes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foveal.prediction.files import viewer
from foveal.protocols._ahead import ahead
from foveal.protocols._views import centre
from foveal.training.recogniser import Recogniser
from foveal.types import Predictor


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one file, best first, or the reason why it could not be read."""

    file: str
    classes: tuple[tuple[str, float], ...]  # (name, probability in 0..1)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values: file and either its classes with probabilities or the error."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file, "classes": [{"name": name, "probability": p} for name, p in self.classes]}

    def text(self) -> str:
        """One line for the terminal."""
        if self.error is not None:
            return f"{self.file}: not read: {self.error}"
        return f"{self.file}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in self.classes)


def predict_classes(
    predictor: Recogniser, paths: Sequence[str], top: int = 5, *, strict: bool = False, batch_size: int = 64
) -> Iterator[Prediction]:
    """One Prediction per file, in order, with its `top` classes.

    Pictures are decoded in threads and classified in batches; of each the network is shown the centre. With `strict`
    raises FovealError for a file that cannot be read.
    """
    least = predictor.pipeline.min_side(train=False)
    view = viewer(lambda image, path: centre(predictor, image, path), strict, least)
    done = 0
    for views in ahead(paths, view, batch_size):
        yield from _predictions(predictor, paths[done : done + len(views)], views, top)
        done += len(views)


def _predictions(
    predictor: Predictor, paths: Sequence[str], views: Sequence[Tensor | str], top: int
) -> list[Prediction]:
    readable = [view for view in views if isinstance(view, Tensor)]
    best = iter(_best(predictor, torch.stack(readable), top) if readable else ())
    return [
        Prediction(path, (), view) if isinstance(view, str) else Prediction(path, next(best))
        for path, view in zip(paths, views, strict=True)
    ]


def _best(predictor: Predictor, images: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
    probabilities, classes = predictor(images).float().cpu().sort(dim=1, descending=True, stable=True)
    return [
        tuple((predictor.classes[c], p) for c, p in zip(c_row, p_row, strict=True))
        for c_row, p_row in zip(classes[:, :top].tolist(), probabilities[:, :top].tolist(), strict=True)
    ]
