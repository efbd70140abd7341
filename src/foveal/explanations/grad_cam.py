"""Where in the image a class was found: the maps of a layer, weighted by what they do for its score.

R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, «Grad-CAM: visual explanations from deep
networks via gradient-based localization», ICCV 2017, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, batch, layer_of, named, outputs, targets
from foveal.explanations._draw import Spread, enlarged, overlay, photograph, sheet
from foveal.graph.modes import evaluating

TOGETHER = True  # several images go on one sheet
_SIDE = 224  # pixels of a picture on the sheet


def grad_cam(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    layer: str | None = None,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
) -> Explanation:
    """ReLU of the sum of a layer's maps, each weighted by the mean gradient of the class's score over its positions.

    Arrays: heat [B, H, W], enlarged bilinearly to the image, and cam [B, h, w] as the layer has it.

    Args:
        model: any network that gives scores; it need not be traceable. Left as it was.
        image: [C, H, W] or [B, C, H, W] as the network takes it.
        target: the class; by default each image's most probable.
        layer: a layer that gives maps; by default the last convolution.
        classes: names for the captions.
        mean, std: how the image was normalised, for drawing it.

    Raises:
        FovealError: as `saliency`; a layer that does not exist, or gives no maps.
    """
    images = batch(image, "grad_cam")
    name = layer_of(model, layer)
    with evaluating(model), torch.enable_grad():
        leaf = images.clone().requires_grad_()  # without it a network of frozen weights would have no gradients
        result, found = outputs(model, [name], leaf)
        chosen, seen = targets(result, target), found[name]
        picked = result.gather(1, chosen[:, None]).sum()
        (gradient,) = torch.autograd.grad(picked, seen, allow_unused=True)
    if gradient is None:
        raise FovealError(f"layer '{name}' has no part in the scores", "choose another layer")
    cam = (gradient.mean((2, 3), keepdim=True) * seen.detach()).sum(1).clamp_min(0)
    heat = F.interpolate(cam[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    tiles = []
    for one, map_, number in zip(images, heat, chosen.tolist(), strict=True):
        picture = enlarged(photograph(one, mean, std), _SIDE)
        wide = F.interpolate(map_[None, None], picture.shape[1:], mode="bilinear", align_corners=False)[0, 0]
        tiles += [(picture, "image"), (overlay(picture, wide), f"Grad-CAM at {name}: {named(number, classes)}")]
    return Explanation({"heat": heat, "cam": cam}, {"grad_cam": sheet(tiles, 2)})
