"""The windows of all images of a set, looked for by several processes before they are asked for one by one."""

from __future__ import annotations

from typing import Literal

import torch
from torch.utils.data import DataLoader, Dataset

from foveal.data.dataset import VisionSet
from foveal.data.pipeline import Pipeline
from foveal.data.resident import Progress
from foveal.data.resources import cores
from foveal.data.streaming import leave_interrupts_to_the_parent, received
from foveal.errors import FovealError
from foveal.proposals.search import Remembered

_FEW = 8  # images for which starting processes costs more than it brings


def search_ahead(
    images: VisionSet,
    pipeline: Pipeline,
    propose: Remembered,
    *,
    train: bool,
    workers: int | Literal["auto"] = "auto",
    progress: Progress | None = None,
    rank: int = 0,
    world: int = 1,
) -> None:
    """Have a search look at images as training (`train`) or a test will show them, and remember what it finds.

    Selective search takes seconds an image and one core. workers: processes; 0: nothing is done ahead, nor for a few
    images or on one core. Of `world` processes each takes its share of the images. progress(done, total) is told how
    far it is. Raises the FovealError of the first image that cannot be prepared or searched.
    """
    mine = range(rank, len(images), world)
    count = cores() if workers == "auto" else workers
    if len(mine) < _FEW or count < 1 or (workers == "auto" and count == 1):
        return
    loader = DataLoader(
        _Searched(images, pipeline, propose, train),
        sampler=mine,
        batch_size=None,
        num_workers=min(count, len(mine)),
        worker_init_fn=leave_interrupts_to_the_parent,
        generator=torch.Generator(),  # or starting would move the global RNG
    )
    for done, error in enumerate(received(iter(loader)), 1):
        if error:
            raise FovealError(*error)
        if progress is not None:
            progress(done, len(mine))


class _Searched(Dataset[tuple[str, ...]]):
    """What runs in a worker: the windows stay in the folder; what comes back is the text of an error, or nothing."""

    def __init__(self, images: VisionSet, pipeline: Pipeline, propose: Remembered, train: bool) -> None:
        self._images, self._pipeline, self._propose, self._train = images, pipeline, propose, train

    def __getitem__(self, i: int) -> tuple[str, ...]:
        try:
            self._propose(self._pipeline.prepare(self._images.load(i), self._train))
        except FovealError as error:
            return error.what, error.mend
        return ()
