"""A trained detector as the protocols see it: an image in, boxes in its own pixels out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal.boxes.pasting import pasted
from foveal.data.dataset import VisionSet
from foveal.data.frame import Frame
from foveal.data.outlines import Runs, encoded
from foveal.data.searched import search_ahead
from foveal.proposals.search import Remembered, Search
from foveal.tasks import detect
from foveal.training.trained import Trained

PROPOSALS = "proposals"  # in a run's folder
Located = dict[str, Any]  # Detections, whose masks are a tuple of `Runs` of the image's size


class Detector(Trained):
    """A trained detector: prepared uint8 images [B, C, H, W] in, an entry of `boxes`, `scores` and `labels` for each
    out, on the CPU, boxes in the prepared images' pixels. `find` takes decoded images and answers in their own.

    A detector that is told where to look has a `search`, which is asked for windows of the prepared images.
    """

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.search = searching(self.model)

    def remember(self, folder: Path, images: VisionSet) -> None:
        """Keep windows in a run's folder, so that no image is searched twice, and look for those of a set ahead."""
        self.search = searching(self.model, folder)
        if isinstance(self.search, Remembered):
            search_ahead(images, self.pipeline, self.search, train=False, workers=self.recipe.workers)

    def __call__(self, images: Tensor) -> list[detect.Detections]:
        """What is found on prepared images: boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K]; masks
        over boxes or keypoints, see `tasks.detect.predict`."""
        search = self.search
        windows = None if search is None else iter([search(image) for image in images])

        def answer(part: Tensor) -> list[detect.Detections]:
            own = None if windows is None else [one.to(part.device) for one in islice(windows, len(part))]
            return detect.predict(self.model, part, own)

        parts = self._in_parts(self.model, answer, images)
        return [{key: value.cpu() for key, value in one.items()} for part in parts for one in part]

    def find(self, image: Tensor) -> Located:
        """What is found on a decoded image, uint8 [C, H, W] of any size, in its own pixels: `boxes`, `scores` and
        `labels`; of some networks K `masks` as run lengths, of which `.mask()` is bool [H, W], or `keypoints`, float32
        [K, J, 3] (x, y, and how probable that place is)."""
        return self.located([self.prepare(image)], [(image.shape[-2], image.shape[-1])])[0]

    def located(self, prepared: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Located]:
        """What is found on prepared images, uint8 [C, H, W] each, in the pixels of their originals of `sizes` (height,
        width). Those that have one size when they are prepared are looked at together."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(prepared):
            places.setdefault(tuple(image.shape), []).append(place)
        found: dict[int, Located] = {}
        for alike in places.values():
            for place, one in zip(alike, self(torch.stack([prepared[place] for place in alike])), strict=True):
                found[place] = _back(one, self.frame(*sizes[place]))
        return [found[place] for place in range(len(prepared))]


def _back(one: detect.Detections, frame: Frame) -> Located:
    """What was found on a prepared image, in the pixels of the original."""
    there: Located = {**one, "boxes": frame.boxes(one["boxes"])}
    if "masks" in one:
        boxes = frame.points(one["boxes"].reshape(-1, 2, 2)).flatten(1)  # not cut: masks lie over whole boxes
        there["masks"] = tuple(_painted(*pair, frame) for pair in zip(one["masks"], boxes, strict=True))
    if "keypoints" in one:
        points = one["keypoints"]
        there["keypoints"] = torch.cat((frame.within(points[..., :2]), points[..., 2:]), -1)
    return there


def _painted(mask: Tensor, box: Tensor, frame: Frame) -> Runs:
    """A mask over a box, float32 [m, m] and [4], as run lengths; only pixels of the box are looked at."""
    left, top = box[:2].floor().long().clamp(min=0).tolist()
    right, bottom = box[2:].ceil().long().tolist()
    height, width = max(0, min(bottom, frame.height) - top), max(0, min(right, frame.width) - left)
    moved = box - box.new_tensor((left, top, left, top))
    inside = pasted(mask[None], moved[None], height, width)[0] >= 0.5
    return encoded(inside, frame.height, frame.width, (top, left))


def searching(model: nn.Module, folder: Path | None = None) -> Callable[[Tensor], Tensor] | None:
    """What finds the windows that a detector wants to be given, images uint8 [3, H, W] → float32 [P, 4]: its `search`,
    which with the `folder` of a run remembers; None for a detector that wants none."""
    search: Callable[[Tensor], Tensor] | None = getattr(model, "search", None)
    if not isinstance(search, Search) or folder is None:
        return search
    return Remembered(search, folder / PROPOSALS)
