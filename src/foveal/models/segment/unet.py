"""U-Net: down by poolings, up by 2x2 up-convolutions, with the maps of the way down put beside those of the way up.

O. Ronneberger, P. Fischer, T. Brox, «U-Net: convolutional networks for biomedical image segmentation», MICCAI 2015,
section 2 and figure 1.

The paper's convolutions do not pad: 572x572 pixels give the scores of the 388x388 in the middle, and what is missing
around an image is its mirror image. `borders="mirror"` does this within the network, for images of any size;
`borders="valid"` is the network of figure 1, with the smaller output; `borders="zero"`, the default because it costs
half, pads every convolution. The three have the same weights. The paper's images are grey (`channels=1`: 31,030,658
parameters for its two classes); dropout stands at the end of the way down, as in the authors' network.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.layers.alignment import CropLike, MirrorPad
from foveal.layers.switched import initialise_he
from foveal.types import Facts

Borders = Literal["zero", "mirror", "valid"]

FACTS = {
    "unet": Facts(
        paper="Ronneberger, Fischer, Brox: U-Net",
        year=2015,
        input=(3, 572, 572),
        num_classes=2,
        dataset="ISBI 2012 (neuronal membranes)",
        parameters=31_031_810,
        macs=241_584_239_616,
        published={
            "warping_error": 0.000353, "rand_error": 0.0382, "pixel_error": 0.0611,  # table 1, mean of 7 rotations
            "input": (1, 572, 572), "output": (2, 388, 388), "convolutional_layers": 23,
        },
    ),
}  # fmt: skip


class UNet(nn.Module):
    """Four poolings of `width`, 2·width, … 16·width maps and back: images [N, channels, H, W] → scores."""

    def __init__(self, channels: int, num_classes: int, borders: Borders, width: int, batch_norm: bool) -> None:
        super().__init__()
        pad = 1 if borders == "zero" else 0
        self.whole = borders != "valid"
        # 92 pixels are lost at each side; 4, 20, 36, … pixels more let every pooling divide.
        self.mirror = MirrorPad(92, 16, 4) if borders == "mirror" else nn.Identity()
        for block in range(1, 6):
            maps = width * 2 ** (block - 1)
            self.add_module(f"conv{block}", _convolutions(channels, maps, pad, batch_norm, dropout=block >= 4))
            if block < 5:
                self.add_module(f"pool{block}", nn.MaxPool2d(2, ceil_mode=borders == "zero"))
            channels = maps
        for block in range(6, 10):
            maps = channels // 2
            self.add_module(f"up{block}", nn.ConvTranspose2d(channels, maps, 2, 2))
            self.add_module(f"crop{block}", CropLike(0 if pad else None))
            self.add_module(f"conv{block}", _convolutions(channels, maps, pad, batch_norm, dropout=False))
            channels = maps
        self.pad = pad
        self.score = nn.Conv2d(channels, num_classes, 1)
        self.crop = CropLike() if self.whole else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.mirror(images), []
        for block in range(1, 5):
            x = self.get_submodule(f"conv{block}")(x)
            skips.append(x)
            x = self.get_submodule(f"pool{block}")(x)
        x = self.get_submodule("conv5")(x)
        for block in range(6, 10):
            x, skip = self.get_submodule(f"up{block}")(x), skips.pop()
            crop = self.get_submodule(f"crop{block}")
            # Rounded up, the way up may be a pixel too large; without padding the way down is.
            x = torch.cat((skip, crop(x, skip)) if self.pad else (crop(skip, x), x), 1)
            x = self.get_submodule(f"conv{block}")(x)
        scores = self.score(x)
        return self.crop(scores, images) if self.whole else scores  # type: ignore[no-any-return]


def unet(
    num_classes: int = 2, *, channels: int = 3, borders: Borders = "zero", width: int = 64, batch_norm: bool = False
) -> UNet:
    """U-Net, images [N, channels, H, W] of any size → scores [N, num_classes, H, W].

    borders: "zero" pads, "mirror" sees the mirrored image around it, "valid" gives scores for the middle only,
    [N, num_classes, H - 184, W - 184], and takes sizes 16k + 12 from 188 on. width: maps of the first block, 64 in the
    paper; 16 has a sixteenth of its cost. batch_norm: behind each convolution, not in the paper. Raises FovealError
    for other borders or a width below 1.
    """
    if borders not in get_args(Borders):
        raise unknown("borders of unet", str(borders), get_args(Borders))
    if width < 1:
        raise FovealError(f"width={width}: the first block needs at least one map", "give 64, or 16 for a quick one")
    model = UNet(channels, num_classes, borders, width, batch_norm)
    initialise_he(model)  # section 3: standard deviation sqrt(2/N)
    return model


def _convolutions(channels: int, maps: int, pad: int, batch_norm: bool, *, dropout: bool) -> nn.Sequential:
    """Two 3x3 convolutions with ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in (1, 2):
        layers[f"conv{number}"] = nn.Conv2d(channels, maps, 3, padding=pad, bias=not batch_norm)
        if batch_norm:
            layers[f"bn{number}"] = nn.BatchNorm2d(maps)
        layers[f"relu{number}"] = nn.ReLU()
        channels = maps
    if dropout:
        layers["drop"] = nn.Dropout()
    return nn.Sequential(layers)
