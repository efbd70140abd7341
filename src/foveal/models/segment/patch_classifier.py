"""A classifier of the patch around each pixel: segmentation before there were networks for it.

D. Cireşan, A. Giusti, L. Gambardella, J. Schmidhuber, «Deep neural networks segment neuronal membranes in electron
microscopy images», NIPS 2012, section 2 and table 1 (network N4). The class of a pixel is that of the 95x95 patch
around it; the image is mirrored beyond its borders.

Done patch by patch the same sums are computed thousands of times. Here the classifier slides at a stride of 1
(`graph.convolutionalize` and `graph.dilate`: Li, Zhao and Wang 2014), which gives the same scores to rounding.
Its weights are those of the network for one patch, key by key behind «net.»: train either one.

Departures: ReLU (the paper leaves the choice of nonlinearity open); no foveation of the patches.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from foveal import notation
from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.dilate import dilate
from foveal.graph.swap import sharing
from foveal.layers.alignment import MirrorPad
from foveal.layers.switched import initialise_he
from foveal.types import Facts

_LAYERS = (
    "4-1Conv48 (ReLU) → 2-2MaxPool → 5-1Conv48 (ReLU) → 2-2MaxPool → 4-1Conv48 (ReLU) → 2-2MaxPool → "
    "4-1Conv48 (ReLU) → 2-2MaxPool → FC200 (ReLU) → FC{classes}"
)
PATCH = 95

FACTS = {
    "patch_classifier": Facts(
        paper="Cireşan, Giusti, Gambardella, Schmidhuber: Deep Neural Networks Segment Neuronal Membranes",
        year=2012,
        input=(1, 512, 512),
        num_classes=2,
        dataset="ISBI 2012 (neuronal membranes)",
        parameters=219_290,
        macs=66_990_362_368,
        published={"window": PATCH, "maps": (92, 46, 42, 21, 18, 9, 6, 3)},
    ),
}


class PatchClassifier(nn.Module):
    """Mirrored borders and a sliding classifier: images [N, channels, H, W] of any size → scores [N, classes, H, W]."""

    def __init__(self, classifier: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.mirror = MirrorPad(PATCH // 2)
        sliding = sharing(classifier, partial(convolutionalize, input=(channels, PATCH, PATCH)))
        self.net = sharing(sliding, dilate)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(self.mirror(images))  # type: ignore[no-any-return]


def patch_classifier(num_classes: int = 2, *, channels: int = 1) -> PatchClassifier:
    """Network N4 at every pixel, images [N, channels, H, W] of any size → scores [N, num_classes, H, W]."""
    if channels < 1:
        raise FovealError(f"channels={channels}: an image has at least one", "1 for grey, 3 for colour")
    text = _LAYERS.format(classes=num_classes)
    classifier = notation.parse(text, input=(channels, PATCH, PATCH), names="layer")
    initialise_he(classifier)
    return PatchClassifier(classifier, channels)
