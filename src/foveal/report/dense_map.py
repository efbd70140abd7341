"""A trained classifier's answer at every pixel of a picture, as numbers or drawn over it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foveal.data import drawing
from foveal.data.image import load_image
from foveal.data.pipeline import convert_channels
from foveal.errors import FovealError
from foveal.graph.dense import Borders, Progress, dense
from foveal.training.run import Run

FORMATS = (".png", ".npy")
_MOST = 40  # classes in the legend
_NOTHING = "background"  # a class of this name stands for none of the others and has no colour


@dataclass(frozen=True)
class DenseMap:
    """Probabilities float32 [classes, H', W'] at every `stride`-th pixel of `image`, uint8 [C, H, W]."""

    probabilities: Tensor
    classes: tuple[str, ...]
    image: Tensor
    stride: int

    @property
    def labels(self) -> Tensor:
        """The most probable class of each position, int64 [H', W']."""
        return self.probabilities.argmax(0)

    def shares(self) -> list[tuple[str, float]]:
        """Each class with its share of the positions, in 0 … 1, the largest first."""
        counts = torch.bincount(self.labels.flatten(), minlength=len(self.classes)).tolist()
        total = self.labels.numel()
        return sorted(((c, n / total) for c, n in zip(self.classes, counts, strict=True)), key=lambda x: -x[1])

    def overlay(self) -> Image.Image:
        """The picture in grey under the colours of the classes, which fade where none is probable; with a legend.

        What belongs to a class called background is left as it is.
        """
        _, height, width = self.image.shape
        surest, labels = self.probabilities.max(0)
        floor = 1 / max(2, len(self.classes))
        strength = ((surest - floor) / (1 - floor)).clamp(0, 1) * drawing.VEIL
        if _NOTHING in self.classes:
            strength = strength.where(labels != self.classes.index(_NOTHING), torch.zeros(()))
        wide = self.labels.repeat_interleave(self.stride, 0).repeat_interleave(self.stride, 1)[:height, :width]
        strength = strength.repeat_interleave(self.stride, 0).repeat_interleave(self.stride, 1)[:height, :width]
        return self._with_legend(drawing.veiled(self.image, wide, len(self.classes), strength))

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write the overlay (.png) or the probabilities (.npy). FovealError for another ending or a bad place."""
        path = Path(file)
        if path.suffix.lower() not in FORMATS:
            raise FovealError(f"{path}: a map is written as {' or '.join(FORMATS)}", "give such a name")
        if path.suffix.lower() == ".png":
            drawing.save(self.overlay(), path)
            return path
        try:
            np.save(path, self.probabilities.numpy())
        except OSError as error:
            raise FovealError(f"{path} cannot be written: {error.strerror}", "choose another place") from error
        return path

    def _with_legend(self, pixels: Tensor) -> Image.Image:
        found = [(name, share) for name, share in self.shares() if share > 0][:_MOST]
        count = len(self.classes)
        return drawing.with_legend(
            pixels,
            [
                (
                    f"{name}  {100 * share:.1f} %",
                    drawing.LINE if name == _NOTHING else drawing.class_colour(self.classes.index(name), count),
                )
                for name, share in found
            ],
        )


def dense_map(
    run: Run | str | os.PathLike[str],
    file: str | os.PathLike[str],
    *,
    stride: int = 1,
    borders: Borders = "patch",
    checkpoint: str = "best",
    memory: int = 2**30,
    progress: Progress | None = None,
) -> DenseMap:
    """What the classifier of a run says about the patch around every `stride`-th pixel of a picture.

    The picture is taken in its own pixels, normalised as in training and not resized: patches are of the size of the
    network's input. `borders`, `memory`, `progress` are those of `foveal.dense`; device, layout and number format the
    run's. Raises FovealError for an unreadable picture, a recipe that whitens or subtracts a mean image, and as
    `foveal.dense`.
    """
    opened = run if isinstance(run, Run) else Run(os.fspath(run))
    predictor = opened.predictor(checkpoint)
    recipe, placement = predictor.recipe, predictor.placement
    if recipe.mean_image or recipe.whiten:
        raise FovealError(
            "the network saw pictures whitened, or less a mean image, by what has the size of its input and not this "
            "picture's",
            "train with mean_image=false whiten=false",
        )
    image = convert_channels(load_image(file, mode=None)[None], recipe.input[0])
    scores = dense(
        predictor.model,
        placement.images(image, recipe)[0],
        stride,
        input=recipe.input,
        borders=borders,
        fill=0.0,  # the mean of the training pixels
        memory=memory,
        channels_last=placement.channels_last,
        dtype=None if placement.dtype == torch.float32 else placement.dtype,
        progress=progress,
    )
    return DenseMap(scores.float().softmax(0).cpu(), opened.classes, image[0], stride)
