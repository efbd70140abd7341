"""Detection: boxes with a class each. What is minimised, and what is predicted.

A detector separates what it computes, what it learns and what it says: `forward(images)` gives its raw answer,
`losses(images, targets)` the loss terms, `detect(images)` the boxes, always of the same types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks.base import Task

Detections = dict[str, Tensor]  # boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K]; perhaps masks
_PARTS = ("losses", "detect")


def losses(model: nn.Module, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The loss terms of a batch by name, as the detector's own `losses(images, targets)` gives them.

    `images` are normalised, float [B, C, H, W]; `targets` one dictionary an image: `boxes` float32 [K, 4]
    (x1, y1, x2, y2 in pixels of the image), `labels` int64 [K] from 0 on; `proposals` float32 [P, 4] for a detector
    that is told where to look.
    """
    detector: Any = model
    terms: dict[str, Tensor] = detector.losses(images, targets)
    return terms


def predict(model: nn.Module, images: Tensor, proposals: Sequence[Tensor] | None = None) -> list[Detections]:
    """What the detector finds on normalised images [B, C, H, W], an entry for each: boxes in pixels, best first.

    proposals: of each image the windows [P, 4] to look at, for a detector that takes them.
    """
    detector: Any = model
    found: list[Detections] = detector.detect(images) if proposals is None else detector.detect(images, proposals)
    return found


def check(model: nn.Module, output: tuple[int, ...] | None, classes: int, input: tuple[int, int, int]) -> None:
    """Raise FovealError for a network without `losses` and `detect`."""
    missing = [part for part in _PARTS if not callable(getattr(model, part, None))]
    if missing:
        raise FovealError(
            f"{type(model).__name__} has no {' and no '.join(missing)}",
            "a detector has losses(images, targets) and detect(images) besides forward",
        )


TASK = Task("detect", losses, check, protocol="detections", figure="ap50", label="AP50", falls=False)
