"""The training loop: a generator that yields after each update and calls nobody back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from foveal.data.draws import mix
from foveal.errors import FovealError
from foveal.training.device import Placement
from foveal.training.ema import Average
from foveal.types import Batch, Step

Losses = Callable[[nn.Module, Tensor, Any], dict[str, Tensor]]
_DROPOUT = 3  # the stream of random numbers that the updates draw from


def fit(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: Optimizer,
    *,
    losses: Losses,
    prepare_batch: Callable[[Tensor], Tensor],
    schedule: Callable[[int], float],
    precision: Placement,
    accumulate: int = 1,
    clip: float = 0.0,
    ema: Average | None = None,
    frozen: Iterable[nn.Module] = (),
    scaler: torch.amp.GradScaler | None = None,
    seed: int = 0,
    start: int = 0,
    read_every: int = 1,
    reduce: Callable[[Tensor], Tensor] = lambda values: values,
) -> Iterator[Step]:
    """Train `model` on `batches`, one update each, and yield a `Step` after each update (numbered from start + 1).

    losses(model, images, targets) gives the loss terms by name; their sum is minimised. prepare_batch turns the batch's
    uint8 images into the network's input. schedule(s) is the rate of update s, counted from 0. Torch's random numbers,
    hence dropout, are seeded before each update from (seed, s): they depend on the position alone. `accumulate` cuts a
    batch into parts whose gradients are added: the same batch for the optimiser in less memory, except that batch
    normalisation sees each part by itself. `clip` bounds the norm of the whole gradient. A group of the optimiser
    learns at its "factor" of the rate, where it has one. `frozen` modules stay in evaluation mode, so that batch
    normalisation keeps its statistics.

    Every term is checked to be finite, before the update with read_every=1, otherwise when the terms are read, every
    `read_every` updates or as soon as a consumer looks at `Step.losses`: waiting for a GPU at each update is dear.
    Raises FovealError that names the term, its update and the rate. `reduce` averages read terms over processes.
    """
    model.train()
    for module in frozen:
        module.training = False
    reader = _Reader(read_every, reduce)

    def ask(images: Tensor, targets: Any) -> dict[str, Tensor]:
        prepared = prepare_batch(images)
        with precision.autocast():
            return losses(model, prepared, on_device(targets, precision.device))

    for step, batch in enumerate(batches, start + 1):
        seed_generators(precision.device, mix(seed, step, _DROPOUT))
        lr = schedule(step - 1)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("factor", 1.0)
        terms: dict[str, Tensor] = {}
        size = len(batch.targets)
        part_size = math.ceil(size / accumulate)
        for begin in range(0, size, part_size):
            images, targets = batch.images[begin : begin + part_size], batch.targets[begin : begin + part_size]
            with _gathering(model, last=begin + part_size >= size):
                part = _backward(ask(images, targets), len(targets) / size, scaler)
            for name, value in part.items():
                terms[name] = terms.get(name, 0) + value
        read = reader.take(step, lr, terms)
        _update(model, optimizer, clip, scaler)
        if ema:
            ema.update(step)
        yield Step(step, read, lr)
    reader.flush()


def _backward(terms: dict[str, Tensor], share: float, scaler: torch.amp.GradScaler | None) -> dict[str, Tensor]:
    """Add the gradients of the terms' sum times `share`: the terms times `share`."""
    total = torch.stack(tuple(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
    if share != 1:
        total = total * share
    (scaler.scale(total) if scaler else total).backward()  # type: ignore[no-untyped-call]
    return {name: value.detach() * share for name, value in terms.items()}


def on_device(targets: Any, device: torch.device) -> Any:
    """Targets on a device: a tensor, or a list of dictionaries of tensors."""
    if isinstance(targets, Tensor):
        return targets.to(device, non_blocking=True)
    return [{key: value.to(device, non_blocking=True) for key, value in one.items()} for one in targets]


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the generators that layers on `device` draw from. (torch.manual_seed would reach for every device.)"""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)


def _gathering(model: nn.Module, last: bool) -> AbstractContextManager[object]:
    """Processes exchange gradients once per update: with the last part."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return nullcontext()


def _update(model: nn.Module, optimizer: Optimizer, clip: float, scaler: torch.amp.GradScaler | None) -> None:
    if clip:
        if scaler:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    if scaler:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class Terms(Mapping[str, float]):
    """The loss terms of one update by name. They may still be on the device: looking at them reads all that wait."""

    def __init__(self, reader: _Reader, step: int, lr: float, terms: Mapping[str, Tensor]) -> None:
        self.step, self.lr, self.names = step, lr, tuple(terms)
        self.tensor: Tensor | None = torch.stack([value.float() for value in terms.values()])
        self.values_read: list[float] = []
        self._reader = reader

    def __getitem__(self, name: str) -> float:
        if self.tensor is not None:
            self._reader.flush()
        return self.values_read[self.names.index(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class _Reader:
    """Brings loss terms from the device, many at once, and stops the run at the first that is not finite."""

    def __init__(self, every: int, reduce: Callable[[Tensor], Tensor]) -> None:
        self.every, self.reduce = every, reduce
        self.waiting: list[Terms] = []

    def take(self, step: int, lr: float, terms: Mapping[str, Tensor]) -> Terms:
        taken = Terms(self, step, lr, terms)
        self.waiting.append(taken)
        if len(self.waiting) >= self.every:
            self.flush()
        return taken

    def flush(self) -> None:
        if not self.waiting:
            return
        read, self.waiting = self.waiting, []
        rows = self.reduce(torch.stack([t.tensor for t in read if t.tensor is not None])).tolist()
        for terms, row in zip(read, rows, strict=True):
            terms.values_read, terms.tensor = row, None
        for terms in read:
            for name, value in terms.items():
                if not math.isfinite(value):
                    raise self._not_finite(name, value, terms, read[-1].step)

    def _not_finite(self, name: str, value: float, terms: Terms, now: int) -> FovealError:
        late = f" (noticed at update {now}: losses are read every {self.every})" if now > terms.step else ""
        return FovealError(
            f"loss term '{name}' is {value} at update {terms.step}, learning rate {terms.lr:g}{late}",
            "lower lr, add warmup, or set clip=1; the last checkpoint is kept",
        )
