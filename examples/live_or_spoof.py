"""A live face, or a picture of one held up to the camera? Two classes that differ in texture, not in shape.

    python examples/live_or_spoof.py [data=DIR] [length=6] [seed=0]

`data` is a folder of pictures with the class folders live and spoof. Without it «faces» are drawn, each once as a
camera sees it and once as it sees a print or a screen of it: a second time blurred, with fewer shades, through the
raster of the printer or the pixels of the screen (whose beat with the camera's gives moiré), under a reflection. Drawn
faces show how such a detector is made, not how good one is on people.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data.dataset import ArraySet
from foveal.data.formats import idx
from foveal.evaluation import Evaluation
from foveal.recipes import resolve

SIDE = 48
NETWORK = """3-1-1Conv16 (BN, ReLU) → 2-2MaxPool → 3-1-1Conv32 (BN, ReLU) → 2-2MaxPool → 3-1-1Conv32 (BN, ReLU)
          → GlobalAvgPool → FC2"""


def main(*, data: str = "", length: int = 6, seed: int = 0) -> float:
    """Train and measure: the share of test pictures that are told right."""
    random = np.random.default_rng(seed)
    with TemporaryDirectory() as folder:
        if not data:
            data = f"{folder}/faces"
            idx.write({"train": faces(600, random, "train"), "test": faces(200, random, "test")}, Path(data))
        recipe = resolve(
            "chain",
            data=data,
            input=(1, SIDE, SIDE),
            options={"text": NETWORK, "input": [1, SIDE, SIDE]},
            prepare=(f"resize_exact({SIDE}, {SIDE})",),
            augment=("flip",),
            test=(),
            length=length,
            warmup=0,
            seed=seed,
        )
        run, found = foveal.train(recipe, out=f"{folder}/run")
        assert isinstance(found, Evaluation)
        table, names = found.confusion, run.classes
    for i, name in enumerate(names):
        print(f"{name}: {int(table[i, i])} of {int(table[i].sum())} told right")
    return float(table.diagonal().sum() / table.sum())


def faces(count: int, random: np.random.Generator, split: str) -> ArraySet:
    """So many drawn faces, each live and as a spoof: uint8 [2N, 1, 48, 48]."""
    live = torch.stack([face(random) for _ in range(count)])[:, None]
    spoofs = torch.stack([spoof(one, random) for one in live[:, 0]])[:, None]
    pictures = torch.cat((seen(live, random), seen(spoofs, random)))
    return ArraySet(pictures, torch.arange(2).repeat_interleave(count), ("live", "spoof"), split)


def face(random: np.random.Generator) -> Tensor:
    """A shaded oval with eyes and a mouth before a plain wall: float32 [48, 48] in 0..255."""
    at = (np.arange(SIDE) + 0.5) / SIDE
    x, y = at[None, :] - random.uniform(0.45, 0.55), at[:, None] - random.uniform(0.45, 0.55)
    oval = 1 / (1 + np.exp(40 * (np.hypot(x / random.uniform(0.28, 0.36), y / random.uniform(0.36, 0.44)) - 1)))
    skin = random.uniform(120, 200) * (1 + random.uniform(-0.8, 0.8) * x - random.uniform(0, 0.5) * y)
    for eye in (-1, 1):
        skin = skin - 80 * np.exp(-((x - 0.13 * eye) ** 2 + (y + 0.08) ** 2) / 0.0012)
    skin = skin - 60 * np.exp(-(x**2 / 0.01 + (y - random.uniform(0.16, 0.22)) ** 2 / 0.0006))
    return torch.from_numpy(oval * skin + (1 - oval) * random.uniform(40, 220)).float()


def spoof(picture: Tensor, random: np.random.Generator) -> Tensor:
    """The picture as printed or shown on a screen: blurred, in few shades, with a raster and a reflection."""
    soft = F.avg_pool2d(F.pad(picture[None, None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0]
    shades = float(random.integers(8, 24))
    flat = (soft / 255 * shades).round() / shades * 255
    at = torch.arange(SIDE, dtype=torch.float32)
    pitch, turn = float(random.uniform(2.1, 3.5)), float(random.uniform(0, np.pi))
    across = at[None, :] * np.cos(turn) + at[:, None] * np.sin(turn)
    raster = 1 + float(random.uniform(0.04, 0.12)) * torch.cos(2 * torch.pi * across / pitch)
    light = float(random.uniform(0, 40)) * torch.exp(-((at[None, :] - float(random.uniform(0, SIDE))) / 8).square())
    return flat * raster + light


def seen(pictures: Tensor, random: np.random.Generator) -> Tensor:
    """Under the camera's noise, uint8: both kinds pass through the same camera."""
    noise = torch.from_numpy(random.normal(0, 5, tuple(pictures.shape))).float()
    return (pictures + noise).round().clamp(0, 255).to(torch.uint8)


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
