"""A trained detector as the protocols see it: an image in, boxes in its own pixels out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.tasks import detect
from foveal.training.trained import Trained


class Detector(Trained):
    """A trained detector: prepared uint8 images [B, C, H, W] in, an entry of `boxes`, `scores` and `labels` for each
    out, on the CPU, boxes in the prepared images' pixels. `find` takes decoded images and answers in their own."""

    def __call__(self, images: Tensor) -> list[detect.Detections]:
        """What is found on prepared images: boxes float32 [K, 4], scores float32 [K] falling, labels int64 [K]."""
        parts = self._in_parts(self.model, lambda part: detect.predict(self.model, part), images)
        return [{key: value.cpu() for key, value in one.items()} for part in parts for one in part]

    def find(self, image: Tensor) -> detect.Detections:
        """What is found on a decoded image, uint8 [C, H, W] of any size, in its own pixels."""
        return self.located([self.prepare(image)], [(image.shape[-2], image.shape[-1])])[0]

    def located(self, prepared: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[detect.Detections]:
        """What is found on prepared images, uint8 [C, H, W] each, in the pixels of their originals of `sizes` (height,
        width). Those that have one size when they are prepared are looked at together."""
        places: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(prepared):
            places.setdefault(tuple(image.shape), []).append(place)
        found: dict[int, detect.Detections] = {}
        for alike in places.values():
            for place, one in zip(alike, self(torch.stack([prepared[place] for place in alike])), strict=True):
                found[place] = {**one, "boxes": self.frame(*sizes[place]).boxes(one["boxes"])}
        return [found[place] for place in range(len(prepared))]
