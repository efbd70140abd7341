"""Batches of one epoch: the same bytes however they are made, from memory or from files, in one process or many.

The order is a permutation of the samples drawn from (seed, epoch); batch b is its slice [b·B, (b+1)·B), and of each
batch every process takes an equal, contiguous part. Workers, memory and the place of a resume change the speed alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from foveal.data.dataset import LabelledSet, VisionSet
from foveal.data.draws import permutation
from foveal.data.joint import JointSamples, Pair, Propose, resident_pairs
from foveal.data.pipeline import Pipeline
from foveal.data.resident import Progress, prepared_images
from foveal.data.resources import cores, shared_memory
from foveal.data.streaming import Samples, Stream
from foveal.errors import FovealError
from foveal.types import Batch

_SMALL_SET = 256  # images below which starting worker processes costs more than they bring
_MOST_WORKERS = 16
_TOGETHER = 2 * 2**20  # bytes of images in memory that are made ready at once


class Loader:
    """Batches of `dataset` through `pipeline`, as a function of (seed, epoch) and the place in the epoch alone.

    batch_size: images per batch over all processes. train=True shuffles and augments, and leaves out the last, partial
    batch (a set smaller than one batch is one batch); train=False keeps the set's order and every image, and shows the
    centre. workers: processes that decode images ("auto": as many as cores; 0 for small or resident sets). cache: keep
    the prepared images in memory ("auto": when they have one size and take at most 2 GiB and a quarter of the free
    memory). rank, world: this process's number and their count. drop_last: leave out the partial batch; None: as train.
    progress(done, total) is told how far the preparation for the memory is. propose: finds the windows that targets are
    to hold, as in `JointSamples`. Use as a context manager, or `close` it.
    """

    def __init__(
        self,
        dataset: VisionSet,
        pipeline: Pipeline,
        batch_size: int,
        *,
        seed: int,
        train: bool,
        workers: int | Literal["auto"] = "auto",
        cache: bool | Literal["auto"] = "auto",
        rank: int = 0,
        world: int = 1,
        drop_last: bool | None = None,
        progress: Progress | None = None,
        propose: Propose | None = None,
    ) -> None:
        if not len(dataset):
            raise FovealError("the set has no images", "check the path and the split")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world}")
        self.dataset, self.pipeline, self.seed, self.train = dataset, pipeline, seed, train
        self.rank, self.world = rank, world
        self.drop_last = train if drop_last is None else drop_last
        self.batch_size = min(batch_size, len(dataset)) if self.drop_last else batch_size
        if train and self.batch_size % world:
            raise FovealError(
                f"a batch of {self.batch_size} images cannot be cut into equal parts for {world} processes",
                f"give batch_size={max(world, self.batch_size // world * world)}",
            )
        self._samples: Samples | JointSamples
        self._images: Tensor | None = None
        self._pairs: list[Pair] | None = None
        if isinstance(dataset, LabelledSet):
            self._samples = Samples(dataset, pipeline, train)
            self._images, self._why = prepared_images(self._samples, cache, progress)
        else:
            self._samples = JointSamples(dataset, pipeline, train, propose)
            self._pairs, self._why = resident_pairs(self._samples, cache, progress)
        self.workers = self._worker_count() if workers == "auto" else workers
        self._stream: Stream | None = None

    @property
    def cached(self) -> bool:
        """Whether the prepared images are in memory."""
        return self._images is not None or self._pairs is not None

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (counted from 0), from batch number `start` on.

        In evaluation a process whose part of the last batch is empty yields one batch fewer. Raises FovealError for an
        image that cannot be read or does not fit the network, naming it.
        """
        if not 0 <= start <= self.per_epoch:
            raise ValueError(f"batch {start} is not in an epoch of {self.per_epoch} batches")
        parts = [part for part in self._parts(epoch, start) if len(part)]
        if not self.cached and self.workers:
            if self._stream is None:
                self._stream = Stream(self._samples, self.workers, self._fits_shared_memory())
            return self._stream.batches(parts, epoch)
        if self._images is not None:
            return self._from_memory(parts, epoch)
        return (self._batch(part, epoch) for part in parts)

    def describe(self) -> str:
        """One line for the log: how many images, in what batches, from where, through which steps."""
        if self.cached:
            source = f"in memory ({self._why})"
        else:
            source = f"read batch by batch ({self._why}) by {self.workers or 'no'} worker processes"
        parts = f", {self.world} processes" if self.world > 1 else ""
        return (
            f"{len(self.dataset)} images {source}, {self.per_epoch} batches of {self.batch_size} an epoch{parts}; "
            f"{self.pipeline.describe()}"
        )

    def close(self) -> None:
        """End the worker processes; the loader can still be used, and starts new ones."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _from_memory(self, parts: list[Tensor], epoch: int) -> Iterator[Batch]:
        """The batches `parts`, several small ones made ready at once: each step of it has a price of its own."""
        assert self._images is not None
        assert isinstance(self._samples, Samples)
        images = self._images.numpy()
        count = max(1, _TOGETHER // (self.batch_size * images[0].nbytes))
        for first in range(0, len(parts), count):
            some = parts[first : first + count]
            indices = torch.cat(some)
            # Gathered by NumPy: as fast as index_select, faster than [], no waiting for torch's threads.
            ready = self._samples.finish(torch.from_numpy(np.take(images, indices.numpy(), axis=0)), indices, epoch)
            for batch in zip(*(torch.split(tensor, [len(part) for part in some]) for tensor in ready), strict=True):
                yield Batch(*batch)

    def _batch(self, part: Tensor, epoch: int) -> Batch:
        if isinstance(self._samples, JointSamples) and self._pairs is not None:
            return self._samples.finish([self._pairs[i] for i in part.tolist()], part, epoch)
        return self._samples.load(part, epoch)

    def _parts(self, epoch: int, start: int) -> Iterator[Tensor]:
        """This process's indices in each batch."""
        n = len(self.dataset)
        order = permutation(self.seed, epoch, n) if self.train else torch.arange(n)
        for batch in torch.split(order[: self.per_epoch * self.batch_size], self.batch_size)[start:]:
            size = len(batch)
            yield batch[self.rank * size // self.world : (self.rank + 1) * size // self.world]

    def _worker_count(self) -> int:
        if self.cached or len(self.dataset) < _SMALL_SET or cores() == 1:
            return 0
        return min(cores(), _MOST_WORKERS)

    def _fits_shared_memory(self) -> bool:
        """Whether /dev/shm holds all batches under way, twice over: containers often give it 64 MB."""
        batch = math.prod(self.pipeline.input) * self.batch_size // self.world
        free = shared_memory()
        return free is None or 2 * batch * (2 * self.workers + 1) < free
