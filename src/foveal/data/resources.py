"""What this machine lets the process use: cores, free memory, shared memory."""

from __future__ import annotations

import os
from pathlib import Path

_ASSUMED_MEMORY = 4 << 30  # where the system does not say


def cores() -> int:
    """Cores that this process may use, shared fairly with the other local processes of a torchrun job."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))  # containers and taskset give fewer than the machine has
    elif hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count() or 1
    else:
        count = os.cpu_count() or 1
    return max(1, count // local_processes())


def local_processes() -> int:
    """Processes of this job on this machine, as torchrun tells in LOCAL_WORLD_SIZE; 1 without it."""
    return max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def free_memory() -> int:
    """Bytes of memory that can be taken without swapping, within the limit of a container."""
    free = _ASSUMED_MEMORY
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # macOS tells the total only
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, max(0, int(most) - int(used.read_text())))
    return free


def shared_memory() -> int | None:
    """Free bytes of /dev/shm, through which worker processes pass tensors; None where the system has no such limit."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return None
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize
