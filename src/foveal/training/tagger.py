"""A trained network for tags as the protocols see it."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.tasks import tag
from foveal.training.trained import Trained


class Tagger(Trained):
    """A trained tagger: prepared uint8 images [B, C, H, W] in, float32 scores [B, classes] out, on the CPU."""

    def __call__(self, images: Tensor) -> Tensor:
        """Scores; the higher, the likelier the class is there."""
        return torch.cat(self._in_parts(self.model, lambda part: tag.predict(self.model, part).cpu(), images))
