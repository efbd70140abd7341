"""Boxes in the XML files of PASCAL VOC, which the ImageNet challenge uses too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from foveal.errors import FovealError

_LARGEST = 4 << 20  # bytes; the files of the challenges have a few thousand
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class Box(NamedTuple):
    """An object: its name in the file (a synset's number in ILSVRC) and its sides in pixels, as the file has them."""

    name: str
    left: float
    top: float
    right: float
    bottom: float


def read_boxes(file: Path) -> tuple[Box, ...]:
    """The objects of an annotation, in the file's order. FovealError naming the file, the object and what is wrong."""
    data = file.read_bytes()
    if len(data) > _LARGEST:
        raise FovealError(f"{file}: {len(data):,} bytes are no annotation", "download it again")
    # Entities could make a small file enormous, or read another; UTF-16 would hide them from this look.
    if b"<!" in data.replace(b"<!--", b"") or b"\x00" in data:
        raise FovealError(f"{file}: declares a document type or entities", "annotations are plain XML without any")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise FovealError(f"{file}: is no XML ({error})", "download it again") from error
    return tuple(_box(file, number, element) for number, element in enumerate(root.iter("object"), 1))


def _box(file: Path, number: int, element: ElementTree.Element) -> Box:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise FovealError(f"{file}: object {number} has no name", "mend the file")
    texts = [(element.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError as error:
        raise FovealError(f"{file}: the box of object {number} is {texts}", f"it needs {', '.join(_SIDES)}") from error
    if not all(map(math.isfinite, (left, top, right, bottom))) or not (left < right and top < bottom):
        raise FovealError(f"{file}: the box of object {number} has no area: {texts}", "mend the file")
    return Box(name, left, top, right, bottom)
