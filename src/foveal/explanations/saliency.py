"""How much each pixel would change a class's score: its gradient.

K. Simonyan, A. Vedaldi, A. Zisserman, «Deep inside convolutional networks: visualising image classification models and
saliency maps», ICLR workshop 2014, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from foveal.explanations._common import Explanation, batch, image_gradient, named
from foveal.explanations._draw import Spread, enlarged, heat, photograph, sheet
from foveal.graph.modes import evaluating

TOGETHER = True  # several images go on one sheet
_SIDE = 224  # pixels of a picture on the sheet


def saliency(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """|d score / d pixel|, the largest over the colours.

    Arrays: saliency [B, H, W] ≥ 0, gradient [B, C, H, W] with its sign, in scores per unit of the normalised image.

    Args:
        model: any network that gives scores [B, classes]; run in evaluation mode and left as it was.
        image: [C, H, W] or [B, C, H, W] as the network takes it.
        target: the class; by default each image's most probable.
        classes: names for the captions.
        mean, std: how the image was normalised, for drawing it.

    Raises:
        FovealError: no image, one that the network cannot take, or a class that it does not have.
    """
    images = batch(image, "saliency")
    with evaluating(model):
        gradient, _, chosen = image_gradient(model, images, target)
    found = gradient.abs().amax(1)
    tiles = []
    for one, map_, number in zip(images, found, chosen.tolist(), strict=True):
        tiles.append((enlarged(photograph(one, mean, std), _SIDE), "image"))
        tiles.append((enlarged(heat(map_), _SIDE), f"saliency for {named(number, classes)}"))
    return Explanation({"saliency": found, "gradient": gradient}, {"saliency": sheet(tiles, 2)})
