"""Pictures of masks: samples of the training set, and images with their truth, what was predicted and the errors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from foveal.data.drawing import veiled
from foveal.data.image import ImageDecodeError
from foveal.data.masks import MaskSet
from foveal.evaluation.masks import MaskEvaluation
from foveal.report.html import Html, escape, join, paragraph, table, tag
from foveal.report.pictures import embed
from foveal.training.run import Run
from foveal.training.segmenter import Segmenter
from foveal.types import IGNORED

_SAMPLES = 8
_COUNTED = 400  # masks whose pixels are counted for the data card
_WORST, _RANDOM = 6, 4  # images
_WRONG = torch.tensor([207.0, 90.0, 27.0])


def samples(train: MaskSet, side: int) -> Html:
    """Some training images under their masks, and the classes' shares of the pixels."""
    chosen = _spread(len(train), _SAMPLES)
    pictures = [_truth(train, i, side) for i in chosen]
    counted = _spread(len(train), _COUNTED)
    pixels = torch.zeros(IGNORED + 1, dtype=torch.int64)
    there = torch.zeros(IGNORED + 1, dtype=torch.int64)
    for i in counted:
        found = train.target(i).as_subclass(Tensor).flatten().bincount(minlength=IGNORED + 1)
        pixels, there = pixels + found, there + (found > 0)
    total = max(int(pixels.sum()), 1)
    names = [*enumerate(train.classes), *([(IGNORED, "without class")] if int(pixels[IGNORED]) else [])]
    rows = [
        [escape(name), escape(f"{100 * int(pixels[i]) / total:.2f} %"), escape(f"{int(there[i]):,}")]
        for i, name in names
    ]
    of = f"{len(counted):,} training images" if len(counted) == len(train) else f"{len(counted):,} of them"
    return join(
        [
            tag("div", *pictures, class_="masks"),
            paragraph(f"Shares of the pixels, and images with the class, in {of}:"),
            table(("class", "of the pixels", "images"), rows, numbers=(1, 2)),
        ]
    )


def compared(run: Run, test: MaskSet, e: MaskEvaluation, side: int) -> Html:
    """The worst images by their own mean IU, then others drawn at random: picture, truth, prediction, errors."""
    row = _Row(run.segmenter(), test, e, side)
    order = e.image_iu.nan_to_num(nan=torch.inf).argsort().tolist()
    worst = order[:_WORST]
    mixed = torch.randperm(len(order), generator=torch.Generator().manual_seed(0)).tolist()
    other = [i for i in mixed if i not in worst][:_RANDOM]
    parts = [
        paragraph(
            "From left to right: the picture, the truth, what the network says, and where it errs: in orange. Black is "
            "not counted."
        ),
        tag("h3", escape("The worst images")),
        *map(row, worst),
    ]
    if other:
        parts += [tag("h3", escape("Images drawn at random")), *map(row, other)]
    return join(parts)


def errors(image: Tensor, truth: Tensor, found: Tensor) -> Tensor:
    """Where two masks, uint8 [H, W], disagree, over a pale picture: uint8 [3, H, W]; black where nothing is counted."""
    pale = (160 + image.float().mean(0) * 0.37).expand(3, -1, -1)
    wrong, ignored = truth != found, truth == IGNORED
    drawn = torch.where(wrong, _WRONG.view(3, 1, 1), pale).where(~ignored, torch.zeros(()))
    return drawn.round().to(torch.uint8)


class _Row:
    """Image number `place` of an evaluation as a row of pictures."""

    def __init__(self, segmenter: Segmenter, test: MaskSet, e: MaskEvaluation, side: int) -> None:
        self.segmenter, self.test, self.evaluation, self.side = segmenter, test, e, side
        self.number = {test.name(i): i for i in range(len(test))}

    def __call__(self, place: int) -> Html:
        name, iu = self.evaluation.names[place], float(self.evaluation.image_iu[place])
        short = name.replace("\\", "/").rpartition("/")[2]
        words = tag(
            "p", escape(f"{short} · mean IU {'–' if math.isnan(iu) else f'{iu:.1f} %'}"), class_="fine", title=name
        )
        if name not in self.number:
            return tag("div", words, paragraph("No longer in the set.", "note"))
        try:
            image = self.test.load(self.number[name])
        except ImageDecodeError as error:
            return tag("div", words, paragraph(f"Cannot be read any more: {error.reason}.", "note"))
        truth = self.test.target(self.number[name]).as_subclass(Tensor)
        found, count = self.segmenter.labels(image), len(self.test.classes)
        views = (
            (image, name),
            (veiled(image, truth, count), "truth"),
            (veiled(image, found, count), "prediction"),
            (errors(image, truth, found), "errors"),
        )
        return tag("div", words, tag("div", *(embed(view, told, self.side) for view, told in views), class_="masks"))


def _truth(images: MaskSet, i: int, side: int) -> Html:
    try:
        image = images.load(i)
    except ImageDecodeError as error:
        return tag("span", escape(error.reason), class_="missing")
    return embed(veiled(image, images.target(i).as_subclass(Tensor), len(images.classes)), images.name(i), side)


def _spread(count: int, most: int) -> Sequence[int]:
    """Up to `most` of `count` places, evenly spread."""
    shown = min(count, most)
    return [i * count // shown for i in range(shown)]
