"""What of the image speaks for a class: the gradient, with nothing negative let through a ReLU on the way back.

J. T. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller, «Striving for simplicity: the all convolutional net», ICLR
workshop 2015, figure 1. It shows what the image holds more than what the class asks for (Adebayo et al. 2018): try
`foveal explain sanity RUN IMAGE of=guided_backprop`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from foveal.explanations._common import Explanation, batch, image_gradient, named
from foveal.explanations._draw import Spread, enlarged, photograph, sheet, signed
from foveal.explanations._rectified import Guided
from foveal.graph.modes import evaluating

TOGETHER = True  # several images go on one sheet
_SIDE = 224  # pixels of a picture on the sheet


def guided_backprop(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """The gradient of a class's score, rectified at every ReLU on its way back.

    Arrays: gradient [B, C, H, W]. The sheet shows it around mid-grey. Arguments are those of `saliency`.

    Raises:
        FovealError: as `saliency`; and a network without ReLU modules, with other rectifiers, or with a functional
            ReLU, whose line is named.
    """
    images = batch(image, "guided_backprop")
    with evaluating(model):
        gradient, _, chosen = image_gradient(Guided(model), images, target)
    tiles = []
    for one, map_, number in zip(images, gradient, chosen.tolist(), strict=True):
        tiles.append((enlarged(photograph(one, mean, std), _SIDE), "image"))
        tiles.append((enlarged(signed(map_), _SIDE), f"guided backpropagation, {named(number, classes)}"))
    return Explanation({"gradient": gradient}, {"guided_backprop": sheet(tiles, 2)})
