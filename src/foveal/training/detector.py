"""A trained detector as the protocols see it: an image in, boxes in its own pixels out."""

from __future__ import annotations

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
        found = self(self.prepare(image)[None])[0]
        return {**found, "boxes": self.frame(*image.shape[-2:]).boxes(found["boxes"])}
