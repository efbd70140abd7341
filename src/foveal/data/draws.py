"""Random numbers as pure functions of (seed, epoch, index): no state, so nothing can fall out of step.

Each number is the splitmix64 output function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014, as in Vigna's splitmix64.c) of a counter. Whoever asks, in whatever order, process or batch, gets the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_AUGMENT, _ORDER = 1, 2  # independent streams of one (seed, epoch)


def mix(*values: int) -> int:
    """One well-mixed seed in [0, 2^64), as torch.manual_seed takes, from any integers; their order counts."""
    state = 0
    for value in values:
        z = (state + (value & _MASK) + _GOLDEN) & _MASK
        z = ((z ^ (z >> 30)) * _FIRST) & _MASK
        z = ((z ^ (z >> 27)) * _SECOND) & _MASK
        state = z ^ (z >> 31)
    return state


def uniforms(seed: int, epoch: int, indices: Tensor, count: int) -> Tensor:
    """`count` numbers for each sample, float32 [B, count] in [0, 1), multiples of 2^-24; `indices` is int64 [B]."""
    samples = np.asarray(indices, dtype=np.int64).astype(np.uint64)
    state = _hash(samples * np.uint64(_GOLDEN) + np.uint64(mix(seed, epoch, _AUGMENT)))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _hash(state[:, None] + steps[None, :]) >> np.uint64(40)
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2.0**-24))


def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order of the `n` samples in an epoch, int64 [n]: the samples sorted by a random 64-bit key each."""
    keys = _hash(np.arange(n, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(mix(seed, epoch, _ORDER)))
    return torch.from_numpy(np.argsort(keys, kind="stable").astype(np.int64, copy=False))


def _hash(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's output function on an array; arithmetic is modulo 2^64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))
