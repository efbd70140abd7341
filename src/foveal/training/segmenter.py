"""A trained network for segmentation as the protocols see it: an image in, the class of every pixel out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from foveal.errors import FovealError
from foveal.tasks import segment
from foveal.training.tiles import Locality, Span, Tiling, assembled, locality, tiling
from foveal.training.trained import Trained

Progress = Callable[[int, int], None]
_BAND = 1 << 18  # pixels of an image whose classes are found together
_MORE = 4  # times the pixels of a training batch are taken at once: no map is kept for a backward pass


class Segmenter(Trained):
    """A trained segmenter: prepared uint8 images [B, C, H, W] in, float32 probabilities [B, classes, h, w] out, on the
    CPU. `probabilities` and `labels` take one decoded image and answer in its own pixels.

    Prepared images with a side above `tile` pixels go tile by tile (see `tiles`), so that memory is bounded by `tile`.
    """

    tile: int = 0  # pixels; 0: from the size of a training batch

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities of the pixels of prepared images; of their centre, where the convolutions are valid."""
        if self.tiles(*images.shape[-2:]).seams == "none":
            return torch.cat(self._in_parts(self.model, lambda part: segment.predict(self.model, part).cpu(), images))
        return torch.stack([torch.cat(list(self.strips(image)), 1) for image in images])

    def tiles(self, height: int, width: int) -> Tiling:
        """How a prepared image of `height` x `width` is cut. FovealError where `tile` asks for tiles of a network that
        answers for their centre alone."""
        side = self.tile or self._side
        small = height <= side and width <= side
        if self.tile and not small and not self._whole:
            raise FovealError(
                f"tile={self.tile}: the network's convolutions do not pad, so that tiles would leave gaps",
                "leave it away, and each image is taken whole; U-Net has the same weights with borders=mirror",
            )
        if small or not self._whole:
            return Tiling(((0, height),), ((0, width),), 0, "none")
        return tiling(height, width, side, self._locality)

    def strips(self, prepared: Tensor, progress: Progress | None = None) -> Iterator[Tensor]:
        """Probabilities of a prepared image, uint8 [C, H, W], from top to bottom: float32 [classes, h, W].

        `progress` is called with (tiles done, all tiles).
        """

        def answer(rows: Span, columns: Span) -> Tensor:
            part = prepared[None, :, slice(*rows), slice(*columns)]
            return self._in_parts(self.model, lambda one: segment.predict(self.model, one).cpu(), part)[0][0]

        plan = self.tiles(*prepared.shape[-2:])
        yield from [answer(*plan.rows, *plan.columns)] if plan.seams == "none" else assembled(plan, answer, progress)

    def probabilities(self, image: Tensor) -> Tensor:
        """Probabilities at every pixel of a decoded image: uint8 [C, H, W] of any size → float32 [classes, H, W].

        The prepared image's are brought back to its size, bilinear; beyond them the nearest counts.
        """
        return torch.cat(list(self._bands(self.prepare(image), image.shape[-2:])), 1)

    def labels(self, image: Tensor, progress: Progress | None = None) -> Tensor:
        """The most probable class of every pixel of a decoded image: uint8 [C, H, W] → uint8 [H, W].

        `progress` is called with (tiles done, all tiles) where there are several.
        """
        return self.classified(image, progress)[0]

    def classified(self, image: Tensor, progress: Progress | None = None) -> tuple[Tensor, Tiling]:
        """As `labels`, and the tiles in which they were found."""
        prepared = self.prepare(image)
        bands = self._bands(prepared, image.shape[-2:], progress)
        labels = torch.cat([band.argmax(0).to(torch.uint8) for band in bands])
        return labels, self.tiles(*prepared.shape[-2:])

    def _bands(self, prepared: Tensor, size: torch.Size, progress: Progress | None = None) -> Iterator[Tensor]:
        """Probabilities of a prepared image from top to bottom, float32 [classes, h, W], at the original's size."""
        height, width = size
        if prepared.shape[-2:] == size and self._whole:
            yield from self.strips(prepared, progress)
            return
        found = torch.cat(list(self.strips(prepared, progress)), 1)[None]
        place = self.frame(height, width)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            grid = place.grid(found.shape[2], found.shape[3], range(top, min(top + rows, height)))
            yield grid_sample(found, grid, mode="bilinear", padding_mode="border", align_corners=False)[0]

    @cached_property
    def _whole(self) -> bool:
        """Whether the network answers for every pixel, not for the centre alone."""
        _, height, width = self.input
        image = torch.zeros(1, *self.input, dtype=torch.uint8)
        answer = self._in_parts(self.model, lambda part: segment.predict(self.model, part), image)[0]
        return tuple(answer.shape[-2:]) == (height, width)

    @cached_property
    def _locality(self) -> Locality:
        return locality(self.model, self.input[0])

    @property
    def _side(self) -> int:
        batch = self.recipe.batch_size // self.recipe.accumulate * self.input[1] * self.input[2]
        return max(math.isqrt(_MORE * batch), *self.input[1:])
