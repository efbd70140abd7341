"""MSDNet: coarse and fine maps side by side from the first layer on, so that a classifier can stand at every depth.

G. Huang, D. Chen, T. Li, F. Wu, L. van der Maaten, K. Weinberger, «Multi-scale dense networks for resource efficient
image classification», ICLR 2018: section 4, figure 2, and appendix A for the sizes on CIFAR. Results are curves there:
no table states an error.

Three scales of 32, 16 and 8 pixels. The first layer gives 16, 32 and 64 maps; each further one adds 6, 12 and 24 that
see all earlier maps of their scale (3x3) and, half of them, of the next finer one (3x3, stride 2), each behind a 1x1
convolution. Network reduction: behind each third of the layers the finest scale ends, and 1x1 convolutions halve the
maps. Every exit is two 3x3 convolutions of 128 maps with stride 2, 2x2 average pooling and a linear layer.

The defaults are the any-time network: 24 layers, exits behind layers 4, 6, …, 24. `spacing="linear"` with base=1 and
step=1 puts them behind layers 1, 3, 6, 10, …, as the paper does under a budget for many images.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import accumulate
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.residual import initialise
from foveal.types import Facts

FACTS = {
    "msdnet": Facts(
        paper="Huang, Chen, Li, Wu, van der Maaten, Weinberger: Multi-Scale Dense Networks",
        year=2018,
        input=(3, 32, 32),
        num_classes=10,
        parameters=5_470_050,
        macs=86_111_488,  # up to the last exit, without those before it
        dataset="CIFAR-10",
        published={
            "layers": 24,
            "exits_behind_layers": tuple(range(4, 25, 2)),
            "first_layer_maps": (16, 32, 64),
            "added_maps": (6, 12, 24),
        },
    ),
}

_FIRST, _GROWTH = 16, 6  # maps at the finest scale: of the first layer, and added by each further one
_FACTORS = (1, 2, 4)  # of the scales, for maps and for the widths of the 1x1 convolutions
_EXIT_MAPS = 128


class Unit(nn.Module):
    """One scale of one layer: x and the maps that it adds, [N, C, H, W], finer scale → [N, C + new, H, W]."""

    def __init__(self, channels: int, finer: int | None, scale: int) -> None:
        super().__init__()
        new = _GROWTH * _FACTORS[scale]
        if finer is not None:
            new //= 2
            self.down = _bottleneck(finer, new, _FACTORS[scale - 1], 2)
        self.same = _bottleneck(channels, new, _FACTORS[scale], 1)

    def forward(self, x: Tensor, finer: Tensor | None) -> Tensor:
        if finer is None:
            return torch.cat((x, self.same(x)), 1)
        return torch.cat((x, self.down(finer), self.same(x)), 1)


class Layer(nn.Module):
    """All scales of one layer: the responses of the scales, finest first, → those of the next layer.

    `scale3` and so on are the scales that it makes; where the finest one ends here, it is still read.
    """

    def __init__(self, maps: list[int], first: int, ends: bool) -> None:
        super().__init__()
        self.ends = ends
        for scale in range(first, 3):
            finer = maps[scale - 1] if scale > first or ends else None
            self.add_module(f"scale{scale + 1}", Unit(maps[scale], finer, scale))

    def forward(self, responses: list[Tensor]) -> list[Tensor]:
        finer = [*responses[:-1]] if self.ends else [None, *responses[:-1]]
        own = responses[1:] if self.ends else responses
        return [unit(x, f) for unit, x, f in zip(self.children(), own, finer, strict=True)]


class Transition(nn.Module):
    """1x1 convolutions that halve the maps of the scales that are left; `width` is the finest scale's number."""

    def __init__(self, width: int, first: int) -> None:
        super().__init__()
        for scale, factor in list(enumerate(_FACTORS))[first:]:
            conv = nn.Sequential(_convolution("", width * factor, width // 2 * factor, 1))
            self.add_module(f"scale{scale + 1}", conv)

    def forward(self, responses: list[Tensor]) -> list[Tensor]:
        return [conv(x) for conv, x in zip(self.children(), responses, strict=True)]


class MSDNet(nn.Module):
    """The layers with their exits: layer1 … layer24, exit1 …; a transition stands behind the layer of its number."""

    def __init__(self, exits_behind: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.exits_behind = exits_behind
        depth = exits_behind[-1]
        third = -(-depth // 3)
        self.layer0 = nn.ModuleDict()
        channels = 3
        for scale, factor in enumerate(_FACTORS):
            conv = _convolution("", channels, _FIRST * factor, 3, 1 if scale == 0 else 2)
            self.layer0[f"scale{scale + 1}"] = nn.Sequential(conv)
            channels = _FIRST * factor
        width = _FIRST  # of the finest scale; the others have their factor of it
        for number in range(1, depth + 1):
            first = (number - 1) // third
            ends = number > 1 and (number - 2) // third < first
            maps = [width * factor for factor in _FACTORS]
            self.add_module(f"layer{number}", Layer(maps, first, ends))
            width += _GROWTH
            if ends:
                self.add_module(f"transition{number}", Transition(width, first))
                width //= 2
            if number in exits_behind:
                self.add_module(f"exit{exits_behind.index(number) + 1}", _exit(width * _FACTORS[-1], num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.get_submodule(f"exit{len(self.exits_behind)}")(self._coarsest(x)[-1])
        return scores

    def exits(self, images: Tensor) -> list[Tensor]:
        """The scores of every exit, cheapest first, each [N, num_classes]; the last are forward's."""
        return [
            self.get_submodule(f"exit{number}")(features)
            for number, features in enumerate(self._coarsest(images), start=1)
        ]

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The cross-entropy of every exit, all with weight 1 (section 4). images [N, 3, 32, 32], targets [N]."""
        scores = self.exits(images)
        return {f"exit{i}": F.cross_entropy(s.float(), targets) for i, s in enumerate(scores, start=1)}

    def _coarsest(self, images: Tensor) -> list[Tensor]:
        """The coarsest scale's responses behind each layer that has an exit."""
        responses: list[Tensor] = []
        for conv in self.layer0.values():
            responses.append(conv(responses[-1] if responses else images))
        found = []
        for number in range(1, self.exits_behind[-1] + 1):
            responses = self.get_submodule(f"layer{number}")(responses)
            if f"transition{number}" in self._modules:
                responses = self.get_submodule(f"transition{number}")(responses)
            if number in self.exits_behind:
                found.append(responses[-1])
        return found


def msdnet(
    num_classes: int = 10,
    *,
    exits: int = 11,
    base: int = 4,
    step: int = 2,
    spacing: Literal["even", "linear"] = "even",
) -> MSDNet:
    """MSDNet for CIFAR with `exits` classifiers, [N, 3, 32, 32] → scores of the last one [N, num_classes].

    The first exit stands behind layer `base`, each further one `step` layers on («even»), or step + 1, 2·step + 1, …
    («linear»). Raises FovealError for numbers below 1 and for fewer than three layers.
    """
    if spacing not in ("even", "linear"):
        raise unknown("spacing of msdnet", str(spacing), ("even", "linear"))
    steps = [base] + [step if spacing == "even" else step * i + 1 for i in range(1, exits)]
    behind = tuple(accumulate(steps))
    if min(exits, base, step) < 1 or behind[-1] < 3:
        raise FovealError(
            f"exits={exits}, base={base}, step={step}: {behind[-1]} layers", "each is at least 1, and 3 layers in all"
        )
    return MSDNet(behind, num_classes)


def _convolution(name: str, channels: int, maps: int, kernel: int, stride: int = 1) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        {
            f"conv{name}": nn.Conv2d(channels, maps, kernel, stride, kernel // 2, bias=False),
            f"bn{name}": nn.BatchNorm2d(maps),
            f"relu{name}": nn.ReLU(),
        }
    )


def _bottleneck(channels: int, new: int, factor: int, stride: int) -> nn.Sequential:
    """1x1 to at most factor · new maps, then 3x3."""
    width = min(channels, factor * new)
    return nn.Sequential(_convolution("1", channels, width, 1) | _convolution("2", width, new, 3, stride))


def _exit(channels: int, num_classes: int) -> nn.Sequential:
    layers = _convolution("1", channels, _EXIT_MAPS, 3, 2)  # [N, 128, 4, 4]
    layers |= _convolution("2", _EXIT_MAPS, _EXIT_MAPS, 3, 2)  # [N, 128, 2, 2]
    layers["pool"] = nn.AvgPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(_EXIT_MAPS, num_classes)
    return nn.Sequential(layers)
