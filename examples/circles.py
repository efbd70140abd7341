"""Where is the circle, and how large? Regression of its centre and radius: no softmax, quadratic loss.

    python examples/circles.py [steps=1000] [seed=0] [out=circles.png]

Pictures of 48x48 pixels are drawn as they are needed: a disc or a ring, brighter or darker than its background, under
noise. The network ends in three plain numbers, the centre's x and y and the radius as shares of the side; their mean
squared error is minimised. `out` is a picture of some new circles, the true ones in blue and the found ones in orange.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data import drawing
from foveal.data.pipeline import normalise
from foveal.training.device import Placement
from foveal.training.loop import fit
from foveal.types import Batch

NETWORK = """5-2-2Conv16 (BN, ReLU) → 3-2-1Conv32 (BN, ReLU) → 3-1-1Conv32 (BN, ReLU) → 3-2-1Conv32 (BN, ReLU)
          → FC128 (BN, ReLU) → FC3"""
SIDE, BATCH, RATE = 48, 64, 5e-3
DRAWN, ZOOM = 6, 3  # pictures on the sheet, and their enlargement


def main(*, steps: int = 1000, seed: int = 0, out: str = "") -> float:
    """Train, and measure on new circles: the mean error of centre and radius, in pixels."""
    torch.manual_seed(seed)
    network = foveal.build(NETWORK, input=(1, SIDE, SIDE))
    updates = fit(
        network,
        batches(steps, seed),
        torch.optim.AdamW(network.parameters(), lr=RATE),
        losses=losses,
        prepare_batch=prepare,
        schedule=lambda step: RATE * (1 + math.cos(math.pi * step / steps)) / 2,
        precision=Placement(torch.device("cpu"), torch.float32, channels_last=False),
        seed=seed,
    )
    for update in updates:
        if update.step % max(1, steps // 4) == 0:
            print(f"update {update.step} of {steps}: quadratic loss {update.loss:.5f}", flush=True)
    images, truth = circles(512, np.random.default_rng(seed + 1_000_000))
    network.eval()
    with torch.inference_mode():
        found = network(prepare(images))
    errors = SIDE * (found - truth).abs().mean(0)
    print("mean error in pixels: " + ", ".join(f"{n} {e:.2f}" for n, e in zip("xyr", errors.tolist(), strict=True)))
    if out:
        drawing.save(draw(images[:DRAWN], found, truth), Path(out))
    return float(errors.mean())


def prepare(images: Tensor) -> Tensor:
    """Pixels as the network sees them."""
    return normalise(images, (0.5,), (0.25,))


def losses(model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The quadratic loss of the three numbers."""
    return {"quadratic": (model(images) - targets).square().mean()}


def batches(steps: int, seed: int) -> Iterator[Batch]:
    """New circles for each update."""
    random = np.random.default_rng(seed)
    for step in range(steps):
        images, truth = circles(BATCH, random)
        yield Batch(images, truth, torch.arange(step * BATCH, (step + 1) * BATCH))


def circles(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures uint8 [N, 1, 48, 48], and (x, y, radius) float32 [N, 3] as shares of the side."""
    radius = random.uniform(0.1, 0.3, (count, 1, 1))
    x, y = random.uniform(radius, 1 - radius), random.uniform(radius, 1 - radius)
    middles = (np.arange(SIDE) + 0.5) / SIDE
    apart = np.hypot(middles[None, None, :] - x, middles[None, :, None] - y)
    outside = np.clip((apart - radius) * SIDE + 0.5, 0, 1)  # a soft edge, one pixel wide
    inside = np.clip((0.7 * radius - apart) * SIDE + 0.5, 0, 1) * random.integers(0, 2, (count, 1, 1))
    back, contrast = random.uniform(90, 165, (count, 1, 1)), random.choice([-60.0, 60.0], (count, 1, 1))
    drawn = back + contrast * (1 - outside) * (1 - inside) + random.normal(0, 15, apart.shape)
    truth = np.concatenate((x, y, radius), 1)[..., 0]
    pixels = torch.from_numpy(drawn.round().clip(0, 255).astype(np.uint8))[:, None]
    return pixels, torch.from_numpy(truth.astype(np.float32))


def draw(images: Tensor, found: Tensor, truth: Tensor) -> Image.Image:
    """Pictures side by side, each with its true circle and the one that was found."""
    side = ZOOM * SIDE
    sheet = Image.new("RGB", (side * len(images), side))
    brush = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        tile = Image.fromarray(image[0].numpy()).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (side * i, 0))
        for (x, y, radius), colour in ((truth[i].tolist(), "deepskyblue"), (found[i].tolist(), "orangered")):
            edges = (i + x - radius, y - radius, i + x + radius, y + radius)
            brush.ellipse([side * edge for edge in edges], outline=colour, width=2)
    return sheet


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
