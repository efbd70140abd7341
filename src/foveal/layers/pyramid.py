"""The feature pyramid: coarse maps that see much are brought up and added to fine ones that see little."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from foveal.layers.alignment import ResizeLike


class FeaturePyramid(nn.Module):
    """Maps of falling size, [N, C_i, h_i, w_i] each → as many of the same sizes with `maps` channels.

    T.-Y. Lin et al., «Feature pyramid networks for object detection», CVPR 2017, section 3, figure 3: a 1x1 convolution
    of each map, plus the coarser level brought to its size by repetition; behind it a 3x3 convolution, without
    nonlinearity. `top`: one level more, every second place of the coarsest (footnote 2). `units`: batch normalisation
    and a ReLU behind the 3x3 convolution, for predictions that follow at once.
    """

    def __init__(self, channels: Sequence[int], maps: int = 256, *, top: bool = False, units: bool = False) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, maps, 1) for count in channels)
        self.up = nn.ModuleList(ResizeLike("nearest") for _ in channels[1:])
        self.output = nn.ModuleList(_output(maps, units) for _ in channels)
        self.top = nn.MaxPool2d(1, 2) if top else None
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        inner = [self.lateral[-1](maps[-1])]
        for i in reversed(range(len(self.up))):
            lateral = self.lateral[i](maps[i])
            inner.insert(0, lateral + self.up[i](inner[0], lateral))
        levels = [output(level) for output, level in zip(self.output, inner, strict=True)]
        return tuple(levels if self.top is None else [*levels, self.top(levels[-1])])


def _output(maps: int, units: bool) -> nn.Module:
    conv = nn.Conv2d(maps, maps, 3, padding=1, bias=not units)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(maps), relu=nn.ReLU())) if units else conv
