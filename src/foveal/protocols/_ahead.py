"""Work on many items in threads, one batch ahead of whoever consumes the batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 8  # decoding beyond that waits for memory, not for processors


def ahead(items: Sequence[Item], work: Callable[[Item], Result], batch_size: int) -> Iterator[list[Result]]:
    """`[work(item) for item in batch]` for each batch of `items`, in order, while the batch before is being used.

    Threads gain where `work` leaves the interpreter, as decoding a picture does. An error of `work` is raised here.
    """
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        coming: list[Future[list[Result]]] = []
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            share = -(-len(batch) // threads)
            following = [pool.submit(_all, work, batch[first : first + share]) for first in range(0, len(batch), share)]
            if coming:
                yield _gathered(coming)
            coming = following
        if coming:
            yield _gathered(coming)


def _all(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]


def _gathered(parts: list[Future[list[Result]]]) -> list[Result]:
    return [result for part in parts for result in part.result()]
