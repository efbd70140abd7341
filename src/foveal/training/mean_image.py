"""The mean image of a training set, which AlexNet subtracts pixel by pixel (Krizhevsky et al. 2012, section 2).

Images are bytes until they are on the device, so the mean is taken of what the network sees in test, cut to its input,
and subtracted there from every image, however its crop was drawn. The program of AlexNet's authors, cuda-convnet, does
the same: it subtracts the centre of the mean image from each crop.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foveal.data.dataset import VisionSet
from foveal.data.loader import Loader
from foveal.errors import FovealError
from foveal.training.checkpoint import replace_file
from foveal.training.inputs import view
from foveal.training.recipe import Recipe

FILE = "mean_image.npy"
_BATCH = 256


def compute(images: VisionSet, recipe: Recipe) -> Tensor:
    """The mean of the test views of all images: float32 [C, H, W] in 0 … 1, the same whatever the order."""
    total = torch.zeros(recipe.input, dtype=torch.int64)
    with Loader(
        images, view(recipe), _BATCH, seed=recipe.seed, train=False, workers=recipe.workers, cache=False
    ) as loader:
        for batch in loader.batches(0):
            total += batch.images.sum(0, dtype=torch.int64)
    return (total.double() / (255 * len(images))).float()


def write(folder: Path, image: Tensor) -> None:
    """Put it into the run's folder."""
    data = io.BytesIO()
    np.save(data, image.numpy())
    replace_file(folder / FILE, data.getvalue())


def load(folder: Path) -> Tensor:
    """That of a run. FovealError when it is missing or damaged."""
    file = folder / FILE
    try:
        image = torch.from_numpy(np.load(file, allow_pickle=False))
        if image.dtype != torch.float32 or image.ndim != 3 or not bool(((image >= 0) & (image <= 1)).all()):
            raise ValueError(f"{image.dtype} {list(image.shape)}")
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise FovealError(f"{file} is missing or damaged", "restore it from a copy, or train again") from error
    return image
