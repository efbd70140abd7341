"""Parts of a batch computed at the same time on a CPU, one thread each: for networks of many small layers.

Threads that share such a layer spend their time waiting for each other at its end, some hundred times an update; lanes
wait once. What comes out depends on the number of lanes, never on that of cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from foveal.errors import FovealError
from foveal.types import Batch

Terms = dict[str, Tensor]
Gradients = tuple[Tensor | None, ...]
Losses = Callable[[Tensor, Any], Terms]  # of images and targets


class Lanes:
    """`count` threads that compute, and one that makes batches; each by itself in every layer. `close` ends them."""

    def __init__(self, count: int) -> None:
        self.count = count
        threads = torch.get_num_threads()
        self._pool, self._maker = _single_threads(count), _single_threads(1)
        torch.set_num_threads(threads)  # what a thread sets for itself is also the default of threads to come
        self._proved = False

    def ahead(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, each made while the one before it is computed."""
        source = iter(batches)
        coming = self._maker.submit(next, source, None)
        while (batch := coming.result()) is not None:
            coming = self._maker.submit(next, source, None)
            yield batch

    def backward(
        self,
        losses: Losses,
        parameters: Sequence[nn.Parameter],
        images: Tensor,
        targets: Any,
        share: float = 1.0,
    ) -> Terms:
        """The loss terms of a batch times `share`; the gradients of their sum are added to those of `parameters`.

        losses(images, targets) averages over what it is given. It is asked once a lane, with a contiguous part of the
        batch, in that lane's thread; terms and gradients are weighted by the part's size and added in the order of the
        lanes. Raises FovealError where the first call draws from torch's random numbers: lanes would take each other's.
        """
        size = len(targets)
        part = math.ceil(size / self.count)
        before = None if self._proved else torch.default_generator.get_state()
        begun = []
        for start in range(0, size, part):
            stop = min(start + part, size)
            weight = share * (stop - start) / size
            begun.append(self._pool.submit(_part, losses, parameters, images[start:stop], targets[start:stop], weight))
        done = [lane.result() for lane in begun]
        if before is not None and not before.equal(torch.default_generator.get_state()):
            raise FovealError("the network draws random numbers, which lanes cannot share", "set lanes=1")
        self._proved = True
        return _added(done, parameters)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """In here the calling thread does not share its layers either: its helpers would take the lanes' time."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        self._maker.shutdown()


def _single_threads(count: int) -> ThreadPoolExecutor:
    """A pool of threads, all started, that do not share their layers with others."""
    pool, started = ThreadPoolExecutor(count, "lane", _alone), Barrier(count + 1)
    for _ in range(count):
        pool.submit(started.wait)
    started.wait()
    return pool


def _alone() -> None:
    torch.get_num_threads()  # has torch set up this thread, which it would else do later, and to its default
    torch.set_num_threads(1)


def check(model: nn.Module) -> None:
    """Raise FovealError, naming the layer, for a network that cannot be computed in lanes.

    Batch normalisation would see parts, and dropout draw in an order that nobody fixes.
    """
    for path, layer in model.named_modules():
        if isinstance(layer, _NormBase | _DropoutNd):
            raise FovealError(
                f"layer {path} ({type(layer).__name__}) does not treat each image by itself, as lanes need it",
                "set lanes=1",
            )


def _part(
    losses: Losses, parameters: Sequence[nn.Parameter], images: Tensor, targets: Any, weight: float
) -> tuple[Terms, Gradients]:
    terms = {name: value * weight for name, value in losses(images, targets).items()}
    gradients = torch.autograd.grad(torch.stack(tuple(terms.values())).sum(), parameters, allow_unused=True)
    return {name: value.detach() for name, value in terms.items()}, gradients


def _added(done: Sequence[tuple[Terms, Gradients]], parameters: Sequence[nn.Parameter]) -> Terms:
    """Sums over the lanes, in their order."""
    for place, parameter in enumerate(parameters):
        for _, gradients in done:
            gradient = gradients[place]
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return {name: torch.stack([terms[name] for terms, _ in done]).sum() for name in done[0][0]}
