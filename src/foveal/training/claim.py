"""One training at a time in a run's folder: it is held by a lock that the system releases however the process ends."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from foveal.errors import FovealError
from foveal.training.distributed import Group

LOCK = ".lock"  # where folders themselves cannot be locked (Windows), while the run goes on
_PATIENCE = 2.0  # seconds: a process that is just being killed may hold its folder a little longer


@contextmanager
def claimed(out: str | Path | None, name: str, group: Group) -> Iterator[Path]:
    """The folder of a new run, `out` or the first runs/NAME-N that is not there, made and held by the first process.

    Folders that were made for it go again if nothing was put into them. FovealError when another process trains there.
    """
    if not group.first:
        yield Path(group.tell(None))
        return
    wanted = Path(out) if out is not None else Path("runs") / name
    missing = [place for place in (wanted, *wanted.parents) if not place.exists()]
    folder = _made(wanted) if out is not None else _numbered(wanted)
    made = [folder, *missing[1:]] if wanted in missing or out is None else []
    try:
        with held(folder, group):
            group.tell(str(folder))
            yield folder
    finally:
        with suppress(OSError):  # the first that is not empty ends it
            for place in made:
                place.rmdir()


@contextmanager
def held(folder: Path, group: Group) -> Iterator[None]:
    """Nobody else trains in `folder` meanwhile. FovealError when somebody does."""
    if not group.first:
        yield
        return
    handle = _locked(folder)
    try:
        yield
    finally:
        if handle is not None:
            _release(handle)


def _made(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise FovealError(f"out={folder} is not empty and not a run", "name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FovealError(f"out={folder} cannot be created: {error.strerror}", "choose another out=") from error
    return folder


def _numbered(stem: Path) -> Path:
    """STEM-1, or the next that is free, made here and nowhere else."""
    number = 1
    while True:
        folder = stem.with_name(f"{stem.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise FovealError(f"{folder} cannot be created: {error.strerror}", "name a folder with out=") from error


def _locked(folder: Path) -> int | None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return _lock(folder)
        except _HELD as error:
            if time.monotonic() >= until:
                raise FovealError(
                    f"another process trains in {folder}", "wait for its end, or name another folder with out="
                ) from error
            time.sleep(0.1)
        except OSError as error:  # some network file systems have no locks
            warnings.warn(f"{folder} cannot be locked ({error.strerror}): start no second run in it", stacklevel=2)
            return None


if sys.platform == "win32":
    _HELD = (FileExistsError, PermissionError)

    def _lock(folder: Path) -> int:
        return os.open(folder / LOCK, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY)  # closing deletes it

    def _release(handle: int) -> None:
        os.close(handle)

else:
    import fcntl

    _HELD = (BlockingIOError,)
    _open: set[int] = set()

    def _lock(folder: Path) -> int:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        _open.add(handle)
        return handle

    def _release(handle: int) -> None:
        if handle in _open:
            _open.remove(handle)
            os.close(handle)

    def _forget() -> None:
        while _open:
            os.close(_open.pop())

    os.register_at_fork(after_in_child=_forget)  # loading processes would hold the folder of a run that was killed
