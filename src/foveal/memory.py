"""How the process holds its memory."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed() -> None:
    """Have glibc keep what a pass through a network frees for the next one, where the process runs on glibc; else do
    nothing.

    By default it gives large blocks back to the system, and each pass waits for the same pages to be cleared again.
    The process then holds on to the most memory that it has ever needed. Commands and training do this; it holds for
    the whole process.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # absent from musl
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # no block has pages of its own that leave with it
        mallopt(_M_TRIM_THRESHOLD, -1)  # and the others' never do
