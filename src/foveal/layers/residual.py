"""The blocks of residual networks and of their plain twins, and their initialisation.

K. He, X. Zhang, S. Ren, J. Sun, «Deep residual learning for image recognition», CVPR 2016: figures 2 and 5, section 3.
Batch normalisation follows each convolution, before the nonlinearity; convolutions have no bias. Module names are the
places in the block: conv1 bn1 relu1 conv2 bn2 [relu2 conv3 bn3], then `shortcut` is added, then the last relu.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from foveal.errors import unknown
from foveal.layers.layout import for_pointwise
from foveal.layers.shortcut import PadShortcut

Shortcut = Literal["A", "B", "C"]
Version = Literal["1", "1.5"]
MakeBlock = Callable[[int, int, int], nn.Module]
"""(maps in, maps out, stride) → a block."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: [N, in, H, W] → [N, out, H/stride, W/stride] (figure 5, left)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, shortcut: Shortcut = "B") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(y + self.shortcut(x))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a quarter of the maps inside, and a shortcut (figure 5, right).

    [N, in, H, W] → [N, out, H/stride, W/stride]. version "1" puts the stride on the first 1x1 convolution, as in the
    paper; "1.5" on the 3x3, as in the networks whose weights are published since: dearer, and with a lower error.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        shortcut: Shortcut = "B",
        version: Version = "1.5",
    ) -> None:
        super().__init__()
        self.stride = stride
        width = out_channels // 4
        first, second = (stride, 1) if version == "1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = for_pointwise(x, self.stride)
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(for_pointwise(y)))
        return self.relu3(y + self.shortcut(x))  # type: ignore[no-any-return]


class PlainBlock(nn.Sequential):
    """The basic block without its shortcut: what the paper compares with (figure 3, middle)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
                bn1=nn.BatchNorm2d(out_channels),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
                bn2=nn.BatchNorm2d(out_channels),
                relu2=nn.ReLU(),
            )
        )


def stage(
    name: str, make: MakeBlock, blocks: int, in_channels: int, out_channels: int, *, stride: int
) -> OrderedDict[str, nn.Module]:
    """`blocks` blocks called name_1, name_2, …; the first one changes the maps and takes the stride."""
    layers = OrderedDict({f"{name}_1": make(in_channels, out_channels, stride)})
    for number in range(2, blocks + 1):
        layers[f"{name}_{number}"] = make(out_channels, out_channels, 1)
    return layers


def initialise(model: nn.Module, *, zero_init_residual: bool = False) -> None:
    """He initialisation: N(0, 2 / (k² maps out)) for convolutions, 1 and 0 for batch norms, the head's bias 0.

    He et al. (2015), equation 14 (the backward variant, as the authors' released code). `zero_init_residual` sets the
    last gamma of each residual branch to 0: every block starts as its shortcut (Goyal et al. 2017, section 5.1).
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    if zero_init_residual:
        for block in model.modules():
            if isinstance(block, BasicBlock | Bottleneck):
                nn.init.zeros_((block.bn3 if isinstance(block, Bottleneck) else block.bn2).weight)


def _shortcut(kind: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Section 3.3: A pads with zeros, B projects where the size changes, C projects everywhere."""
    if kind not in ("A", "B", "C"):
        raise unknown("shortcut", str(kind), ("A", "B", "C"))
    if kind != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return PadShortcut(in_channels, out_channels, stride)
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
