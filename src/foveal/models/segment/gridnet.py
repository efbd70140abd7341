"""GridNet: streams of five sizes side by side, joined by subsampling on the way in and by upsampling on the way out.

D. Fourure, R. Emonet, E. Fromont, D. Muselet, A. Tremeau, C. Wolf, «Residual conv-deconv grid network for semantic
segmentation», BMVC 2017, section 3 and figure 2. Every path from the first block to the last is a network of its own:
conv-deconv, U-Net and residual networks are some of them.

Sizes that table and figure leave open are as in the authors' code: batch normalisation of the image; two convolutions
before the first stream and two transposed ones behind it, whose result, normalised, is the scores; the blocks within a
stream of the second half are transposed convolutions too, but for its first column. Upsampled maps that are a pixel too
large for their stream are cut, so that every size works.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.layers.alignment import CropLike
from foveal.layers.switched import initialise_he
from foveal.layers.total_dropout import TotalDropout
from foveal.types import Facts

_MAPS = (16, 32, 64, 128, 256)

FACTS = {
    "gridnet": Facts(
        paper="Fourure, Emonet, Fromont, Muselet, Tremeau, Wolf: Residual Conv-Deconv Grid Network",
        year=2017,
        input=(3, 400, 400),
        num_classes=19,
        dataset="Cityscapes",
        parameters=13_181_097,
        macs=33_098_400_000,
        published={"streams": 5, "columns": 6},
    ),
}


class GridNet(nn.Module):
    """`columns` columns down and as many up, over streams of `maps`: see the file's text.

    Blocks are called by column and stream, both from 1: within_c_s, down_c_s (from stream s - 1), up_c_s (from s + 1).
    """

    def __init__(self, num_classes: int, channels: int, columns: int, maps: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.columns, self.streams = columns, len(maps)
        self.bn = nn.BatchNorm2d(channels)
        self.first = _ends(channels, maps[0], transposed=False)
        for column in range(1, 2 * columns + 1):
            down = column <= columns
            for stream, width in enumerate(maps, start=1):
                place = f"{column}_{stream}"
                if column > 1:
                    within = _block(width, width, transposed=column > columns + 1)
                    within.add_module("drop", TotalDropout(dropout))
                    self.add_module(f"within_{place}", within)
                if down and stream > 1:
                    self.add_module(f"down_{place}", _block(maps[stream - 2], width, stride=2))
                if not down and stream < len(maps):
                    self.add_module(f"up_{place}", _block(maps[stream], width, stride=2, transposed=True))
                    self.add_module(f"crop_{place}", CropLike())
        self.last = _ends(maps[0], num_classes, transposed=True)
        del self.last.relu2  # scores may be negative

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(self.bn(images))
        streams = [x]
        for stream in range(2, self.streams + 1):
            streams.append(self.get_submodule(f"down_1_{stream}")(streams[-1]))
        for column in range(2, 2 * self.columns + 1):
            down = column <= self.columns
            before, streams = streams, list(streams)
            for stream in range(1, self.streams + 1) if down else range(self.streams, 0, -1):
                old = before[stream - 1]
                new = old + self.get_submodule(f"within_{column}_{stream}")(old)
                if down and stream > 1:
                    new = new + self.get_submodule(f"down_{column}_{stream}")(streams[stream - 2])
                if not down and stream < self.streams:
                    raised = self.get_submodule(f"up_{column}_{stream}")(streams[stream])
                    new = new + self.get_submodule(f"crop_{column}_{stream}")(raised, old)
                streams[stream - 1] = new
        return self.last(streams[0])  # type: ignore[no-any-return]


def gridnet(num_classes: int = 19, *, channels: int = 3, columns: int = 3, dropout: float = 0.1) -> GridNet:
    """GridNet, images [N, channels, H, W] of any size → scores [N, num_classes, H, W].

    columns: of each half, 3 in the paper. dropout: of whole residual branches in training. Raises FovealError for
    fewer than 2 columns and a dropout outside [0, 1).
    """
    if columns < 2 or not 0 <= dropout < 1:
        raise FovealError(
            f"columns={columns}, dropout={dropout:g}", "give 2 columns or more (3 in the paper) and a dropout in [0, 1)"
        )
    model = GridNet(num_classes, channels, columns, _MAPS, dropout)
    initialise_he(model)
    return model


def _ends(channels: int, maps: int, *, transposed: bool) -> nn.Sequential:
    """Two convolutions, each with batch normalisation and ReLU behind it."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in (1, 2):
        layers[f"conv{number}"] = _conv(channels, maps, 1, transposed)
        layers[f"bn{number}"] = nn.BatchNorm2d(maps)
        layers[f"relu{number}"] = nn.ReLU()
        channels = maps
    return nn.Sequential(layers)


def _block(channels: int, maps: int, *, stride: int = 1, transposed: bool = False) -> nn.Sequential:
    """Batch normalisation, ReLU and 3x3 convolution, twice; the first convolution takes the stride."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in (1, 2):
        layers[f"bn{number}"] = nn.BatchNorm2d(channels)
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"conv{number}"] = _conv(channels, maps, stride if number == 1 else 1, transposed)
        channels = maps
    return nn.Sequential(layers)


def _conv(channels: int, maps: int, stride: int, transposed: bool) -> nn.Module:
    if transposed:
        return nn.ConvTranspose2d(channels, maps, 3, stride, 1, output_padding=stride - 1)
    return nn.Conv2d(channels, maps, 3, stride, 1)
