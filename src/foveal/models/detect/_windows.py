"""A classifier of windows at all places and scales: the network that slides, the pyramid, and where each window is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal import catalog, notation
from foveal.boxes.matching import hard_negatives, match
from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.offsets import pooled_at_offsets
from foveal.graph.receptive_field import receptive_field
from foveal.graph.swap import sharing
from foveal.layers.sliding import SlidingLinear
from foveal.models import create

SAME, OTHER = 0.5, 0.4  # IoU from which a window shows an object, and below which it shows background


class Windows(nn.Module):
    """The pyramid of an image, and the windows that a network sees at each place of its maps.

    scales: falling shares of the image's sides; each level is resized from the one before, in steps of 2 at most, so
    that no pixel is passed over. side and stride: of the windows, in pixels of a level. border: how far windows reach
    beyond a level, in its pixels (filled with 0, the mean colour).
    """

    def __init__(self, scales: Sequence[float], side: int, stride: tuple[int, int], border: int) -> None:
        super().__init__()
        if not scales or min(scales) <= 0 or scales[0] > 4:
            raise FovealError(f"scales={tuple(scales)}", "give shares of the image's size from 4 downwards")
        if scales[0] < 0.5 or any(not 1 < large / small <= 2 for large, small in itertools.pairwise(scales)):
            raise FovealError(f"scales={tuple(scales)}", "give falling numbers, each at least half of the one before")
        if not 0 <= border < side:
            raise FovealError(f"border={border} of windows of {side} pixels", "give 0 or more, less than a window")
        self.scales, self.side, self.stride, self.border = tuple(scales), side, stride, border

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] → one batch a scale, [N, 3, round(H·scale) + 2·border, …]. FovealError where a window is
        larger than that."""
        levels, level = [], images
        for scale in self.scales:
            size = [round(n * scale) for n in images.shape[2:]]
            if min(size) + 2 * self.border < self.side:
                shown = "x".join(map(str, images.shape[2:]))
                raise FovealError(
                    f"at scale {scale:g} images of {shown} are smaller than a window of {self.side} pixels",
                    "leave out the smallest scales, or give a larger input",
                )
            if list(level.shape[2:]) != size:
                level = F.interpolate(level, size, mode="bilinear", align_corners=False)
            levels.append(F.pad(level, (self.border,) * 4))
        return levels

    def boxes(self, maps: Sequence[Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        """The window of each place of a map [N, C, h, w] of each scale: float32 [A, 4] in pixels of the images, row by
        row and scale by scale, and the number of its scale, int64 [A]."""
        boxes, numbers = [], []
        for number, (scale, map) in enumerate(zip(self.scales, maps, strict=True)):
            starts = [
                torch.arange(n, device=map.device) * step - self.border
                for n, step in zip(map.shape[2:], self.stride, strict=True)
            ]
            y, x = torch.meshgrid(*starts, indexing="ij")
            corners = torch.stack((x, y, x + self.side, y + self.side), -1).flatten(0, 1).float()
            height, width = images.shape[2:]
            grown = (width / round(width * scale), height / round(height * scale)) * 2
            boxes.append(corners * corners.new_tensor(grown))
            numbers.append(torch.full((len(corners),), number, device=map.device))
        return torch.cat(boxes), torch.cat(numbers)


def classifier(trunk: str, side: int, outputs: int) -> tuple[nn.Sequential, int]:
    """A classifier of windows, and the side of its windows in pixels.

    trunk: a network of the catalogue that is a chain (side=0 keeps its own), or all but the last layer of one in the
    lectures' notation, with He's initialisation. FovealError for others.
    """
    if "conv" in trunk.lower():
        if side < 1:
            raise FovealError(f"side={side} of the windows that {trunk} sees", "give their side in pixels")
        chain = notation.parse(f"{trunk} → FC{outputs}", input=(3, side, side), names="layer")
        for layer in chain:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        last = chain[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.01)  # all classes alike, where He's would be sure of some
        return chain, side
    network, facts = create(trunk, num_classes=outputs), catalog.facts(trunk)
    if not isinstance(network, nn.Sequential) or facts is None:
        raise FovealError(
            f"trunk={trunk} is no chain of layers", "name overfeat_fast, alexnet, vgg16 …, or write one in the notation"
        )
    if facts.input[0] != 3 or facts.input[1] != facts.input[2] or side not in (0, facts.input[1]):
        own = "x".join(map(str, facts.input))
        raise FovealError(
            f"trunk={trunk} sees windows of {own}, not 3x{side}x{side}", "give side=0, or a trunk in the notation"
        )
    return network, facts.input[1]


def slid(chain: nn.Sequential, side: int) -> tuple[nn.Sequential, nn.Sequential, tuple[int, int]]:
    """A classifier as a network that slides: all up to the first fully connected layer, the rest, and its stride.

    OverFeat's sharing (sections 3.3 and 3.5): fully connected layers are convolutions, and the last pooling starts at
    each of its offsets, so that windows lie as close as that pooling's. Weights keep their names and shapes.
    """
    input = (3, side, side)
    network = sharing(chain, lambda copy: pooled_at_offsets(convolutionalize(copy, input), input))
    assert isinstance(network, nn.Sequential)
    first = next((i for i, layer in enumerate(network) if isinstance(layer, SlidingLinear)), None)
    if not first:
        raise FovealError("a classifier of windows ends in fully connected layers", "end the trunk with FC…")
    rows, columns = list(receptive_field(network, input).values())[-1].stride
    return network[:first], network[first:], (int(rows), int(columns))


def matched(windows: Tensor, targets: Sequence[dict[str, Tensor]], background: bool) -> tuple[Tensor, Tensor]:
    """Of each image which object each window shows, or none (see `boxes.matching`), and its class, 0 for background
    where that is a class: both int64 [N, A]."""
    with torch.no_grad():
        matching = torch.stack([match(target["boxes"], windows, OTHER, SAME) for target in targets])
        labels = torch.zeros_like(matching)
        for row, own, target in zip(labels, matching, targets, strict=True):
            row[own >= 0] = target["labels"][own[own >= 0]] + int(background)
    return matching, labels


def class_loss(logits: Tensor, matching: Tensor, labels: Tensor, background: bool) -> Tensor:
    """Cross-entropy of the windows [N, A, classes] that show an object, and with background of the most offending
    others, three to one in each image: a sum, by the number of the first."""
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    counted = matching >= 0
    if background:
        counted = counted | hard_negatives(each, matching)
    return (each * counted).sum() / (matching >= 0).sum().clamp_min(1)
