"""Data sets from any format into any other."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal import catalog
from foveal.data.formats._boxes import without_flags
from foveal.data.open import data_splits, open_data, readable
from foveal.errors import FovealError


@dataclass(frozen=True)
class Conversion:
    """What `convert` did: images written by split, and what was left out as (name, reason)."""

    counts: Mapping[str, int]
    skipped: tuple[tuple[str, str], ...]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    format: str,
    *,
    seed: int = 0,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Write the set at `source` into the new folder `target` in another format of the same task.

    Classes: digits idx cifar folder csv ilsvrc. Masks: masks voc_masks cityscapes, from coco and labelme too, whose
    outlines are painted. Boxes: voc coco yolo boxes_csv labelme; objects with a flag that the format cannot hold
    (difficult, crowd) are left out and listed, and so are keypoints, which coco and yolo hold.

    Pictures in files keep their bytes where the format holds files; the others hold exact pixels or refuse. A set
    without splits is cut by `seed` and written with them. Unreadable pictures are left out, or refused if `strict`.

    Raises FovealError if `target` is there and not empty, or if the format cannot hold the images; then nothing is left
    at `target`.
    """
    writer = catalog.module("format", format)
    folder = Path(target).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FovealError(f"{folder}: is there already", "name a new folder: nothing is overwritten")
    task = getattr(writer, "TASK", "classify")
    sets: dict[str, Any] = {}
    skipped: list[tuple[str, str]] = []
    for split in data_splits(source, task):
        sets[split], bad = readable(open_data(source, split, seed=seed, task=task), strict, progress)
        skipped += bad
    if task == "detect":
        sets, lost = without_flags(sets, writer.FLAGS)
        skipped += lost
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
        partial.mkdir()
        writer.write(sets, partial)
        if folder.exists():
            folder.rmdir()  # empty; Windows cannot rename onto it
        partial.rename(folder)
    except OSError as error:
        raise FovealError(
            f"{error.filename or folder}: {error.strerror or error}", "is there room, and the right to write?"
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)  # gone already when all went well
    return Conversion({split: len(images) for split, images in sets.items()}, tuple(skipped))
