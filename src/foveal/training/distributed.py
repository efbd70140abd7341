"""Several processes on one or several machines: whatever `torchrun` has started.

    torchrun --nproc-per-node 2 -m foveal train resnet20_cifar10 data=DIR
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 -m foveal train …   (on each)

`batch_size` is the whole batch, which the processes share equally: the same samples in the same order, batch statistics
and dropout over all of them, hence the result of one process to rounding (with `accumulate` above 1 the parts, over
which batch normalisation averages, are cut differently). The run's folder is written by the first process alone; the
data must be readable to all, at the same path. An error in one process ends that process, and torchrun the others.
When torchrun itself restarts processes (`--max-restarts`) over gloo, set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, or stale
keys of the first attempt can keep the second from meeting; with it the restarted run resumes from its folder (`out=`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_PATIENCE = timedelta(hours=2)  # the others wait while the first process evaluates


@dataclass(frozen=True)
class Group:
    """This process's number among `world`, and its number on its own machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes, prints and evaluates."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The average over processes of a float tensor."""
        if self.world > 1:
            values = values.detach().to("cpu", torch.float64)
            dist.all_reduce(values)
            values = values / self.world
        return values

    def tell(self, value: Any) -> Any:
        """The first process's plain (JSON) value, in every process. The others' argument is ignored."""
        if self.world == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0)
        letters = torch.frombuffer(bytearray(text.ljust(int(length), b" ")), dtype=torch.uint8)
        dist.broadcast(letters, 0)
        return json.loads(letters.numpy().tobytes())

    def share(self, values: Tensor) -> Tensor:
        """The first process's tensor, in every process. Those of the others, of its shape and type, are overwritten."""
        if self.world > 1:
            dist.broadcast(values, 0)
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in some process."""
        return bool(self.mean(torch.tensor([float(flag)])) > 0) if self.world > 1 else flag


def rank() -> int:
    """This process's number under torchrun, 0 without: whoever is not 0 should keep silent."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def processes() -> Iterator[Group]:
    """Join the processes that torchrun started (or that exist already); alone, a group of one."""
    if dist.is_available() and dist.is_initialized():
        yield _current()
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local < torch.cuda.device_count():  # device=cpu takes more processes than there are GPUs
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield _current()
    finally:
        dist.destroy_process_group()


def _current() -> Group:
    return Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
