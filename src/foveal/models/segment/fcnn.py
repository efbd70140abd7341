"""FCNN with 1x1 fusion kernels: networks for several cues, whose maps 1x1 convolutions bring together.

K. Kang, X. Wang, «Fully convolutional neural networks for crowd segmentation», arXiv 1411.4464, 2014, sections 3 and 4:
1x1 convolutions take the place of the fully connected layers, so that a network takes images of any size. One network
each for appearance, motion and structure, alike but for their input, are joined before the first layer (input fusion),
behind the last maps (feature fusion: a 1x1 convolution reads the maps of all) or at the scores (decision fusion: a 1x1
convolution of their scores).

Departures: scores of several classes with a softmax in place of one map with a sigmoid; convolutions pad, and the
scores, at a quarter of the size, are brought to the image's size bilinearly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.alignment import CropLike
from foveal.layers.channels import ChannelSlice
from foveal.layers.switched import initialise_he
from foveal.types import Facts

Fusion = Literal["input", "feature", "decision"]

FACTS = {
    "fcnn": Facts(
        paper="Kang, Wang: Fully Convolutional Neural Networks for Crowd Segmentation",
        year=2014,
        input=(3, 240, 320),
        num_classes=2,
        dataset="crowds of 235 scenes",
        parameters=409_650,
        macs=3_747_993_600,
        published={"maps": (32, 64, 128, 128, 64, 16)},
    ),
}


class FCNN(nn.Module):
    """A trunk of the paper's layers for each of the `cues`, joined as `fusion` says; see `fcnn`."""

    def __init__(self, num_classes: int, cues: Sequence[int], fusion: Fusion) -> None:
        super().__init__()
        own = (sum(cues),) if fusion == "input" else tuple(cues)
        self.paths = tuple(range(1, len(own) + 1))
        for number, channels in zip(self.paths, own, strict=True):
            whole = nn.Identity() if len(own) == 1 else ChannelSlice(sum(own[: number - 1]), channels)
            self.add_module(f"cue{number}", whole)
            self.add_module(f"path{number}", _path(channels, num_classes if fusion == "decision" else None))
        maps = num_classes if fusion == "decision" else 16
        self.fuse = nn.Conv2d(maps * len(own), num_classes, 1)
        self.up, self.crop = nn.Upsample(scale_factor=4, mode="bilinear"), CropLike()

    def forward(self, images: Tensor) -> Tensor:
        found = [self.get_submodule(f"path{n}")(self.get_submodule(f"cue{n}")(images)) for n in self.paths]
        return self.crop(self.up(self.fuse(torch.cat(found, 1))), images)  # type: ignore[no-any-return]


def fcnn(num_classes: int = 2, *, cues: Sequence[int] = (3,), fusion: Fusion = "feature") -> FCNN:
    """FCNN, images [N, sum(cues), H, W] of any size → scores [N, num_classes, H, W].

    cues: how many of the channels belong to each cue, in order: (3,) is a colour image alone, (3, 2, 1) colour, two
    channels of optical flow and a background. fusion: "input", "feature" or "decision". Raises FovealError for another
    fusion and for cues without channels.
    """
    if fusion not in get_args(Fusion):
        raise unknown("fusion of fcnn", str(fusion), get_args(Fusion))
    if not cues or min(cues) < 1:
        raise FovealError(f"cues={tuple(cues)}: each cue needs at least one channel", "such as 3 or 3,2,1")
    model = FCNN(num_classes, cues, fusion)
    initialise_he(model)
    return model


def _path(channels: int, num_classes: int | None) -> nn.Sequential:
    """7x7 to 32 maps, pool, 7x7 to 64, pool, then 3x3 to 128, 128, 64 and 16, and the scores if it has its own."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (maps, kernel) in enumerate(((32, 7), (64, 7), (128, 3), (128, 3), (64, 3), (16, 3)), start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, maps, kernel, padding=kernel // 2)
        layers[f"relu{number}"] = nn.ReLU()
        if number <= 2:
            layers[f"pool{number}"] = nn.MaxPool2d(2, ceil_mode=True)
        channels = maps
    if num_classes is not None:
        layers["score"] = nn.Conv2d(channels, num_classes, 1)
    return nn.Sequential(layers)
