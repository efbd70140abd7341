"""A trained network for segmentation as the protocols see it: an image in, the class of every pixel out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from foveal.tasks import segment
from foveal.training.trained import Trained


class Segmenter(Trained):
    """A trained segmenter: prepared uint8 images [B, C, H, W] in, float32 probabilities [B, classes, h, w] out, on the
    CPU. `probabilities` and `labels` take one decoded image and answer in its own pixels."""

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities of the pixels of prepared images; of their centre, where the convolutions are valid."""
        return torch.cat(self._in_parts(self.model, lambda part: segment.predict(self.model, part).cpu(), images))

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities at every pixel of a decoded image: uint8 [C, H, W] of any size → float32 [classes, H, W].

        The prepared image's are brought back to its size, bilinear; beyond them the nearest counts.
        """
        found = self(self.prepare(image)[None])
        height, width = image.shape[-2:]
        if found.shape[-2:] == image.shape[-2:]:
            return found[0]
        grid = self.frame(height, width).grid(*found.shape[-2:])
        return grid_sample(found, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]

    def labels(self, image: Tensor) -> Tensor:
        """The most probable class of every pixel of a decoded image: uint8 [C, H, W] → uint8 [H, W]."""
        return self.probabilities(image).argmax(0).to(torch.uint8)
