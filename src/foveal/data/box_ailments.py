"""The doctor's knowledge of boxes: what reading found, and boxes that are there twice or too small to be meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import torch

from foveal.boxes.overlap import iou
from foveal.data.boxset import BoxSet
from foveal.data.dataset import VisionSet
from foveal.data.findings import Finding

_TINY = 3.0  # pixels of a side
_SAME = 0.98  # IoU of two boxes of one class that mean one object
_WHAT = {
    "class": "objects of a class that is not listed",
    "number": "boxes that are no numbers",
    "inverted": "boxes with exchanged corners",
    "empty": "boxes without area, left out",
    "outside": "boxes outside their image",
    "overhang": "boxes that stick out of their image, cut",
    "outline": "outlines that cannot be used",
    "keypoint": "keypoints outside their image, taken as not given",
    "no_annotation": "pictures without an annotation",
    "no_image": "annotations without a picture",
}


def box_findings(root: str, sets: Mapping[str, VisionSet]) -> Iterator[Finding]:
    """All findings about the boxes of the sets that have some."""
    boxes = {split: images for split, images in sets.items() if isinstance(images, BoxSet)}
    for kind, what in _WHAT.items():
        found = dict.fromkeys(f for images in boxes.values() for f in images.faults if f.kind == kind)
        if found:
            first, count = next(iter(found)), len(found)
            places = tuple(_short(root, fault.where) for fault in found)
            yield Finding(f"box_{kind}", first.severity, f"{count:,} {what}", places, first.mend)
    yield from _odd(root, boxes)


def _odd(root: str, boxes: Mapping[str, BoxSet]) -> Iterator[Finding]:
    twice, tiny, bare = [], [], []
    for images in boxes.values():
        for i, found in enumerate(images.objects):
            place = _short(root, images.name(i))
            if not len(found):
                bare.append(place)
                continue
            overlap = iou(found.boxes[:, None], found.boxes).triu(1)
            same = (overlap >= _SAME) & (found.labels[:, None] == found.labels)
            twice += [f"{place}: objects {found.ids[a]} and {found.ids[b]}" for a, b in same.nonzero().tolist()]
            sides = (found.boxes[:, 2:] - found.boxes[:, :2]).amin(1)
            small = torch.nonzero(sides < _TINY).flatten().tolist()
            tiny += [f"{place}: object {found.ids[n]}, {float(sides[n]):.3g} pixels" for n in small]
    if twice:
        what = f"{len(twice):,} pairs of boxes of one class that mean one object"
        yield Finding("box_duplicate", "warning", what, tuple(twice), "delete one of each")
    if tiny:
        what = f"{len(tiny):,} boxes with a side below {_TINY:g} pixels"
        yield Finding("box_tiny", "warning", what, tuple(tiny), "look at them: a click by mistake? Delete those")
    if bare:
        what = f"{len(bare):,} pictures without any object"
        yield Finding("no_object", "note", what, tuple(bare), "none, if there is nothing in them")


def _short(root: str, text: str) -> str:
    return text.replace(os.path.join(root, ""), "")  # noqa: PTH118 (text, not a path)
