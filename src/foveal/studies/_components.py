"""The factors of the component study: from a base recipe to recipes that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from foveal.errors import FovealError
from foveal.notation.steps import FC, Conv, Step
from foveal.studies._networks import chain_of, place_of, with_chain
from foveal.training.recipe import Recipe


@dataclass(frozen=True)
class Variant:
    """The base with one change; `published` names the row of the paper's table that made the same one."""

    factor: str
    label: str
    recipe: Recipe
    published: str = ""


def _kernel_size(base: Recipe) -> list[Variant]:
    """The first layer's kernel, two pixels smaller and larger, padded so that its maps keep their size."""
    steps = chain_of(base)
    place, conv = _first_conv(steps)
    found = []
    for kernel in (conv.kernel - 2, conv.kernel + 2):
        padding = conv.padding + (kernel - conv.kernel) // 2
        if kernel >= 1 and padding >= 0:
            changed = replace(conv, kernel=kernel, padding=padding)
            found.append(Variant("kernel_size", f"{kernel}x{kernel}", _with(base, steps, place, changed)))
    if not found:
        raise FovealError(f"its first kernel, {conv}, has no neighbours", "give a base with a larger or a padded one")
    return found


def _kernel_number(base: Recipe) -> list[Variant]:
    """Half and twice the maps in every convolution."""
    steps = chain_of(base)
    _first_conv(steps)  # there must be one
    found = []
    for label, times in (("half", 0.5), ("twice", 2.0)):
        changed = [
            replace(step, maps=max(step.groups, int(step.maps * times))) if isinstance(step, Conv) else step
            for step in steps
        ]
        found.append(Variant("kernel_number", label, with_chain(base, changed)))
    return found


def _stride(base: Recipe) -> list[Variant]:
    """The first layer's stride: 2 in place of 1, and half of a larger one, as CNN-M has 2 where CNN-F has 4."""
    steps = chain_of(base)
    place, conv = _first_conv(steps)
    stride = 2 if conv.stride == 1 else conv.stride // 2
    published = "CNN-M instead of CNN-F" if (conv.stride, stride) == (4, 2) else ""
    return [Variant("stride", str(stride), _with(base, steps, place, replace(conv, stride=stride)), published)]


def _fc(base: Recipe) -> list[Variant]:
    """The last hidden FC, the image's descriptor: a half, a quarter and a 32nd, as 2048, 1024 and 128 are of 4096."""
    steps = chain_of(base)
    hidden = [place for place, step in enumerate(steps) if isinstance(step, FC)][:-1]
    if not hidden:
        raise FovealError("it has no hidden FC", "give a base with one")
    last = steps[hidden[-1]]
    assert isinstance(last, FC)
    widths = {last.outputs // part: name for part, name in _PARTS.items() if last.outputs // part >= 1}
    return [
        Variant("fc", str(width), _with(base, steps, hidden[-1], replace(last, outputs=width)), name)
        for width, name in widths.items()
    ]


def _augmentation(base: Recipe) -> list[Variant]:
    """None, flips alone, and crops of the corners and the centre with flips; less the one that the base has."""
    height, width = base.input[1:]
    prepare = (*base.prepare, *base.test)
    window = f"corner_crop(({height}, {width}))"
    crops = (window,) if base.test else (f"pad({max(1, height // 16)})", window)
    variants = {"none": ((), ""), "flips": (("flip",), "flips alone")}
    variants["crops and flips"] = ((*crops, "flip"), "crops of corners and centre, flips")
    return [
        Variant("augmentation", label, base.with_settings(prepare=prepare, test=(), augment=augment), published)
        for label, (augment, published) in variants.items()
        if augment != base.augment
    ]


def _colour(base: Recipe) -> list[Variant]:
    """Grey pictures, in training and test."""
    if base.input[0] == 1:
        raise FovealError("it sees grey pictures already", "give a base with input=3,height,width")
    grey = base.with_settings(prepare=(*base.prepare, "grey()"))
    return [Variant("colour", "grey", grey, "grey instead of colour")]


def _first_conv(steps: list[Step]) -> tuple[int, Conv]:
    place = place_of(steps, lambda step: isinstance(step, Conv), "convolution")
    conv = steps[place]
    assert isinstance(conv, Conv)
    return place, conv


def _with(base: Recipe, steps: list[Step], place: int, step: Step) -> Recipe:
    return with_chain(base, [*steps[:place], step, *steps[place + 1 :]])


_PARTS = {2: "FC7 of 2048", 4: "FC7 of 1024", 32: "FC7 of 128"}
NETWORK: Mapping[str, Callable[[Recipe], list[Variant]]] = {
    "kernel_size": _kernel_size,
    "kernel_number": _kernel_number,
    "stride": _stride,
    "fc": _fc,
}
FACTORS = {**NETWORK, "augmentation": _augmentation, "colour": _colour}
