"""Images with boxes: what a detector learns from. Masks, keypoints and flags come along where a format has them."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal.data.dataset import VisionSet
from foveal.data.image import load_image, verify
from foveal.data.outlines import Outline, Runs, rasterised
from foveal.data.pose import Pose
from foveal.errors import FovealError


class Fault(NamedTuple):
    """Something wrong with an annotation: a fixed word, how bad, where and what, and the mend.

    An error stops training; of a warning's object what can be used is used (a box is cut), or it is left out.
    """

    kind: str
    severity: Literal["error", "warning"]
    where: str
    mend: str


@dataclass(frozen=True)
class Objects:
    """The K objects of one image.

    boxes float32 [K, 4] (x1, y1, x2, y2 in pixels, within the image), labels int64 [K], difficult and crowd bool [K]
    (VOC's and COCO's flags: not counted in evaluation), area float32 [K] in square pixels (of the mask, if known),
    `outlines` their masks, None where there is none, `ids` what the file calls them, keypoints float32 [K, J, 3]
    (x, y in pixels, and 0 not given, 1 hidden, 2 visible); J is 0 in a set without a pose.
    """

    boxes: Tensor
    labels: Tensor
    difficult: Tensor
    crowd: Tensor
    area: Tensor
    outlines: tuple[Outline | None, ...]
    ids: tuple[str, ...]
    keypoints: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, which: Sequence[int]) -> Objects:
        """The objects at these places."""
        index = torch.tensor(list(which), dtype=torch.int64)
        chosen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            chosen[field.name] = value[index] if isinstance(value, Tensor) else tuple(value[i] for i in which)
        return Objects(**chosen)


class BoxSet(VisionSet):
    """Images in files with objects in boxes: `set[i]` is (uint8 image [C, H, W], target).

    A target has `boxes` (tv_tensors.BoundingBoxes, XYXY, float32 [K, 4] in pixels), `labels` int64 [K], `difficult` and
    `crowd` bool [K], `area` float32 [K]; with `masks=True` also `masks` (tv_tensors.Mask, bool [K, H, W]), drawn from
    polygons or run lengths when asked for; objects without either have their box. Where the set has a `pose`, also
    `keypoints` (tv_tensors.KeyPoints, float32 [K, J, 2], x and y in pixels) and `visible` uint8 [K, J] (0 not given,
    1 hidden, 2 visible). sizes: width and height of each image as its annotation has them. `faults`: what is wrong with
    the annotations; an error among them stops `settled`.
    """

    task: ClassVar[str] = "detect"

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        objects: Sequence[Objects],
        sizes: Sequence[tuple[int, int]],
        classes: Sequence[str],
        split: str,
        *,
        faults: Sequence[Fault] = (),
        masks: bool = False,
        pose: Pose | None = None,
    ) -> None:
        super().__init__(classes, split)
        if not len(paths) == len(objects) == len(sizes):
            raise ValueError(f"{len(paths)} images, {len(objects)} annotations, {len(sizes)} sizes")
        self.paths = tuple(os.fspath(path) for path in paths)
        self.objects, self.sizes, self.faults = tuple(objects), tuple(sizes), tuple(faults)
        self.masks, self.pose = masks, pose

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, i: int, min_side: int | None = None) -> Tensor:
        """Image i as uint8 [C, H, W]. Raises ImageDecodeError, and FovealError for a size that is not as annotated."""
        image = load_image(self.paths[i], mode=None, min_side=min_side)
        if min_side is None:
            self._check_size(i, image)
        return image

    def target(self, i: int) -> dict[str, Any]:
        """Boxes and what belongs to them; see the class."""
        found = self.objects[i]
        width, height = self.sizes[i]
        boxes: Any = tv_tensors.BoundingBoxes
        target = {
            "boxes": boxes(found.boxes, format="XYXY", canvas_size=(height, width)),
            "labels": found.labels,
            "difficult": found.difficult,
            "crowd": found.crowd,
            "area": found.area,
        }
        if self.masks:
            drawn = [rasterised(*pair, height, width) for pair in zip(found.outlines, found.boxes, strict=True)]
            stacked = torch.stack(drawn) if drawn else torch.zeros(0, height, width, dtype=torch.bool)
            target["masks"] = tv_tensors.Mask(stacked)
        if self.pose is not None:
            points: Any = tv_tensors.KeyPoints
            target["keypoints"] = points(found.keypoints[..., :2], canvas_size=(height, width))
            target["visible"] = found.keypoints[..., 2].to(torch.uint8)
        return target

    def with_masks(self) -> Self:
        """The same images, whose targets hold masks."""
        return self._changed(range(len(self)), masks=True)

    def check_outlines(self, other: str) -> None:
        """Raise FovealError, naming image and object, where one has a box and no outline; `other`: what else to do."""
        for i, found in enumerate(self.objects):
            bare = next((n for n, outline in enumerate(found.outlines) if outline is None), None)
            if bare is not None:
                raise FovealError(
                    f"{self.name(i)}: object {found.ids[bare]} has a box and no outline, so nothing says its pixels",
                    f"draw its polygon, or {other}",
                )

    def with_objects(self, objects: Sequence[Objects]) -> Self:
        """The same images with other objects."""
        chosen = self._changed(range(len(self)))
        chosen.objects = tuple(objects)
        return chosen

    def verify(self, i: int) -> str | None:
        """Why image i cannot be read, or None. Raises FovealError when its size is not as annotated."""
        reason = verify(self.paths[i])
        if reason is None:
            self._check_size(i, load_image(self.paths[i], mode=None))
        return reason

    def name(self, i: int) -> str:
        """The image's path."""
        return self.paths[i]

    def select(self, indices: Sequence[int] | Tensor, split: str | None = None) -> Self:
        """The images at `indices` with their objects."""
        return self._changed(torch.as_tensor(indices, dtype=torch.int64).tolist(), split=split)

    @property
    def strata(self) -> Tensor:
        """Zeros: a cut is random."""
        return torch.zeros(len(self), dtype=torch.int64)

    @property
    def counts(self) -> Tensor:
        """Objects of each class: int64 [classes]."""
        labels = torch.cat([found.labels for found in self.objects]) if self.objects else torch.zeros(0)
        return torch.bincount(labels.long(), minlength=len(self.classes))

    def signature(self) -> bytes:
        """A digest of all boxes, labels, flags, outlines and keypoints."""
        digest = hashlib.sha256()
        for found in self.objects:
            for values in (found.boxes, found.labels, found.difficult, found.crowd, found.keypoints):
                digest.update(values.numpy().tobytes())
            for outline in found.outlines:
                for part in (outline.counts,) if isinstance(outline, Runs) else outline or ():
                    digest.update(part.tobytes())
            digest.update(b";")
        return digest.digest()

    def settled(self) -> Self:
        """The set itself, if no fault is an error: then the first is raised. Warnings are given as one, naming some."""
        errors = [fault for fault in self.faults if fault.severity == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more faults: `foveal data` lists them)" if len(errors) > 1 else ""
            raise FovealError(errors[0].where + more, errors[0].mend)
        if self.faults:
            some = "; ".join(fault.where for fault in self.faults[:3])
            more = f"; and {len(self.faults) - 3} more" if len(self.faults) > 3 else ""
            warnings.warn(f"{self.split}: {some}{more} (`foveal data` lists them)", stacklevel=3)
        return self

    def _changed(self, index: Sequence[int], split: str | None = None, masks: bool | None = None) -> Self:
        return type(self)(
            [self.paths[i] for i in index],
            [self.objects[i] for i in index],
            [self.sizes[i] for i in index],
            self.classes,
            split or self.split,
            faults=self.faults,
            masks=self.masks if masks is None else masks,
            pose=self.pose,
        )

    def _check_size(self, i: int, image: Tensor) -> None:
        width, height = self.sizes[i]
        if tuple(image.shape[-2:]) != (height, width):
            raise FovealError(
                f"{self.paths[i]}: the image is {image.shape[2]} x {image.shape[1]}, its annotation says "
                f"{width} x {height}",
                "boxes are in pixels of the image as it is seen, EXIF rotation included: mend one of the two",
            )
