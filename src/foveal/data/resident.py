"""All prepared images of a set as one tensor in memory, when they fit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from foveal.data.dataset import ArraySet
from foveal.data.resources import cores, free_memory, local_processes
from foveal.data.streaming import Samples
from foveal.errors import FovealError

Progress = Callable[[int, int], None]  # images prepared so far, images in all

_LARGEST = 2 << 30  # bytes that cache="auto" takes at most
_CHUNK = 32  # files that a thread prepares at a time
_ARRAY_CHUNK = 1024


class _MixedSizesError(FovealError):
    """Prepared images of two sizes do not fit one tensor."""


def prepared_images(
    samples: Samples, cache: bool | Literal["auto"], progress: Progress | None = None
) -> tuple[Tensor | None, str]:
    """The prepared images, uint8 [N, C, H, W], or None where they are not to be kept; and why, for the log.

    cache=True raises FovealError when they have several sizes or do not fit the free memory; "auto" gives up instead.
    """
    if cache is False:
        return None, "cache=false"
    count = len(samples.dataset)
    first = samples.prepared(0)
    unchanged = isinstance(samples.dataset, ArraySet) and _unchanged(samples)
    size = 0 if unchanged else count * first.numel()
    free = free_memory() // local_processes()
    limit = free if cache is True else min(_LARGEST, free // 4)
    if size > limit:
        what = f"the prepared images take {_mib(size)}, more than the {_mib(limit)} that may be used"
        if cache is True:
            raise FovealError(what, "give cache=false, or smaller images by prepare=")
        return None, what
    if isinstance(samples.dataset, ArraySet):
        images = samples.dataset.images if unchanged else _from_array(samples, first, progress)
    else:
        try:
            images = _from_files(samples, first, progress)
        except _MixedSizesError as error:
            if cache is True:
                raise
            return None, error.what
    return images, _mib(images.numel())


def _unchanged(samples: Samples) -> bool:
    assert isinstance(samples.dataset, ArraySet)
    pipeline = samples.pipeline
    return not pipeline.steps(samples.train) and samples.dataset.images.shape[1] == pipeline.input[0]


def _from_array(samples: Samples, first: Tensor, progress: Progress | None) -> Tensor:
    assert isinstance(samples.dataset, ArraySet)
    source = samples.dataset.images
    result = torch.empty(len(source), *first.shape, dtype=torch.uint8)
    for start in range(0, len(source), _ARRAY_CHUNK):
        chunk = samples.pipeline.prepare_batch(source[start : start + _ARRAY_CHUNK], samples.train)
        result[start : start + _ARRAY_CHUNK] = chunk
        if progress:
            progress(start + len(chunk), len(source))
    return result


def _from_files(samples: Samples, first: Tensor, progress: Progress | None) -> Tensor:
    """Decode and prepare in threads: both release the interpreter's lock."""
    count = len(samples.dataset)
    result = torch.empty(count, *first.shape, dtype=torch.uint8)

    def fill(start: int) -> int:
        stop = min(start + _CHUNK, count)
        for i in range(start, stop):
            image = samples.prepared(i)
            if image.shape != first.shape:
                raise _MixedSizesError(
                    f"prepared images differ in size: {_size(first)} for {samples.dataset.name(0)}, "
                    f"{_size(image)} for {samples.dataset.name(i)}",
                    "end prepare with center_crop(…) or resize_exact(…), or give cache=false",
                )
            result[i] = image
        return stop - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the pool's threads take it over: one core each
    pool = ThreadPoolExecutor(cores() if samples.pipeline.thread_safe else 1)
    try:
        done = 0
        for part in pool.map(fill, range(0, count, _CHUNK)):
            done += part
            if progress:
                progress(done, count)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return result


def _size(image: Tensor) -> str:
    return "x".join(map(str, image.shape))


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
