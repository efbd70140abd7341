"""Images read, prepared and augmented batch by batch, here or in worker processes: the same code, the same bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from foveal.data.dataset import ArraySet, LabelledSet
from foveal.data.joint import JointSamples
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.types import Batch

_Task = tuple[int, NDArray[np.int64]]  # epoch, indices
_AHEAD = 2  # batches that each worker makes in advance


class Samples:
    """A set seen through a pipeline; `train` says whether images are augmented or shown at their centre."""

    def __init__(self, dataset: LabelledSet, pipeline: Pipeline, train: bool) -> None:
        self.dataset, self.pipeline, self.train = dataset, pipeline, train

    def prepared(self, i: int) -> Tensor:
        """Image i after the deterministic steps, uint8 [C, H, W]; errors name the image."""
        image = self.dataset.load(i, self.pipeline.min_side(self.train))
        try:
            return self.pipeline.prepare(image, self.train)
        except FovealError as error:
            raise self._named(i, error) from error

    def load(self, indices: Tensor, epoch: int) -> Batch:
        """The batch of the samples `indices` [B] from the set itself."""
        if isinstance(self.dataset, ArraySet):
            images: Tensor | list[Tensor] = self.pipeline.prepare_batch(
                self.dataset.images.index_select(0, indices), self.train
            )
        else:
            images = [self.prepared(i) for i in indices.tolist()]
        return self.finish(images, indices, epoch)

    def finish(self, images: Tensor | Sequence[Tensor], indices: Tensor, epoch: int) -> Batch:
        """The batch of prepared images: augmented in training, cut to the network's input."""
        try:
            finished = self._view(images, indices, epoch)
        except FovealError:
            for n, i in enumerate(indices.tolist()):  # which image was it?
                try:
                    self._view([images[n]], indices[n : n + 1], epoch)
                except FovealError as error:
                    raise self._named(i, error) from error
            raise
        return Batch(finished, self.dataset.labels[indices], indices)

    def _view(self, images: Tensor | Sequence[Tensor], indices: Tensor, epoch: int) -> Tensor:
        if self.train:
            return self.pipeline.augment(images, indices, epoch)
        return self.pipeline.centre(images)

    def _named(self, i: int, error: FovealError) -> FovealError:
        return FovealError(f"{self.dataset.name(i)}: {error.what}", error.mend)


class Stream:
    """Worker processes that make the batches of a plan in advance, kept from epoch to epoch until `close`.

    shared: pass tensors through shared memory; otherwise through pipes, which takes longer but needs none.
    """

    def __init__(self, samples: Samples | JointSamples, workers: int, shared: bool) -> None:
        self._plan = _Plan()
        self._loader: DataLoader[Batch] | None = DataLoader(
            _Batches(samples, shared),
            sampler=self._plan,
            batch_size=None,  # an item of the plan is a whole batch
            num_workers=workers,
            collate_fn=_unchanged,
            persistent_workers=True,
            prefetch_factor=_AHEAD,
            worker_init_fn=leave_interrupts_to_the_parent,
            generator=torch.Generator(),  # or starting an epoch would move the global RNG
        )

    def batches(self, parts: Sequence[Tensor], epoch: int) -> Iterator[Batch]:
        """The batches of the index tensors `parts`, in order."""
        self._plan.tasks = [(epoch, part.numpy()) for part in parts]
        for result in received(iter(self._loader or ())):
            if isinstance(result, FovealError):
                raise result
            yield Batch(*(_converted(part, torch.as_tensor) for part in result))

    def close(self) -> None:
        """End the worker processes."""
        self._loader = None  # DataLoader ends its workers when the last reference goes


class _Plan(Sampler[_Task]):
    """The tasks of the coming epoch; DataLoader asks anew each time it is iterated."""

    def __init__(self) -> None:
        self.tasks: list[_Task] = []

    def __iter__(self) -> Iterator[_Task]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)


class _Batches(Dataset[Batch]):
    """What runs in a worker. A FovealError is returned, not raised: DataLoader would bury its text in a traceback."""

    def __init__(self, samples: Samples | JointSamples, shared: bool) -> None:
        self._samples, self._shared = samples, shared

    def __getitem__(self, task: _Task) -> Batch | tuple[Any, ...] | FovealError:  # type: ignore[override]
        epoch, indices = task
        try:
            batch = self._samples.load(torch.from_numpy(indices), epoch)
        except FovealError as error:
            return error
        return batch if self._shared else tuple(_converted(part, Tensor.numpy) for part in batch)


def received(found: Iterator[Any]) -> Iterator[Any]:
    """What worker processes send, item by item. FovealError when one of them was ended from outside."""
    while True:
        try:
            result = next(found, None)
        except (RuntimeError, OSError, EOFError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
                raise
            if str(error).startswith("Caught "):  # raised by the set's own code in a worker
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise FovealError(
                f"a process that reads images was ended from outside ({reason})",
                "often memory was short: lower workers= or batch_size=",
            ) from error
        if result is None:
            return
        yield result


def _converted(part: Any, convert: Callable[[Any], Any]) -> Any:
    """Tensors to arrays or back, in the lists and dictionaries of targets too."""
    if isinstance(part, list):
        return [_converted(one, convert) for one in part]
    if isinstance(part, dict):
        return {key: _converted(one, convert) for key, one in part.items()}
    return convert(part)


def _unchanged(batch: object) -> object:
    return batch


def leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C reaches every process of a terminal; the workers leave it to the parent, which ends them in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
