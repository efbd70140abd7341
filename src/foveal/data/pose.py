"""Keypoints of objects: what they are called, what joins them, and how they go where their image goes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal.errors import FovealError

_SIDED = re.compile(r"left|Left|LEFT|right|Right|RIGHT|(?<![A-Za-z])[lrLR](?![a-z])")
_OTHER = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OTHER |= {right: left for left, right in _OTHER.items()}
_PROBE = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))  # pixels from the image's centre


@dataclass(frozen=True)
class Pose:
    """The keypoints that every object of a set has: their names, and the places in `names` that lines join.

    swaps: the place that each takes in a mirror image, where a file tells it; () where nothing does, names neither.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    swaps: tuple[int, ...] | None = None

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """The place that each keypoint takes in a mirror image: left_eye (left eye, l_eye, LEye) is right_eye there.

        Raises FovealError for a name with a side whose other side is not there, and where nothing tells.
        """
        if self.swaps == ():
            raise FovealError(
                "nothing says which keypoints change places in a mirror image",
                "add flip_idx to data.yaml, or take flip out of augment",
            )
        if self.swaps:
            return self.swaps
        alone = next((pair for pair in zip(self.names, self.others, strict=True) if pair[1] not in self.names), None)
        if alone:
            raise FovealError(
                f"the keypoint '{alone[0]}' has no '{alone[1]}' to change places with in a mirror image",
                "name both sides alike, or take flip out of augment",
            )
        return tuple(map(self.names.index, self.others))

    @property
    def others(self) -> tuple[str, ...]:
        """What each keypoint is called in a mirror image, whether there is one of that name or not."""
        return tuple(_SIDED.sub(lambda found: _OTHER[found[0]], name) for name in self.names)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        swaps = None if self.swaps is None else list(self.swaps)
        return {"names": list(self.names), "edges": [list(edge) for edge in self.edges], "swaps": swaps}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Pose:
        """What `as_json` gave."""
        swaps = None if values["swaps"] is None else tuple(map(int, values["swaps"]))
        return cls(tuple(map(str, values["names"])), tuple((int(a), int(b)) for a, b in values["edges"]), swaps)


def swapped(where: str, places: Sequence[float], count: int) -> tuple[int, ...]:
    """The places of `count` keypoints in a mirror image as a file tells them, none or all. FovealError for others."""
    if places and sorted(places) != list(range(count)):
        raise FovealError(f"{where}: flip_idx is no order of the numbers 0 to {count - 1}", "mend the list")
    return tuple(map(int, places))


def joined(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A target as losses and metrics take it: plain tensors, `keypoints` float32 [K, J, 3] with their visibility."""
    plain = {key: value.as_subclass(Tensor) for key, value in target.items()}
    if "visible" in plain:
        visible = plain.pop("visible")
        plain["keypoints"] = torch.cat((plain["keypoints"], visible[..., None].float()), -1)
    return plain


def probed(target: dict[str, Any]) -> dict[str, Any]:
    """A target whose keypoints can be sent through a step: [K, J, 2] in a row, with three points more behind them that
    will tell whether the step mirrors."""
    points = target["keypoints"]
    height, width = points.canvas_size
    probe = torch.tensor(_PROBE) + torch.tensor((width / 2, height / 2))
    row = torch.cat((points.as_subclass(Tensor).reshape(-1, 2), probe))
    return {**target, "keypoints": tv_tensors.wrap(row, like=points)}


def settled(target: dict[str, Any], pose: Pose) -> tuple[dict[str, Any], bool]:
    """A probed target after a step, and whether the step mirrored.

    Keypoints that have left the image are no longer given, for good; in a mirror image left and right change places.
    """
    row, visible = target["keypoints"], target["visible"]
    height, width = row.canvas_size
    plain = row.as_subclass(Tensor)
    points, (origin, right, down) = plain[:-3].reshape(*visible.shape, 2), plain[-3:]
    (a, b), (c, d) = (right - origin).tolist(), (down - origin).tolist()
    inside = ((points >= 0) & (points <= torch.tensor((width, height)))).all(-1)
    visible = visible * inside
    mirrors = a * d - b * c < 0
    if mirrors:
        order = list(pose.mirrored)
        points, visible = points[:, order], visible[:, order]
    points = torch.where(visible[..., None] > 0, points, 0.0)
    return {**target, "keypoints": tv_tensors.wrap(points, like=row), "visible": visible}, mirrors
