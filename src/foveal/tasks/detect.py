"""Detection: boxes with a class each. What is minimised, and what is predicted.

A detector separates what it computes, what it learns and what it says: `forward(images)` gives its raw answer,
`losses(images, targets)` the loss terms, `detect(images)` the boxes, always of the same types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from foveal.data.boxset import BoxSet
from foveal.data.dataset import VisionSet
from foveal.errors import FovealError
from foveal.tasks.base import Task

Detections = dict[str, Tensor]  # boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K]; see `predict`
_PARTS = ("losses", "detect")
_OF_IMAGES = ("proposals",)  # what targets hold that is not of the objects


def losses(model: nn.Module, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The loss terms of a batch by name, as the detector's own `losses(images, targets)` gives them.

    `images` are normalised, float [B, C, H, W]; `targets` one dictionary an image: `boxes` float32 [K, 4]
    (x1, y1, x2, y2 in pixels of the image), `labels` int64 [K] from 0 on; `proposals` float32 [P, 4] for a detector
    that is told where to look. Regions of a crowd, where `crowd` bool [K] is true, teach nothing: they are no object.
    """
    detector: Any = model
    terms: dict[str, Tensor] = detector.losses(images, [_single(target) for target in targets])
    return terms


def _single(target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The target without regions of a crowd."""
    if "crowd" not in target or not bool(target["crowd"].any()):
        return target
    kept = ~target["crowd"]
    return {key: value if key in _OF_IMAGES else value[kept] for key, value in target.items()}


def predict(model: nn.Module, images: Tensor, proposals: Sequence[Tensor] | None = None) -> list[Detections]:
    """What the detector finds on normalised images [B, C, H, W], an entry for each: boxes in pixels, best first.

    proposals: of each image the windows [P, 4] to look at, for a detector that takes them. Some detectors also give
    `masks`, float32 [K, m, m] in 0 … 1, over each box, or `keypoints`, float32 [K, J, 3]: x, y in pixels, and how
    probable that place is.
    """
    detector: Any = model
    found: list[Detections] = detector.detect(images) if proposals is None else detector.detect(images, proposals)
    return found


def with_targets(images: VisionSet, model: nn.Module) -> VisionSet:
    """The set with what the network learns from and is compared with besides boxes: its `targets`, "masks" or
    "keypoints".

    Raises FovealError for a set that has not all of that: an object without outline, other keypoints than the
    network's.
    """
    wanted: tuple[str, ...] = getattr(model, "targets", ())
    if not isinstance(images, BoxSet):
        return images
    if "keypoints" in wanted:
        _check_pose(images, model)
    if "masks" not in wanted:
        return images
    images.check_outlines("train a detector of boxes on these data")
    return images.with_masks()


def _check_pose(images: BoxSet, model: nn.Module) -> None:
    name, count = type(model).__name__, getattr(model, "keypoints", 0)
    if images.pose is None:
        raise FovealError(
            f"{images.name(0)}: its objects have no keypoints, and {name} learns from them",
            "give data with keypoints (COCO's person_keypoints files have some), or train a detector of boxes",
        )
    names = images.pose.names
    if len(names) != count:
        raise FovealError(
            f"the objects have {len(names)} keypoints ({', '.join(names[:3])}, …), the network {count}",
            f"set options.keypoints={len(names)}",
        )
    if not any(bool((found.keypoints[..., 2] > 0).any()) for found in images.objects):
        raise FovealError(
            f"none of the {len(images):,} {images.split} images has an object with a keypoint that is given",
            "is it the right file? COCO's are called person_keypoints_…",
        )


def check(model: nn.Module, output: tuple[int, ...] | None, classes: int, input: tuple[int, int, int]) -> None:
    """Raise FovealError for a network without `losses` and `detect`."""
    missing = [part for part in _PARTS if not callable(getattr(model, part, None))]
    if missing:
        raise FovealError(
            f"{type(model).__name__} has no {' and no '.join(missing)}",
            "a detector has losses(images, targets) and detect(images) besides forward",
        )


TASK = Task("detect", losses, check, protocol="detections", figure="ap50", label="AP50", falls=False)
