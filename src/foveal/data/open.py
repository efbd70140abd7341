"""Opening a set of images wherever it lies: the format is found by asking each file of `formats/`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeVar, overload

import torch

from foveal import catalog
from foveal.data.boxset import BoxSet
from foveal.data.dataset import ArraySet, ImageSet, VisionSet
from foveal.data.image import SUFFIXES
from foveal.data.painted import PaintedSet
from foveal.data.tagset import tags_of
from foveal.errors import FovealError

AnySet = TypeVar("AnySet", bound=VisionSet)
_TOLD = {"classify": "classes of images", "tag": "tags", "segment": "masks", "detect": "boxes"}
_LAST = "folder"  # asked last: a table or a CIFAR folder may hold folders of pictures too


def detect(path: str | os.PathLike[str], task: str | None = None) -> ModuleType:
    """The module of `foveal.data.formats` that can open `path`; where several can, one for the `task`.

    Raises FovealError for a path that is missing or empty, and for one that no format recognises: then it says which
    were tried.
    """
    root = root_of(path)
    names = sorted(catalog.names("format"), key=lambda name: name == _LAST)
    formats = [catalog.module("format", name) for name in names]
    last = formats[names.index(_LAST)]
    kind = "detect" if task == "tag" else task  # tags are told of objects
    asked = sorted(formats, key=lambda found: (found is last, kind is not None and _task(found) != kind))
    if not root.exists() and not formats[names.index("digits")].sniff(root):
        raise _missing(root)
    if root.is_dir() and not any(root.iterdir()):
        raise FovealError(f"{root}: the folder is empty", "put a folder of images for each class into it")
    for found in asked:
        if found.sniff(root):
            return found
    raise _unrecognised(root, names)


def data_splits(path: str | os.PathLike[str], task: str | None = None) -> tuple[str, ...]:
    """The splits at `path`, some of "train", "val", "test" in this order; `task` as for `open_data`."""
    root = root_of(path)
    splits: tuple[str, ...] = detect(root, task).splits(root)
    return splits


@overload
def open_data(
    path: str | os.PathLike[str], split: str = "train", *, seed: int = 0, task: Literal["classify"]
) -> ImageSet: ...


@overload
def open_data(
    path: str | os.PathLike[str], split: str = "train", *, seed: int = 0, task: str | None = None
) -> VisionSet: ...


def open_data(
    path: str | os.PathLike[str], split: str = "train", *, seed: int = 0, task: str | None = None
) -> VisionSet:
    """Open a split of the images at `path`: a folder, a table, the files of a known set, or "digits" for the embedded.

    `seed` decides the cut of a set that comes without splits. `task` is what the images are wanted for ("classify",
    "tag", "segment", "detect"), None whatever they tell; of objects in boxes, "segment" paints masks by their outlines,
    and "tag" tells which classes there are. Raises FovealError for whatever is wrong with the set as a whole: nothing
    there, an unknown format, another task's targets, damaged files, one class only, a class of train that test lacks.
    Single pictures are not decoded here: see `readable`.
    """
    root = root_of(path)
    try:
        images: VisionSet = detect(root, task).open(root, split, seed=seed)
    except OSError as error:
        raise FovealError(
            f"{error.filename or root}: {error.strerror or error}", "check the path and its rights"
        ) from error
    if task == "segment" and isinstance(images, BoxSet):
        images = PaintedSet(images)
    if task == "tag" and isinstance(images, BoxSet):
        images = tags_of(images)
    if task is not None and images.task != task:
        raise FovealError(
            f"{root} holds {_TOLD[images.task]}, and {_TOLD[task]} are wanted",
            f"for these data the task is {images.task}",
        )
    if images.task not in ("detect", "tag") and len(images.classes) < 2:
        raise FovealError(
            f"{root}: one class only ({', '.join(images.classes)})", "a recogniser needs two: add a folder of others"
        )
    if not len(images):
        raise FovealError(f"{root}: the {split} split has no image", "add some, or take the split away")
    return images


def readable(
    images: AnySet, strict: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[AnySet, list[tuple[str, str]]]:
    """Decode every file once, in threads: the set without the unreadable ones, and these as (name, reason).

    Sets in memory come back as they are. A target that is wrong is an error, whose image cannot be left out silently.
    `progress` is called with (files done, all files). Raises FovealError if
    `strict` and a file is unreadable, and if a class is left without any image.
    """
    if isinstance(images, ArraySet):
        return images, []
    bad: list[tuple[int, str]] = []
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for i, reason in enumerate(pool.map(images.verify, range(len(images)))):
            if reason is not None:
                bad.append((i, reason))
            if progress is not None and (i % 64 == 63 or i + 1 == len(images)):
                progress(i + 1, len(images))
    listed = [(images.name(i), reason) for i, reason in bad]
    if not bad:
        return images, []
    if strict:
        first = f"{listed[0][0]}: {listed[0][1]}"
        more = f" (and {len(listed) - 1} more)" if len(listed) > 1 else ""
        raise FovealError(
            f"{len(listed)} of {len(images)} images cannot be read: {first}{more}",
            "mend or delete them; without strict they are skipped",
        )
    whole = torch.ones(len(images), dtype=torch.bool)
    whole[[i for i, _ in bad]] = False
    rest = images.select(whole.nonzero().flatten())
    lost = set(images.strata.tolist()) - set(rest.strata.tolist())
    if lost and isinstance(images, ImageSet):
        name = images.classes[min(lost)]
        file, reason = next(
            pair for (i, _), pair in zip(bad, listed, strict=True) if int(images.labels[i]) == min(lost)
        )
        raise FovealError(
            f"no image of class '{name}' in the {images.split} split can be read, as {file}: {reason}",
            "mend the files, or take the class out of the set",
        )
    return rest, listed


def _task(found: ModuleType) -> str:
    return str(getattr(found, "TASK", "classify"))


def root_of(path: str | os.PathLike[str]) -> Path:
    """The path of a set: "digits" stays the embedded set, "./digits" is a folder of that name."""
    root = Path(path).expanduser()
    if root == Path("digits") and os.fspath(path) != "digits":
        return root.absolute()
    return root


def _missing(root: Path) -> FovealError:
    near: list[str] = []
    if root.parent.is_dir():
        near = difflib.get_close_matches(root.name, [entry.name for entry in root.parent.iterdir()], n=1)
    hint = (
        f"did you mean {root.parent / near[0]}?" if near else "check the path; 'digits' is the set that needs no files"
    )
    return FovealError(f"{root}: there is no such file or folder", hint)


def _unrecognised(root: Path, names: list[str]) -> FovealError:
    tried = f"tried: {', '.join(names)}"
    if not root.is_dir():
        return FovealError(f"{root}: is no data set ({tried})", "give a folder, or a table called *.csv")
    loose = sum(file.suffix.lower() in SUFFIXES for file in root.iterdir())
    if loose:
        return FovealError(
            f"{root}: images lie in the folder itself ({loose}), so nothing says their class ({tried})",
            "put them into one folder per class, or list them in a table path,label",
        )
    return FovealError(
        f"{root}: no data set is recognised ({tried})",
        "wanted: a folder of images per class, a table path,label, or the files of MNIST or CIFAR",
    )
