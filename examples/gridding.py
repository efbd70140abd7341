"""Gridding: what unpooling leaves in maps, and what repeated dilation does to them.

    python examples/gridding.py data=DIR [out=.]

DIR holds CamVid as for street_patches.py. Two pictures and their figures:

gridding_unpooling.png: a small SegNet is trained for a few epochs on the scenes at half their size. Maps right behind
its last two unpoolings, where three values of four are zero, and behind the convolutions that follow; beside them the
encoder's own map of that size.
gridding_dilation.png: three 3x3 convolutions of dilation 2, and of dilations 1, 2 and 3, which see the same 13x13
pixels (P. Wang et al., «Understanding convolution for semantic segmentation», WACV 2018, section 3.2): which pixels
one position sees, and what averaging with them makes of a scene, enlarged.

The figure is the share of a map's energy, its mean taken off, in waves shorter than 2.5 pixels in either direction:
a grid of every second pixel has waves of 2.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data import drawing
from foveal.explanations._draw import heat
from foveal.recipes import resolve
from foveal.training.train import train

BEHIND = ("conv1_2", "unpool2", "conv2_2_D", "conv2_1_D", "unpool1", "conv1_2_D", "conv1_1_D")
STACKS = {"2, 2, 2": (2, 2, 2), "1, 2, 3": (1, 2, 3)}
CROP = 72  # pixels of a scene or a map that are shown
CELL, CAPTION, COLUMNS = 216, 34, 4


def main(*, data: str, out: str = ".", length: int = 6, width: int = 8, scene: int = 0) -> dict[str, float]:
    """Both lessons: the share of short waves in each map and in each filtered scene, in %, by name."""
    folder = Path(out)
    with tempfile.TemporaryDirectory() as place:
        options = {"model": "segnet", "options": {"width": width}, "length": length, "evaluate_every": length, "ema": 0}
        run = train(resolve("unet_camvid_fast", data=data, **options), out=Path(place) / "run")
        if run.interrupted:
            raise KeyboardInterrupt
        segmenter = run.segmenter()
    image = foveal.open_data(data, "test", task="segment").load(scene)
    maps = behind(segmenter.model, segmenter.placement.images(segmenter.prepare(image)[None], segmenter.recipe))
    shown = [(bright(strongest(m)), f"{name}: {short_waves(m):.2g} %") for name, m in maps.items()]
    drawing.save(sheet(shown), folder / "gridding_unpooling.png")
    grey = image.float().mean(0)
    filtered = {name: averaged(grey, dilations) for name, dilations in STACKS.items()}
    drawing.save(sheet(dilated(image, filtered)), folder / "gridding_dilation.png")
    found = {name: short_waves(m) for name, m in maps.items()}
    found |= {f"dilations {name}": short_waves(m[None]) for name, m in filtered.items()}
    for name, share in found.items():
        print(f"{name}: {share:.3g} % of the energy in short waves")
    return found


@torch.no_grad()
def behind(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The maps [C, H, W] that some layers give for one image."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> object:
        return model.get_submodule(name).register_forward_hook(
            lambda layer, given, maps: found.update({name: maps[0].float()})
        )

    handles = [keep(name) for name in BEHIND]
    model.eval()(images)
    for handle in handles:
        handle.remove()  # type: ignore[attr-defined]
    return {name: found[name] for name in BEHIND}


def short_waves(maps: Tensor) -> float:
    """The share of the energy of maps [C, H, W] in waves shorter than 2.5 pixels, in %."""
    down, across = (torch.hann_window(n) for n in maps.shape[1:])  # so that borders make no waves
    energy = torch.fft.fft2((maps - maps.mean((1, 2), keepdim=True)) * down[:, None] * across).abs().square()
    fast = [torch.fft.fftfreq(n).abs() > 1 / 2.5 for n in maps.shape[1:]]
    return 100 * float(energy[:, fast[0][:, None] | fast[1]].sum() / energy.sum())


def strongest(maps: Tensor) -> Tensor:
    """The map [H, W] that varies most."""
    return maps[int(maps.var((1, 2)).argmax())]


def bright(maps: Tensor) -> Tensor:
    """The middle of a map [H, W] in colours, the brightest hundredth alike: uint8 [3, CROP, CROP]."""
    top, left = (maps.shape[0] - CROP) // 2, (maps.shape[1] - CROP) // 2
    part = maps[top : top + CROP, left : left + CROP]
    return heat(part, float(part.min()), float(part.flatten().quantile(0.99)))


def averaging(dilations: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions of one map that average."""
    layers = [nn.Conv2d(1, 1, 3, padding=d, dilation=d, padding_mode="zeros", bias=False) for d in dilations]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 9)
    return nn.Sequential(*layers)


@torch.no_grad()
def averaged(grey: Tensor, dilations: Sequence[int]) -> Tensor:
    """A picture [H, W] behind such convolutions, where they see nothing beyond its borders."""
    border = sum(dilations)
    return averaging(dilations)(grey[None, None])[0, 0, border:-border, border:-border]


def dilated(image: Tensor, filtered: dict[str, Tensor]) -> list[tuple[Tensor, str]]:
    """Pixels seen and the middle of the scene for each stack of convolutions."""
    shown = []
    for name, maps in filtered.items():
        paths = foveal.explain("gridding", averaging(STACKS[name]), input=(1, 15, 15)).arrays["paths"]
        holes = int((paths[1:-1, 1:-1] == 0).sum())
        shown.append((heat((1 + paths).log()), f"dilations {name}: {holes} of 169 unseen"))
        shown.append((bright(maps), f"dilations {name}: {short_waves(maps[None]):.2g} %"))
    return shown


def sheet(tiles: Sequence[tuple[Tensor, str]]) -> Image.Image:
    """Pictures uint8 [3, h, w] enlarged, each with its words."""
    rows = -(-len(tiles) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * (CELL + 6), rows * (CELL + CAPTION)), drawing.PAPER)
    pencil = ImageDraw.Draw(page)
    for number, (tile, words) in enumerate(tiles):
        left, top = number % COLUMNS * (CELL + 6), number // COLUMNS * (CELL + CAPTION)
        drawing.paste(page, (left, top), tile, CELL)
        drawing.text(pencil, (left + 2, top + CELL + 4), words, CELL, 12)
    return page


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
