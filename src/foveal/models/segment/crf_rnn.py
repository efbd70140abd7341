"""CRF-RNN: any network for segmentation with a fully connected CRF behind it, trained as one.

S. Zheng et al., «Conditional random fields as recurrent neural networks», ICCV 2015, sections 4 to 6: FCN-8s, and five
iterations of mean field in training, ten in use; here `iterations` says how many in both. Train the network alone
first, load its weights into `network`, then train on (the paper: learning rate 1e-13 on unnormalised sums, one image a
batch).
"""

from __future__ import annotations

from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.layers.crf import DenseCRF
from foveal.types import Facts

_LEVELS = (58.395, 57.12, 57.375)  # of one unit of an image that ImageNet's statistics normalise

FACTS = {
    "crf_rnn": Facts(
        paper="Zheng et al.: Conditional Random Fields as Recurrent Neural Networks",
        year=2015,
        input=(3, 500, 500),
        num_classes=21,
        dataset="PASCAL VOC 2012",
        parameters=134_377_346,
        macs=182_080_284_048,
        published={"mean_iu_test": 72.0, "mean_iu_test_with_coco": 74.7, "iterations": 5},
    ),
}


class CRFRNN(nn.Module):
    """`network` and then `crf`: images [N, 3, H, W] → scores [N, num_classes, H, W]."""

    def __init__(self, network: nn.Module, crf: DenseCRF) -> None:
        super().__init__()
        self.network, self.crf = network, crf

    def forward(self, images: Tensor) -> Tensor:
        return self.crf(self.network(images), images)  # type: ignore[no-any-return]


def crf_rnn(
    num_classes: int = 21,
    *,
    network: str = "fcn8s",
    iterations: int = 5,
    spatial: float = 3.0,
    position: float = 160.0,
    colour: float = 3.0,
    levels: tuple[float, float, float] = _LEVELS,
) -> CRFRNN:
    """`network` with a CRF on top, images [N, 3, H, W] → scores [N, num_classes, H, W]; deviations as in `DenseCRF`.

    network: a network for segmentation of the catalogue. levels: grey levels of one unit of the images' channels, by
    default those of images normalised as ImageNet's. Raises FovealError for a network of another kind, and for numbers
    that are not positive.
    """
    entry = catalog.entries("model").get(network)
    if network == "crf_rnn" or (entry and ".segment." not in entry.module):
        raise FovealError(f"{network} gives no scores for each pixel", "such as fcn8s, unet, tiramisu67")
    if iterations < 1 or min(spatial, position, colour, *levels) <= 0:
        raise FovealError("iterations, spatial, position, colour and levels of crf_rnn are positive", "mend them")
    crf = DenseCRF(
        num_classes,
        iterations=iterations,
        spatial=spatial,
        position=position,
        colour=colour,
        weight_spatial=3.0,
        weight_bilateral=5.0,
        levels=levels,
    )
    return CRFRNN(catalog.get("model", network)(num_classes=num_classes), crf)
