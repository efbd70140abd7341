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


class Annotation(NamedTuple):
    """A file's objects as they stand there, which of them are difficult, and the image's width and height, if told."""

    boxes: tuple[Box, ...]
    difficult: tuple[bool, ...]
    size: tuple[int, int] | None


def read_boxes(file: Path) -> tuple[Box, ...]:
    """The objects of an annotation, in the file's order. FovealError naming the file, the object and what is wrong."""
    boxes = read_annotation(file).boxes
    for number, box in enumerate(boxes, 1):
        if not all(map(math.isfinite, box[1:])) or not (box.left < box.right and box.top < box.bottom):
            raise FovealError(f"{file}: the box of object {number} has no area: {list(box[1:])}", "mend the file")
    return boxes


def read_annotation(file: Path) -> Annotation:
    """A file whose boxes may have no area. FovealError naming the file, and the object that cannot be read."""
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
    objects = list(root.iter("object"))
    texts = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    size = (int(texts[0]), int(texts[1])) if all(text.isdecimal() and len(text) < 9 for text in texts) else None
    return Annotation(
        tuple(_box(file, number, element) for number, element in enumerate(objects, 1)),
        tuple((element.findtext("difficult") or "").strip() == "1" for element in objects),
        size if size and min(size) > 0 else None,
    )


def _box(file: Path, number: int, element: ElementTree.Element) -> Box:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise FovealError(f"{file}: object {number} has no name", "mend the file")
    texts = [(element.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError as error:
        raise FovealError(f"{file}: the box of object {number} is {texts}", f"it needs {', '.join(_SIDES)}") from error
    return Box(name, left, top, right, bottom)
