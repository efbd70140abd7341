"""What a network believes about pictures: each with its most probable classes as bars, the true one marked.

A. Krizhevsky, I. Sutskever, G. E. Hinton, «ImageNet classification with deep convolutional neural networks», NIPS 2012,
figure 4 (left).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from foveal.data import drawing
from foveal.errors import FovealError
from foveal.explanations._common import Explanation, batch, named, scores, targets
from foveal.explanations._draw import Spread, enlarged, photograph, sheet
from foveal.graph.modes import evaluating

TOGETHER = True  # several images go on one sheet
_SIDE = 160  # pixels of a picture and of its bars
_LINE = 20  # pixels of a bar
_RIGHT, _OTHER = (226, 105, 79), (137, 170, 214)
_COLUMNS = 4  # pictures in a row


def bars(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | Sequence[int] | None = None,
    *,
    count: int = 5,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """The `count` most probable classes of each image, the correct one in another colour.

    Arrays: probabilities [B, classes].

    Args:
        model: any network that gives scores [B, classes]; left as it was.
        image: [C, H, W] or [B, C, H, W] as the network takes it.
        target: the true class, or one for each image; without it none is marked.
        count: bars of a picture.
        classes: names of the bars.
        mean, std: how the images were normalised, for drawing them.

    Raises:
        FovealError: no image, one that the network cannot take, classes that it does not have, or too few of them.
    """
    images = batch(image, "bars")
    with evaluating(model), torch.no_grad():
        found = scores(model, images).softmax(1)
    truth: list[int | None] = [None] * len(images)
    if target is not None:
        given = [target] * len(images) if isinstance(target, int) else list(target)
        if len(given) != len(images):
            raise FovealError(f"{len(given)} classes were given for {len(images)} images", "give one for each")
        truth = [int(targets(found, one)[0]) for one in given]
    tiles = []
    for one, row, true in zip(images, found, truth, strict=True):
        picture = enlarged(photograph(one, mean, std), _SIDE)
        drawn = _bars(row.cpu(), true, count, classes)
        whole = torch.full((3, picture.shape[1] + drawn.shape[1], max(picture.shape[2], _SIDE)), 255, dtype=torch.uint8)
        whole[:, : picture.shape[1], : picture.shape[2]] = picture
        whole[:, picture.shape[1] :, :_SIDE] = drawn
        tiles.append((whole, "" if true is None else f"truth: {named(true, classes)}"))
    return Explanation({"probabilities": found}, {"bars": sheet(tiles, _COLUMNS)})


def _bars(row: Tensor, true: int | None, count: int, classes: Sequence[str] | None) -> Tensor:
    """The most probable classes of one image as uint8 [3, h, _SIDE]."""
    values, numbers = row.topk(min(count, len(row)))
    page = Image.new("RGB", (_SIDE, 6 + _LINE * len(values)), drawing.PAPER)
    draw = ImageDraw.Draw(page)
    for line, (value, number) in enumerate(zip(values.tolist(), numbers.tolist(), strict=True)):
        top = 4 + line * _LINE
        colour = _RIGHT if number == true else _OTHER
        draw.rectangle((0, top, max(1, round(value * (_SIDE - 1))), top + _LINE - 4), fill=colour)
        drawing.text(draw, (3, top), f"{named(number, classes)}  {100 * value:.0f} %", _SIDE - 4, 12)
    return torch.from_numpy(np.array(page)).movedim(-1, 0).contiguous()
