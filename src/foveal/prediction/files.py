"""The pictures that files, folders and patterns lead to, and each as a prediction begins with it."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from foveal.data.formats._common import pictures_in
from foveal.data.image import SUFFIXES, ImageDecodeError, load_image
from foveal.errors import FovealError

Source = str | os.PathLike[str]
View = TypeVar("View")


def find_pictures(files: Source | Iterable[Source]) -> list[str]:
    """The pictures that paths, folders and patterns lead to: each once, folders and patterns in sorted order."""
    sources = [files] if isinstance(files, str | os.PathLike) else list(files)
    if not sources:
        raise FovealError("no picture was given", "name files, folders or patterns such as 'photos/*.jpg'")
    found = [path for source in sources for path in _expanded(os.fspath(source))]
    return list(dict.fromkeys(found))


def _expanded(source: str) -> list[str]:
    path = Path(source).expanduser()
    if path.is_dir():
        return _pictures_below(path)
    if path.exists():
        return [str(path)]
    matches = _matches(path)
    if not matches:
        kind = "matches no file" if glob.has_magic(source) else "there is no such file or folder"
        raise FovealError(f"{source}: {kind}", "check the path; patterns may use *, ?, [abc] and **")
    files = [str(match) for match in matches if not match.is_dir()]
    return files or [picture for match in matches for picture in _pictures_below(match)]


def _matches(pattern: Path) -> list[Path]:
    """What matches a pattern, absolute or relative, sorted; what is hidden only where the pattern has such a part."""
    magic = [place for place, part in enumerate(pattern.parts) if glob.has_magic(part)]
    if not magic:
        return []
    folder, rest = pattern.parts[: magic[0]], pattern.parts[magic[0] :]
    found = sorted(Path(*folder).glob("/".join(rest)))
    if any(part.startswith(".") for part in rest):
        return found
    return [path for path in found if not any(part.startswith(".") for part in path.parts[len(folder) :])]


def _pictures_below(folder: Path) -> list[str]:
    found, _ = pictures_in(folder)
    if not found:
        raise FovealError(f"{folder}: holds no picture", f"give files called *{', *'.join(sorted(SUFFIXES))}")
    return found


def viewer(
    view: Callable[[Tensor, str], View], strict: bool, min_side: int | None = None
) -> Callable[[str], View | str]:
    """A function of a path: what `view` makes of its picture, uint8 [C, H, W], or the reason why it cannot be read.

    With `strict` that is raised. The picture may come smaller, but no side below `min_side`.
    """

    def of_file(path: str) -> View | str:
        try:
            return view(load_image(path, mode=None, min_side=min_side), path)
        except FovealError as error:
            if strict:
                raise
            return error.reason if isinstance(error, ImageDecodeError) else error.what.removeprefix(f"{path}: ")

    return of_file
