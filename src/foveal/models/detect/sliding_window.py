"""The detector that all others are measured against: a classifier of windows, background among its classes, shown every
window of the image at every scale, and suppression of what it finds twice.

The scheme is that of P. Viola, M. Jones, «Rapid object detection using a boosted cascade of simple features», CVPR
2001, and P. Felzenszwalb, D. McAllester, D. Ramanan, «A discriminatively trained, multiscale, deformable part model»,
CVPR 2008. The classifier here is a convolutional network, computed for all windows of a scale at once (P. Sermanet et
al., «OverFeat», ICLR 2014, section 3.5), with the numbers of each window alone where the network pads nothing.

A box is the window in which the object was seen: it has the windows' shape, and `scales` and the stride decide how well
it can fit. Windows that overlap an object by an IoU of 0.5 or more are examples of it, those below 0.4 of background,
of which in each image the most offending are learned, three to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from foveal.boxes.coding import clip
from foveal.models.detect._found import Detections, Limits, found
from foveal.models.detect._references import joined
from foveal.models.detect._windows import Windows, class_loss, classifier, matched, slid

LIGHT = "5-2Conv32 (ReLU) → 2-2MaxPool → 3-1Conv64 (ReLU) → 2-2MaxPool → FC192 (ReLU)"
"""A trunk for windows of 27 pixels, one every 4: as deep as LeNet-5."""


class Raw(NamedTuple):
    """What the network says of A windows: logits [N, A, num_classes + 1], background first; and the windows themselves,
    float32 [A, 4] in pixels."""

    logits: Tensor
    windows: Tensor


class SlidingWindow(nn.Module):
    """Images [N, 3, H, W] → `Raw`. chain: a classifier of windows of `side` pixels with background as class 0."""

    def __init__(
        self, chain: nn.Sequential, side: int, num_classes: int, *, scales: Sequence[float], border: int, limits: Limits
    ) -> None:
        super().__init__()
        self.backbone, self.classifier, stride = slid(chain, side)
        self.windows = Windows(scales, side, stride, border)
        self.num_classes, self.limits = num_classes, limits

    def forward(self, images: Tensor) -> Raw:
        maps = [self.classifier(self.backbone(level)) for level in self.windows(images)]
        return Raw(joined(maps, self.num_classes + 1), self.windows.boxes(maps, images)[0])

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`classes`: cross-entropy of the windows on objects and three times as many hard negatives.

        targets: one dictionary an image with `boxes` [K, 4] and `labels` [K]. An object that no window overlaps by half
        is not learned: choose scales that fit.
        """
        raw = self(images)
        return {"classes": class_loss(raw.logits, *matched(raw.windows, targets, True), True)}

    def decode(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Boxes float32 [N, A, 4], which may leave the image, and probabilities of the classes [N, A, num_classes]."""
        return raw.windows.expand(len(raw.logits), -1, -1), raw.logits.softmax(-1)[..., 1:]

    def scored(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same with boxes within the image."""
        boxes, scores = self.decode(self(images))
        return clip(boxes, *images.shape[2:]), scores

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return [found(boxes, scores, self.limits) for boxes, scores in zip(*self.scored(images), strict=True)]


def sliding_window(
    num_classes: int = 20,
    *,
    trunk: str = LIGHT,
    side: int = 27,
    scales: Sequence[float] = (1.0, 0.71, 0.5),
    border: int = 0,
    score: float = 0.05,
    overlap: float = 0.3,
    most: int = 200,
) -> SlidingWindow:
    """A sliding-window detector, images [N, 3, H, W] of any size from a window on.

    trunk: the classifier of windows, but for its last layer, in the lectures' notation, for windows of `side` pixels;
    or a chain of the catalogue (with side=0). Objects are found whose size in pixels of the input is about side/scale
    for one of the `scales`, shares of the image's size that fall by no more than half; above 1 images are enlarged.
    border: how many pixels of a level windows reach beyond it. Reported are windows above `score`, those dropped that
    overlap a better one of their class by more than `overlap` (IoU), `most` of an image. Raises FovealError for other
    values, and in use for images that are smaller than a window at the last scale.
    """
    chain, side = classifier(trunk, side, num_classes + 1)
    limits = Limits(score, overlap, most, candidates=1000)
    return SlidingWindow(chain, side, num_classes, scales=scales, border=border, limits=limits)
