"""Where are the joints of a figure? Keypoints by heat-maps: one map a joint, its peak is the joint's place.

    python examples/keypoints.py [steps=400] [seed=0]

The figures are drawn as they are needed: stick men with five joints (head, hands, feet) in random poses, on a noisy
ground with random lines as clutter. A fully convolutional network makes five maps at a quarter of the picture's size;
the loss is the quadratic difference from maps with a Gaussian bump at each joint. Regression of the coordinates would
have to squeeze them through a fully connected layer; a map says where, and how surely.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data.pipeline import normalise
from foveal.training.device import Placement
from foveal.training.loop import fit
from foveal.types import Batch

JOINTS = ("head", "left hand", "right hand", "left foot", "right foot")
NETWORK = """5-2-2Conv16 (BN, ReLU) → 3-2-1Conv32 (BN, ReLU) → [5-1-2Conv32 (BN, ReLU)]x2 → 1-1Conv5"""
SIDE, STRIDE, BATCH, RATE = 64, 4, 32, 4e-3
WIDTH = 1.0  # standard deviation of a bump, in cells of the map
NEAR = 4.0  # pixels within which a joint counts as found


def main(*, steps: int = 400, seed: int = 0) -> float:
    """Train, and measure on new figures: the share of joints found within 4 pixels."""
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
            print(f"update {update.step} of {steps}: loss {update.loss:.4f}", flush=True)
    images, truth = figures(128, np.random.default_rng(seed + 1_000_000))
    network.eval()
    with torch.inference_mode():
        found = peaks(network(prepare(images)))
    near = (found - truth).norm(dim=2) <= NEAR
    print(", ".join(f"{name} {share:.0%}" for name, share in zip(JOINTS, near.float().mean(0).tolist(), strict=True)))
    print(f"{float(near.float().mean()):.1%} of the joints are found within {NEAR:g} pixels")
    return float(near.float().mean())


def prepare(images: Tensor) -> Tensor:
    """Pixels as the network sees them."""
    return normalise(images, (0.4,), (0.25,))


def losses(model: nn.Module, images: Tensor, joints: Tensor) -> dict[str, Tensor]:
    """The quadratic difference of the maps from those with bumps, per joint and picture."""
    found = model(images)
    return {"quadratic": (found - bumps(joints, found.shape[-1])).square().sum((2, 3)).mean()}


def bumps(joints: Tensor, side: int) -> Tensor:
    """Maps [N, J, side, side] with a Gaussian of height 1 at each joint (x, y) [N, J, 2], in pixels of the picture."""
    cells = torch.arange(side) + 0.5
    x, y = (joints[..., None, None, i] / STRIDE for i in (0, 1))
    return torch.exp(-((cells[None, :] - x).square() + (cells[:, None] - y).square()) / (2 * WIDTH**2))


def peaks(maps: Tensor) -> Tensor:
    """The places (x, y) [N, J, 2] in pixels: the mean of the 3x3 cells around the strongest, by their strength."""
    count, joints, side, _ = maps.shape
    strongest = maps.flatten(2).argmax(2)
    rows, columns = strongest // side, strongest % side
    around = torch.arange(-1, 2)
    ys = (rows[..., None, None] + around[:, None]).clamp(0, side - 1).expand(count, joints, 3, 3)
    xs = (columns[..., None, None] + around[None, :]).clamp(0, side - 1).expand(count, joints, 3, 3)
    weights = maps.flatten(2).gather(2, (ys * side + xs).flatten(2)).clamp_min(1e-6)
    place = [(weights * (n.flatten(2) + 0.5)).sum(2) / weights.sum(2) for n in (xs, ys)]
    return torch.stack(place, 2) * STRIDE


def batches(steps: int, seed: int) -> Iterator[Batch]:
    """New figures for each update."""
    random = np.random.default_rng(seed)
    for step in range(steps):
        images, joints = figures(BATCH, random)
        yield Batch(images, joints, torch.arange(step * BATCH, (step + 1) * BATCH))


def figures(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures uint8 [N, 1, 64, 64], and their joints (x, y) float32 [N, 5, 2] in pixels."""
    images, joints = [], []
    for _ in range(count):
        size, lean = random.uniform(9, 13), random.uniform(-0.3, 0.3)
        neck = np.array([random.uniform(22, 42), random.uniform(22, 30)])
        hips = neck + size * np.array([math.sin(lean), math.cos(lean)])
        head = neck - 0.55 * size * np.array([math.sin(lean), math.cos(lean)])
        arms = [neck + size * _towards(random.uniform(0.2, 2.4) * side) for side in (-1, 1)]
        legs = [hips + 1.2 * size * _towards(random.uniform(0.1, 0.8) * side) for side in (-1, 1)]
        images.append(_drawn(random, neck, hips, [head, *arms, *legs]))
        joints.append([head, *arms, *legs])
    return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.array(joints, dtype=np.float32))


def _drawn(random: np.random.Generator, neck: np.ndarray, hips: np.ndarray, joints: list[np.ndarray]) -> np.ndarray:
    picture = Image.new("L", (SIDE, SIDE), int(random.integers(40, 90)))
    brush = ImageDraw.Draw(picture)
    for _ in range(3):  # clutter
        brush.line(random.uniform(0, SIDE, 4).tolist(), fill=int(random.integers(60, 160)))
    ink = int(random.integers(170, 256))
    for start, end in ((neck, hips), *((neck, arm) for arm in joints[1:3]), *((hips, leg) for leg in joints[3:])):
        brush.line([*start.tolist(), *end.tolist()], fill=ink, width=2)
    x, y = joints[0].tolist()
    brush.ellipse((x - 3, y - 3, x + 3, y + 3), fill=ink)
    noisy = np.asarray(picture, dtype=np.float64) + random.normal(0, 12, (SIDE, SIDE))
    return noisy.round().clip(0, 255).astype(np.uint8)


def _towards(angle: float) -> np.ndarray:
    """The direction at `angle` from straight down, in radians; positive to the right."""
    return np.array([math.sin(angle), math.cos(angle)])


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
