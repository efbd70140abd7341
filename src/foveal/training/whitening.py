"""The whitening of a run: fitted to what the network sees of its training images in test, kept in the run's folder.

Images are bytes until they are on the device, so that whitening comes after the crops and flips of training. Maxout's
program whitens the images first and shifts what comes out: the border of a shifted image is then 0, and here it is
what a black border gives.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from foveal.data.dataset import VisionSet
from foveal.data.loader import Loader
from foveal.data.whitening import Whitening, fit
from foveal.errors import FovealError
from foveal.training.checkpoint import replace_file
from foveal.training.distributed import Group
from foveal.training.inputs import view
from foveal.training.recipe import Recipe

FILE = "whitening.safetensors"
_BATCH = 1024


def shared(folder: Path, images: VisionSet, recipe: Recipe, group: Group) -> Whitening:
    """That of the run when it goes on, else that of the training images: the first process's, in every one."""
    size = torch.Size(recipe.input).numel()
    found = Whitening(torch.empty(recipe.input), torch.empty(size, size) if group.world > 1 else torch.empty(0))
    if group.first:
        found = load(folder) if (folder / "recipe.json").exists() else compute(images, recipe)
    return Whitening(group.share(found.mean), group.share(found.matrix))


def compute(images: VisionSet, recipe: Recipe) -> Whitening:
    """The whitening of the test views of all images. FovealError for an input that is too large for it."""
    with Loader(
        images, view(recipe), _BATCH, seed=recipe.seed, train=False, workers=recipe.workers, cache=False
    ) as loader:
        return fit(batch.images for batch in loader.batches(0))


def write(folder: Path, whitening: Whitening) -> None:
    """Put it into the run's folder."""
    replace_file(folder / FILE, to_bytes({"mean": whitening.mean.cpu(), "matrix": whitening.matrix.cpu()}))


def load(folder: Path) -> Whitening:
    """That of a run. FovealError when it is missing or damaged."""
    file = folder / FILE
    try:
        found = from_bytes(file.read_bytes())
        mean, matrix = found["mean"], found["matrix"]
        if (
            mean.dtype != torch.float32
            or matrix.shape != (mean.numel(), mean.numel())
            or not bool(matrix.isfinite().all())
        ):
            raise ValueError(f"{mean.dtype} {list(mean.shape)} {list(matrix.shape)}")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise FovealError(f"{file} is missing or damaged", "restore it from a copy, or train again") from error
    return Whitening(mean, matrix)
