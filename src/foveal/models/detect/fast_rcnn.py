"""Fast R-CNN: the convolutions once an image; each window is cut out of their map, and classified and moved at once.

R. Girshick, «Fast R-CNN», ICCV 2015. Where objects may be is not its matter: windows come from outside, by selective
search unless others are given.

Departures. All layers learn (the paper starts from ImageNet's weights and leaves conv1 as it is). Initialisation of the
trunk is He's, since nothing here is downloaded unasked; a classifier's weights, VGG-16's or a ResNet's, load by their
own names. Layers are not split by singular values (section 3.1). ResNets are as in K. He et al., «Deep residual
learning», CVPR 2016, appendix A: conv5 looks at windows of conv4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from foveal.errors import FovealError, unknown
from foveal.models.detect._found import Detections, Limits
from foveal.models.detect._second import Sampling, SecondStage, resnet_map, vgg16_map
from foveal.models.detect._trunks import RESNETS
from foveal.proposals.search import Search
from foveal.proposals.selective_search import Mode
from foveal.types import Facts

FACTS = {
    "fast_rcnn": Facts(
        paper="Girshick: Fast R-CNN",
        year=2015,
        input=(3, 600, 800),
        num_classes=20,
        dataset="VOC 2007",
        parameters=134_690_729,
        published={"ap50_voc07": 66.9, "ap50_voc0712": 70.0, "seconds": "0.32 an image on a K40, search left out"},
    ),
}

_SAMPLING = Sampling(64, 0.1, 1.0)  # section 2.3


class Raw(NamedTuple):
    """What is said of windows: `proposals` of each image, [P_i, 4] in pixels; and of the P windows of all images logits
    [P, num_classes + 1], background first, and deltas [P, num_classes + 1, 4]."""

    proposals: list[Tensor]
    logits: Tensor
    deltas: Tensor


class FastRCNN(SecondStage):
    """Images [N, 3, H, W] → `Raw`. `search` tells where to look, as long as nobody else does."""

    search: Search

    def forward(self, images: Tensor, proposals: Sequence[Tensor] | None = None) -> Raw:
        windows = self.search.of(images, proposals)
        return Raw(windows, *self.second(self.backbone(images), windows))

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`classes` (cross-entropy) and `boxes` (smooth L1), over 64 windows of each image: up to a quarter of them
        have an IoU of 0.5 or more with an object; the others, background, one of 0.1 to 0.5 (any where is no object).

        targets: one dictionary an image with `boxes` [K, 4] in pixels, `labels` [K], and the windows as `proposals`
        [P, 4]; images are searched where these are missing. True boxes are windows too.
        """
        windows = self.search.of_targets(images, targets)
        assigned = [self.assigned(*pair) for pair in zip(windows, targets, strict=True)]
        return self.second_losses(self.backbone(images), assigned)

    def detect(self, images: Tensor, proposals: Sequence[Tensor] | None = None) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on.

        proposals: the windows of each image, [P, 4] in pixels, best first; images are searched where none are given.
        """
        raw: Raw = self(images, proposals)
        return self.detections(raw.proposals, raw.logits, raw.deltas, images)

    def fixed(self, images: Tensor, windows: Tensor) -> dict[str, Tensor]:
        """`detect` in windows [N, P, 4], those without area being none, in a graph that does not depend on the data:
        boxes [N, K, 4], scores [N, K] falling, 0 where nothing is left, labels [N, K]."""
        real = (windows[..., 2:] > windows[..., :2]).all(-1)
        return self.fixed_detections(self.backbone(images), windows, real, images)


def fast_rcnn(
    num_classes: int = 20,
    *,
    encoder: str = "vgg16",
    width: int = 64,
    stride: Literal[8, 16] = 16,
    hidden: int = 0,
    proposals: Mode = "fast",
    windows: int = 2000,
    side: int = 500,
    least_side: int = 20,
    frozen: bool = False,
    score: float = 0.05,
    overlap: float = 0.3,
    most: int = 100,
) -> FastRCNN:
    """Fast R-CNN on one map of stride 16, images [N, 3, H, W] of any size; the paper's have a shorter side of 600.

    encoder: vgg16 with fc6 and fc7 on windows of 7x7, or resnet18, 34, 50 or 101, of `width` maps in their first
    layer, with their conv5 on windows of 14x14, or with `hidden` units in fc6 and fc7; stride: 8 for small objects, the
    ResNet's conv4 then belongs to what looks at windows, or is left out with `hidden`. proposals: how images are
    searched whose windows are not given (`single`, `fast`, `quality`), for at most `windows` of `least_side` pixels or
    more, at a longer side of `side` at most. Other options as for `faster_rcnn`. Raises FovealError for other values.
    """
    if encoder != "vgg16" and encoder not in RESNETS:
        raise unknown("encoder of fast_rcnn", encoder, ("vgg16", *RESNETS))
    if stride not in (8, 16):
        raise FovealError(f"stride={stride} of fast_rcnn", "give 8 or 16")
    if encoder == "vgg16" and (width, stride, hidden) != (64, 16, 0):
        raise FovealError(
            f"width={width}, stride={stride}, hidden={hidden} of vgg16", "name a ResNet as encoder=resnet18 for these"
        )
    one = vgg16_map() if encoder == "vgg16" else resnet_map(encoder, width, stride, hidden)
    model = FastRCNN(
        one.trunk,
        pool=one.pool,
        head=one.head,
        width=one.width,
        num_classes=num_classes,
        limits=Limits(score, overlap, most, side=0.01),
        sampling=_SAMPLING,
        frozen=frozen,
    )
    model.search = Search(proposals, windows, side, least_side)
    return model
