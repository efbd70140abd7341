"""Full-resolution residual networks: one stream keeps the image's size and only receives sums, the other pools.

T. Pohlen, A. Hermans, M. Mathias, B. Leibe, «Full-resolution residual networks for semantic segmentation in street
scenes», CVPR 2017, section 4, figures 2 and 3, table 1.

A full-resolution residual unit (FRRU) puts the pooled residual stream beside the pooling stream, convolves twice, and
adds a 1x1 convolution of the result, unpooled, to the residual stream. What table 1 leaves open is as in the authors'
code: the streams are pooled by their maximum; the pooling stream is upsampled bilinearly, what goes back to the
residual stream by repetition; the 1x1 convolution that opens the residual stream has batch normalisation and no ReLU; a
residual unit ends in batch normalisation, without ReLU behind the sum. Poolings round up, and what upsampling then has
too much is cut, so that every size works.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from foveal.layers.alignment import CropLike
from foveal.layers.switched import initialise_he
from foveal.types import Facts

_BASE, _LANES = 48, 32  # maps of the first units, and of the residual stream
Plan = tuple[tuple[int, int, int], ...]  # (scale, units, maps), in order

_DOWN = ((2, 3, 96), (4, 4, 192), (8, 2, 384), (16, 2, 384))
_A: Plan = (*_DOWN, (8, 2, 192), (4, 2, 192), (2, 2, 96))
_B: Plan = (*_DOWN, (32, 2, 384), (16, 2, 192), (8, 2, 192), (4, 2, 192), (2, 2, 96))


def _facts(input: tuple[int, int, int], parameters: int, macs: int, millions: float, **more: float) -> Facts:
    return Facts(
        paper="Pohlen, Hermans, Mathias, Leibe: Full-Resolution Residual Networks",
        year=2017,
        input=input,
        num_classes=19,
        dataset="Cityscapes",
        parameters=parameters,
        macs=macs,
        published={"parameters_in_millions": millions, **more},
    )


FACTS = {
    "frrn_a": _facts((3, 256, 512), 17_746_803, 123_098_628_096, 17.7),  # a quarter of the size
    "frrn_b": _facts((3, 512, 1024), 24_755_699, 496_169_385_984, 24.8, mean_iu=71.8),  # half of it; test images
}


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions and a shortcut, at the image's size: [N, in, H, W] → [N, maps, H, W] (figure 3a)."""

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, maps, 3)
        self.conv2 = _conv(maps, maps, 3, relu=False)
        self.shortcut = nn.Identity() if channels == maps else nn.Conv2d(channels, maps, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)) + self.shortcut(x)  # type: ignore[no-any-return]


class FRRU(nn.Module):
    """Both streams in, both out: y [N, C, h, w], z [N, 32, H, W] → y' [N, maps, h, w], z' [N, 32, H, W] (figure 3b)."""

    def __init__(self, channels: int, maps: int, scale: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(scale, ceil_mode=True)
        self.conv1 = _conv(channels + _LANES, maps, 3)
        self.conv2 = _conv(maps, maps, 3)
        self.conv3 = nn.Conv2d(maps, _LANES, 1)
        self.unpool = nn.Upsample(scale_factor=scale, mode="nearest")
        self.crop = CropLike()

    def forward(self, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv2(self.conv1(torch.cat((y, self.pool(z)), 1)))
        return y, z + self.crop(self.unpool(self.conv3(y)), z)


class FRRN(nn.Module):
    """Images [N, 3, H, W] of any size → scores [N, num_classes, H, W]; `plan` lists the units between the ends."""

    def __init__(self, num_classes: int, channels: int, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.conv1 = _conv(channels, _BASE, 5)
        self.head = nn.Sequential(OrderedDict((f"unit{n}", ResidualUnit(_BASE, _BASE)) for n in (1, 2, 3)))
        self.split = _conv(_BASE, _LANES, 1, relu=False)
        maps, last = _BASE, 1
        for step, (scale, count, width) in enumerate(plan, start=1):
            if scale > last:
                self.add_module(f"pool{step}", nn.MaxPool2d(2, ceil_mode=True))
            else:
                self.add_module(f"up{step}", _upsample())
                self.add_module(f"crop{step}", CropLike())
            for number in range(1, count + 1):
                self.add_module(f"frru{step}_{number}", FRRU(maps, width, scale))
                maps = width
            last = scale
        self.up, self.crop = _upsample(), CropLike()
        self.tail = nn.Sequential(
            OrderedDict((f"unit{n}", ResidualUnit(maps + _LANES if n == 1 else _BASE, _BASE)) for n in (1, 2, 3))
        )
        self.score = nn.Conv2d(_BASE, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        y = self.head(self.conv1(images))
        z = self.split(y)
        sizes, last = [y], 1
        for step, (scale, count, _) in enumerate(self.plan, start=1):
            if scale > last:
                y = self.get_submodule(f"pool{step}")(y)
                sizes.append(y)
            else:
                sizes.pop()
                y = self.get_submodule(f"crop{step}")(self.get_submodule(f"up{step}")(y), sizes[-1])
            for number in range(1, count + 1):
                y, z = self.get_submodule(f"frru{step}_{number}")(y, z)
            last = scale
        return self.score(self.tail(torch.cat((self.crop(self.up(y), images), z), 1)))  # type: ignore[no-any-return]


def frrn_a(num_classes: int = 19, *, channels: int = 3) -> FRRN:
    """FRRN A, four poolings, images [N, channels, H, W] of any size → scores [N, num_classes, H, W]."""
    return _network(num_classes, channels, _A)


def frrn_b(num_classes: int = 19, *, channels: int = 3) -> FRRN:
    """FRRN B, five poolings, images [N, channels, H, W] of any size → scores [N, num_classes, H, W]."""
    return _network(num_classes, channels, _B)


def _network(num_classes: int, channels: int, plan: Plan) -> FRRN:
    model = FRRN(num_classes, channels, plan)
    initialise_he(model)
    return model


def _upsample() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear")


def _conv(channels: int, maps: int, kernel: int, *, relu: bool = True) -> nn.Sequential:
    """Convolution and batch normalisation, and ReLU unless told not to."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, maps, kernel, padding=kernel // 2, bias=False), bn=nn.BatchNorm2d(maps)
    )
    if relu:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
