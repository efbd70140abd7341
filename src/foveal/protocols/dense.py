"""The network slid over whole images: fully convolutional evaluation, at one scale or several.

K. Simonyan, A. Zisserman, «Very deep convolutional networks for large-scale image recognition», ICLR 2015, section 3.2;
K. He et al., «Deep residual learning for image recognition», CVPR 2016, section 3.4, with the shorter side at 224, 256,
384, 480 and 640 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from foveal.protocols._scoring import Figures, figures, posteriors
from foveal.protocols._views import at_scales, checked, fitting, mirrored, vgg_scales
from foveal.types import DensePredictor


def dense(
    predict: DensePredictor, dataset: Any, *, scales: Sequence[int] = (), flip: bool = True, batch_size: int = 64
) -> Figures:
    """Average the scores over all positions in the image, then their softmax over the scales and mirror images.

    `scales` are shorter sides in pixels; without them the image is prepared as the recipe does it. The whole of it is
    seen, not its centre. `batch_size` counts images of the size of the network's input, of larger ones fewer go
    together. Yields and raises as `center_crop`; FovealError for a network that cannot be convolutionalised.

    Where a network pads, the padding lies around the image and no longer around each position, so that the result
    differs a little from that of single crops.
    """
    sides = checked(predict, scales)
    yield from _slid(predict, dataset, sides, flip, batch_size)


def multi_scale(
    predict: DensePredictor,
    dataset: Any,
    *,
    scales: Sequence[int] | None = None,
    flip: bool = True,
    batch_size: int = 64,
) -> Figures:
    """VGG's: `dense` at the training scale, a smaller and a larger one.

    {224, 256, 288} after training at 256, {352, 384, 416} at 384, {256, 384, 512} after jittering from 256 to 512, and
    in proportion to the input for other networks. Scales below the input are left out. Other `scales` may be given.
    Yields and raises as `dense`.
    """
    sides = vgg_scales(predict) if scales is None else checked(predict, scales)
    yield from _slid(predict, dataset, sides, flip, batch_size)


def _slid(predict: DensePredictor, dataset: Any, scales: Sequence[int], flip: bool, batch_size: int) -> Figures:
    def look(image: Tensor, name: str) -> Sequence[Tensor]:
        whole = [fitting(predict, prepared, name) for prepared in at_scales(predict, image, scales)]
        return mirrored(whole, flip)

    def forward(images: Tensor) -> Tensor:
        return predict.maps(images).mean((2, 3)).softmax(1)  # [B, classes]

    views = max(1, len(scales)) * (2 if flip else 1)
    yield from figures(*posteriors(predict, dataset, look, forward, batch_size=batch_size, views=views))
