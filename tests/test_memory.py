"""Freed memory that the process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PASSES = """
import resource, sys
from foveal.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
def work():
    blocks = [bytearray(size << 20) for size in (8, 8, 100)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep freed memory")
def test_freed_blocks_need_no_new_pages() -> None:
    faults = {
        how: int(subprocess.run([sys.executable, "-c", PASSES, how], check=True, capture_output=True).stdout)
        for how in ("keep", "leave")
    }
    assert faults["keep"] < faults["leave"] / 10
