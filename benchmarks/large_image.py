"""VGG-A as a dense predictor of a 4,000 x 3,000 image: peak memory and wall time; prints Markdown.

    python benchmarks/large_image.py [--stride 32] [--model vgg11] [--side 4000x3000] [--memory 2048]

First the tiled map of a smaller image is compared with the one computed in a single piece. Then the large image goes
through, in tiles of about `--memory` MiB of activations. The peak is that of the whole process, weights, image, map and
libraries included. Weights are random: neither memory nor time depends on them. Borders are those of the image.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from datetime import date

import torch
from torch import Tensor, nn

import foveal
from foveal.cli.progress import counting

SMALL = (736, 608)  # width, height


def make(name: str) -> nn.Module:
    """The network, its weights drawn so that numbers keep their size from layer to layer."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = foveal.create(name)
    model = model.to_empty(device="cpu").eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return model


def compare(model: nn.Module, stride: int) -> tuple[int, float]:
    """Tiles of the smaller image, and the largest difference from one piece, relative to the largest score."""
    image = torch.randn(3, SMALL[1], SMALL[0])
    tiles = []
    whole = dense(model, image, stride, 2**40)
    tiled = foveal.dense(
        model, image, stride, input=(3, 224, 224), borders="image", memory=300 * 2**20,
        progress=lambda done, total: tiles.append(total),
    )  # fmt: skip
    return tiles[0], float((tiled - whole).abs().max() / whole.abs().max())


def dense(model: nn.Module, image: Tensor, stride: int, memory: int) -> Tensor:
    with counting("tiles") as progress:
        return foveal.dense(
            model, image, stride, input=(3, 224, 224), borders="image", memory=memory, progress=progress
        )


def peak() -> float:
    """GiB that the process has held at once. (Linux counts KiB, macOS bytes.)"""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / 2 ** (30 if sys.platform == "darwin" else 20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="vgg11")
    parser.add_argument("--stride", type=int, default=32, help="pixels from one position to the next")
    parser.add_argument("--side", default="4000x3000", help="width x height")
    parser.add_argument("--memory", type=int, default=2048, help="MiB of activations")
    given = parser.parse_args()
    width, height = map(int, given.side.split("x"))
    model = make(given.model)
    tiles, difference = compare(model, given.stride)
    print(f"{SMALL[0]}x{SMALL[1]}: {tiles} tiles equal one piece to {difference:.1e} of the largest score", flush=True)
    image = torch.randn(3, height, width)
    start = time.perf_counter()
    scores = dense(model, image, given.stride, given.memory * 2**20)
    seconds = time.perf_counter() - start
    print(f"\n{date.today()}, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| network | image | stride | map | peak memory | time |\n|---|---|---|---|---|---|")
    size = "x".join(map(str, scores.shape))
    print(f"| {given.model} | {width}x{height} | {given.stride} | {size} | {peak():.2f} GiB | {seconds:.0f} s |")


if __name__ == "__main__":
    main()
