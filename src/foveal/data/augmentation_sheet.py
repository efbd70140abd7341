"""A recipe's augmentation on one page: what samples become in some epochs, and one of them step by step."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from foveal.data.dataset import ImageSet
from foveal.data.drawing import CELL_PAPER, FAINT, LINE, PAPER, paste, save, text
from foveal.data.draws import permutation
from foveal.data.image import ImageDecodeError
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError

_CELL = 128  # pixels, the side of the square that a picture is fitted into: 4 times CIFAR's
_GAP = 8
_STEP = _CELL + _GAP
_MARGIN = 32
_NAME = 190  # the column of names, left of the pictures
_APART = 20  # between what is not random and what is
_HEAD = 30  # above the rows of a part: the names of the columns
_CAPTION = 18  # below a picture: its size
_TITLE, _LINE_HEIGHT, _CHAIN = 44, 21, 84
_BETWEEN = 44  # the two parts


def augmentation_sheet(
    images: ImageSet,
    pipeline: Pipeline,
    file: str | os.PathLike[str] | None = None,
    *,
    samples: int = 6,
    epochs: int = 6,
    title: str = "augmentation",
    seed: int = 0,
) -> Image.Image:
    """The picture of `pipeline` at work on a set, RGB: `samples` images of different classes, drawn by `seed`.

    Each has a row: the picture in the file, what the network sees of it in test, and what it is trained on in the first
    `epochs` epochs, to the pixel. Below, the first sample is followed through the random steps, with its size in pixels
    where it changes. With `file` the sheet is written there as PNG. Raises FovealError for a set without a readable
    image, for a file that cannot be made, and for whatever the pipeline refuses.
    """
    if samples < 1 or epochs < 1:
        raise FovealError(f"samples={samples}, epochs={epochs}: the sheet needs one of each at least")
    chosen = _chosen(images, samples, seed)
    lines = _lines(pipeline)
    first = _MARGIN + _TITLE + _LINE_HEIGHT * len(lines) + _GAP * 2
    second = first + _HEAD + _STEP * len(chosen) + _BETWEEN
    bottom = second + _HEAD + (_STEP + _CAPTION) * len(pipeline.augment_steps)
    if not pipeline.augment_steps:
        bottom = second - _BETWEEN
    width = 2 * _MARGIN + _NAME + _STEP * (2 + epochs) + _APART - _GAP
    sheet = Image.new("RGB", (width, bottom - _GAP + _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, _MARGIN - 6), title, width - 2 * _MARGIN, 24)
    for number, (name, chain) in enumerate(lines):
        y = _MARGIN + _TITLE + _LINE_HEIGHT * number
        text(draw, (_MARGIN, y), name, _CHAIN, 13, colour=FAINT)
        text(draw, (_MARGIN + _CHAIN, y), chain, width - 2 * _MARGIN - _CHAIN, 13)
    heads = ["in the file", "in test", *(f"epoch {epoch}" for epoch in range(epochs))]
    _draw_heads(draw, first, heads)
    for number, i in enumerate(chosen):
        _draw_sample(sheet, first + _HEAD + _STEP * number, images, i, pipeline, epochs=epochs)
    if pipeline.augment_steps:
        draw.line([(_MARGIN, second - _BETWEEN // 2), (width - _MARGIN, second - _BETWEEN // 2)], fill=LINE)
        _draw_heads(draw, second, ["prepared", "", *heads[2:]])
        text(draw, (_MARGIN, second), "the first, step by step", _NAME, 13, colour=FAINT)
        _draw_steps(sheet, second + _HEAD, images, chosen[0], pipeline, epochs=epochs)
    if file is not None:
        save(sheet, Path(file))
    return sheet


def _lines(pipeline: Pipeline) -> list[tuple[str, str]]:
    """What stands below the title; the settings of the random steps stand beside their pictures."""
    names = [str(step).partition("(")[0] for step in pipeline.augment_steps]
    chains = {
        "prepare": map(str, pipeline.prepare_steps),
        "augment": names,
        "in test": map(str, pipeline.test_steps),
        "network": ["{1} × {2} pixels, {0} channels".format(*pipeline.input)],
    }
    return [(name, " → ".join(steps) or "nothing") for name, steps in chains.items()]


def _chosen(images: ImageSet, samples: int, seed: int) -> list[int]:
    """Readable images, of a class that has none yet as long as there is one."""
    order = permutation(seed, 0, len(images)).tolist()
    seen: dict[int, int] = {}
    turn = []  # how many of its class come before
    for i in order:
        label = int(images.labels[i])
        seen[label] = seen.get(label, -1) + 1
        turn.append(seen[label])
    chosen: list[int] = []
    for _, i in sorted(zip(turn, order, strict=True), key=lambda pair: pair[0]):  # stable: the order stays
        try:
            images.load(i, _CELL)
        except ImageDecodeError:  # the doctor lists it
            continue
        chosen.append(i)
        if len(chosen) == samples:
            break
    if not chosen:
        raise FovealError("the set has no image that can be read", "`foveal data PATH` says why")
    return chosen


def _left(column: int) -> int:
    return _MARGIN + _NAME + _STEP * column + (_APART if column > 1 else 0)


def _draw_heads(draw: ImageDraw.ImageDraw, y: int, names: list[str]) -> None:
    for column, name in enumerate(names):
        text(draw, (_left(column), y), name, _CELL, 13, colour=FAINT)


def _draw_cell(sheet: Image.Image, column: int, y: int, pixels: Tensor, caption: bool = False) -> None:
    x = _left(column)
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + _CELL - 1, y + _CELL - 1), fill=CELL_PAPER)
    paste(sheet, (x, y), pixels, _CELL)
    if caption:
        text(draw, (x, y + _CELL + 2), f"{pixels.shape[1]} × {pixels.shape[2]}", _CELL, 11, colour=FAINT)


def _draw_sample(sheet: Image.Image, y: int, images: ImageSet, i: int, pipeline: Pipeline, *, epochs: int) -> None:
    """Name, file, test view, and what the epochs show."""
    draw = ImageDraw.Draw(sheet)
    text(draw, (_MARGIN, y + _CELL // 2 - 18), images.classes[int(images.labels[i])], _NAME - 16, 16)
    text(draw, (_MARGIN, y + _CELL // 2 + 6), Path(images.name(i)).name, _NAME - 16, 11, colour=FAINT)
    _draw_cell(sheet, 0, y, images.load(i, _CELL))
    tested = pipeline.prepare(images.load(i, pipeline.min_side(train=False)))
    _draw_cell(sheet, 1, y, pipeline.centre([tested])[0])
    prepared = pipeline.prepare(images.load(i, pipeline.min_side(train=True)), train=True)
    for epoch in range(epochs):
        _draw_cell(sheet, 2 + epoch, y, pipeline.augment([prepared], torch.tensor([i]), epoch)[0])


def _draw_steps(sheet: Image.Image, y: int, images: ImageSet, i: int, pipeline: Pipeline, *, epochs: int) -> None:
    """A row for each random step: its name, its settings, and what it leaves in each epoch."""
    draw = ImageDraw.Draw(sheet)
    prepared = pipeline.prepare(images.load(i, pipeline.min_side(train=True)), train=True)
    _draw_cell(sheet, 0, y, prepared, caption=True)
    high = _STEP + _CAPTION
    for row, step in enumerate(pipeline.augment_steps):
        name, _, settings = str(step).partition("(")
        middle = y + high * row + _CELL // 2
        text(draw, (_MARGIN, middle - 18), name, _NAME - 16, 15)
        text(draw, (_MARGIN, middle + 5), settings.removesuffix(")"), _NAME - 16, 11, colour=FAINT)
    for epoch in range(epochs):
        before = prepared
        for row, stage in enumerate(pipeline.stages([prepared], torch.tensor([i]), epoch)):
            _draw_cell(sheet, 2 + epoch, y + high * row, stage[0], caption=stage[0].shape != before.shape)
            before = stage[0]
