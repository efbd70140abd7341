"""A network over a volume: solid digits, found and named in a block that is full of them.

Handwritten digits are extruded to solids of unequal thickness. A three-dimensional classifier of 8x8x8 voxels learns
from single solids and from cuttings that hold none, and then labels every voxel of a larger block (`foveal.dense`).
Run it: python examples/volume_3d.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import foveal
from foveal.graph import count

SIDE = 8
NOTHING = 10
BLOCK = (24, 44, 44)


def solids(split: str, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every digit of a split as a solid [N, 1, 8, 8, 8] in 0…1, 3 to 6 voxels thick, and its class."""
    digits = foveal.open_data("digits", split)
    images = torch.stack([digits[i][0] for i in range(len(digits))]) / 255  # [N, 1, 8, 8]
    thick = torch.randint(3, 7, (len(images), 1), generator=chance)
    depth = (torch.arange(SIDE) - (SIDE - 1) / 2).abs() <= thick / 2  # [N, 8], in the middle
    return images[:, :, None] * depth[:, None, :, None, None], digits.labels


def block(shapes: Tensor, chance: torch.Generator) -> tuple[Tensor, list[tuple[int, int, int]]]:
    """A block [1, 24, 44, 44] with a solid in each cell of a lattice, moved at random; the corners of the solids."""
    volume = torch.zeros(1, *BLOCK)
    corners = []
    lattice = [(z, y, x) for z in (1, 13) for y in (1, 15, 29) for x in (1, 15, 29)]
    for solid, cell in zip(shapes, lattice, strict=True):
        z, y, x = (
            n + int(torch.randint(0, room, (1,), generator=chance)) for n, room in zip(cell, (3, 6, 6), strict=True)
        )
        volume[:, z : z + SIDE, y : y + SIDE, x : x + SIDE] = solid
        corners.append((z, y, x))
    return volume, corners


def samples(shapes: Tensor, labels: Tensor, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch: `count` solids, and as many cuttings at least two voxels away from where a solid begins."""
    chosen = torch.randint(len(shapes), (2 * count,), generator=chance)
    around = F.pad(shapes[chosen[count:]], (SIDE,) * 6)
    offsets = torch.randint(0, 2 * SIDE + 1, (count, 3), generator=chance)
    offsets[(offsets - SIDE).abs().amax(1) < 2, 0] = SIDE - 3
    cuttings = [
        volume[:, z : z + SIDE, y : y + SIDE, x : x + SIDE]
        for volume, (z, y, x) in zip(around, offsets.tolist(), strict=True)
    ]
    wanted = torch.cat((labels[chosen[:count]], torch.full((count,), NOTHING)))
    return torch.cat((shapes[chosen[:count]], torch.stack(cuttings))), wanted


def trained(shapes: Tensor, labels: Tensor, chance: torch.Generator, updates: int = 600) -> nn.Module:
    """A classifier of [1, 8, 8, 8] into ten digits and «nothing begins here»."""
    torch.manual_seed(0)
    net = foveal.build("3-1Conv12 (ReLU) → 2-2MaxPool → FC64 (ReLU) → FC11", input=(1, SIDE, SIDE, SIDE))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(updates):
        volumes, wanted = samples(shapes, labels, 64, chance)
        F.cross_entropy(net(volumes), wanted).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


def found(net: nn.Module, volume: Tensor) -> list[tuple[tuple[int, int, int], int]]:
    """The surest corner of each solid and its class; corners nearer than six voxels are one solid's."""
    chances = foveal.dense(net, volume).softmax(0)  # [11, 24, 44, 44], at the patch's middle voxel
    sure, answer = chances[:NOTHING].max(0)
    answers: list[tuple[tuple[int, int, int], int]] = []
    candidates = (sure > 0.5).nonzero()
    for place in candidates[sure[tuple(candidates.T)].argsort(descending=True)]:
        corner = tuple((place - SIDE // 2).tolist())
        if all(max(abs(a - b) for a, b in zip(corner, other, strict=True)) >= 6 for other, _ in answers):
            answers.append((corner, int(answer[tuple(place)])))
    return answers


def main() -> float:
    """Train, search a block of solids of unseen digits, and say how many were found and named."""
    chance = torch.Generator().manual_seed(0)
    net = trained(*solids("train", chance), chance)
    shapes, labels = solids("test", chance)
    volume, corners = block(shapes[:18], chance)
    answers = dict(found(net, volume))
    near = [
        [name for place, name in answers.items() if max(abs(a - b) for a, b in zip(place, corner, strict=True)) <= 1]
        for corner in corners
    ]
    right = sum(names == [label] for names, label in zip(near, labels[:18].tolist(), strict=True))
    macs = count(net, (1, SIDE, SIDE, SIDE)).macs
    voxels = volume.numel()
    print(f"a block of {'x'.join(map(str, BLOCK))} = {voxels:,} voxels; {macs:,} multiply-adds for one patch alone")
    for corner, names, label in list(zip(corners, near, labels.tolist(), strict=False))[:6]:
        print(f"a {label} at {corner}: found {' and '.join(map(str, names)) or 'nothing'}")
    print(f"{right} of {len(corners)} solids found and named, {len(answers)} answers")
    return right / len(corners)


if __name__ == "__main__":
    main()
