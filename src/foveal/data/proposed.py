"""Windows that come with an image, for detectors that are told where to look: they move where the image moves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

NAME = "proposals"  # in a target, beside its boxes: tv_tensors.BoundingBoxes [P, 4], of another number


def proposed(windows: Tensor, image: Tensor) -> Any:
    """Windows [P, 4] (x1, y1, x2, y2 in pixels) of an image [C, H, W] as transforms take them."""
    boxes: Any = tv_tensors.BoundingBoxes
    return boxes(windows, format="XYXY", canvas_size=tuple(image.shape[-2:]))


def as_points(target: Any, step: v2.Transform) -> Any:
    """A target whose windows are their four corners, for torchvision's one step that chooses among objects and would
    take windows for more of them. (For others they stay boxes: a mirror moves points by a pixel less.)"""
    if not isinstance(target, dict) or NAME not in target or not isinstance(step, v2.RandomIoUCrop):
        return target
    boxes = target[NAME]
    points: Any = tv_tensors.KeyPoints
    corners = boxes.as_subclass(Tensor)[:, [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(1, (4, 2))
    return {**target, NAME: points(corners, canvas_size=boxes.canvas_size)}


def as_boxes(target: Any) -> Any:
    """A target with the upright windows around such corners."""
    if not isinstance(target, dict) or not isinstance(target.get(NAME), tv_tensors.KeyPoints):
        return target
    points = target[NAME]
    corners = points.as_subclass(Tensor)
    windows = torch.cat((corners.amin(1), corners.amax(1)), 1)
    boxes: Any = tv_tensors.BoundingBoxes
    return {**target, NAME: boxes(windows, format="XYXY", canvas_size=points.canvas_size)}
