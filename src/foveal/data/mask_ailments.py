"""The doctor's knowledge of masks: those that are missing, wrong or of another size, and the classes' pixels."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch

from foveal.data.dataset import VisionSet
from foveal.data.findings import Finding
from foveal.data.masks import MaskSet
from foveal.data.scan import Scan
from foveal.types import IGNORED

_WHAT = {"no_mask": "images without a mask", "no_image": "masks without an image"}
_BARE = 0.5  # share of an image's pixels without class from which it is named


def mask_findings(root: str, sets: Mapping[str, VisionSet], seen: Scan) -> Iterator[Finding]:
    """All findings about the masks of the sets that have some."""
    masks = {split: images for split, images in sets.items() if isinstance(images, MaskSet)}
    if not masks:
        return
    for kind, what in _WHAT.items():
        found = dict.fromkeys(f for images in masks.values() for f in images.faults if f.kind == kind)
        if found:
            places = tuple(_short(root, fault.where) for fault in found)
            yield Finding(kind, "error", f"{len(found):,} {what}", places, next(iter(found)).mend)
    yield from _wrong(root, masks)
    yield from _sizes(root, masks, seen)
    yield from _pixels(root, masks)


def _wrong(root: str, masks: Mapping[str, MaskSet]) -> Iterator[Finding]:
    """Masks that cannot be read, or hold numbers or colours of no class; by their mend."""
    by_mend: dict[str, list[str]] = defaultdict(list)
    for images in masks.values():
        for error in images.census[1].values():
            by_mend[error.mend].append(_short(root, error.what))
    for mend, places in by_mend.items():
        yield Finding("mask", "error", f"{len(places):,} masks cannot be used", tuple(places), mend)


def _sizes(root: str, masks: Mapping[str, MaskSet], seen: Scan) -> Iterator[Finding]:
    sizes = {name: (int(size[1]), int(size[0])) for name, size in zip(seen.names, seen.sizes, strict=True)}
    places = []
    for images in masks.values():
        for i in range(len(images)):
            image = sizes.get(images.name(i))
            mask = images.size(i)
            if image is not None and mask is not None and mask != image:
                name = _short(root, images.masks[i])
                places.append(f"{name}: {mask[1]} x {mask[0]}, its image {image[1]} x {image[0]}")
    if places:
        mend = "masks have their image's size; EXIF rotation counts"
        yield Finding(
            "mask_size", "error", f"{len(places):,} masks of another size than their image", tuple(places), mend
        )


def _pixels(root: str, masks: Mapping[str, MaskSet]) -> Iterator[Finding]:
    pixels = torch.cat([images.census[0] for images in masks.values()])
    names = [_short(root, images.name(i)) for images in masks.values() for i in range(len(images))]
    classes = next(iter(masks.values())).classes
    total = pixels.sum(1)
    empty = (total > 0) & (pixels[:, IGNORED] == total)
    if bool(empty.any()):
        places = tuple(names[i] for i in empty.nonzero().flatten().tolist())
        yield Finding(
            "empty_mask", "warning", f"{len(places):,} masks without any class", places, "draw them, or delete"
        )
    bare = ~empty & (pixels[:, IGNORED] > _BARE * total)
    if bool(bare.any()):
        places = tuple(
            f"{names[i]}: {100 * int(pixels[i, IGNORED]) / int(total[i]):.0f} %"
            for i in bare.nonzero().flatten().tolist()
        )
        what = f"{len(places):,} masks of which more than half has no class"
        yield Finding("bare_mask", "note", what, places, "none, if that is meant: such pixels are not learned")
    counts = pixels[:, : len(classes)].sum(0)
    shares = [
        f"{name}: {100 * int(n) / max(int(counts.sum()), 1):.2f} %" for name, n in zip(classes, counts, strict=True)
    ]
    mend = "rare classes weigh more with class_weights=median_frequency"
    yield Finding("pixel_shares", "note", "shares of the pixels that have a class", tuple(shares), mend)


def _short(root: str, text: str) -> str:
    return text.replace(os.path.join(root, ""), "")  # noqa: PTH118 (text, not a path)
