"""Inference speed of foveal's networks against torchvision's with the same weights; prints Markdown.

    python benchmarks/inference.py                       all networks, one and 32 images
    python benchmarks/inference.py --only resnet50 --rounds 3

A is torchvision's network in eager float32, NCHW, as its documentation uses it; B is foveal's, the same way; C is
foveal's through `foveal.optimize`. All run in inference mode on the same random images, with torchvision's initial
weights after their batch norms have seen a batch, in one process that keeps freed memory and holds large tensors on
huge pages, as foveal's commands do: A gains from that, too. A, B and C alternate within a round; ratios are of the
medians, above 1 where foveal is faster. Differences are norms relative to the scores': of foveal's eager scores from
torchvision's, and of the optimised from the eager ones.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

import foveal
from foveal.memory import keep_freed
from foveal.models import create
from foveal.weights.files import Checkpoint
from foveal.weights.match import load_weights

NETWORKS = ("resnet18", "resnet50", "vgg16", "googlenet", "densenet121", "alexnet_owt")
THEIRS = {"alexnet_owt": "alexnet"}  # all others have the same names
BATCHES = (1, 32)


@dataclass(frozen=True)
class Line:
    """Seconds a batch by round, and the relative differences to torchvision and to eager."""

    theirs: list[float]
    ours: list[float]
    fast: list[float]
    apart: float
    cost: float


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """Batch norms with the statistics of a batch; dropout and the like off."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        model.train()(images)
    return model.eval()


def networks(name: str, images: Tensor) -> tuple[nn.Module, nn.Module]:
    """torchvision's and foveal's, with the same weights."""
    torch.manual_seed(0)
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    theirs = settled(torchvision.models.get_model(THEIRS.get(name, name), **options), images)
    ours = create(name, **({"batch_norm": True} if name == "googlenet" else {})).eval()
    load_weights(ours, Checkpoint("torchvision", theirs.state_dict(), ordered=True))
    return theirs, ours


def seconds(model: Callable[[Tensor], Tensor], images: Tensor, repeats: int) -> float:
    """Of one batch, the mean over `repeats`."""
    begun = time.perf_counter()
    for _ in range(repeats):
        model(images)
    return (time.perf_counter() - begun) / repeats


def relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference by the norm of the scores."""
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
def compare(name: str, batch: int, rounds: int, length: float) -> Line:
    """Time one network; `length` is about the seconds of one round of torchvision's."""
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode(False):
        theirs, ours = networks(name, torch.randn(4, 3, 224, 224, generator=generator))
        fast = foveal.optimize(ours, (3, 224, 224))
    images = torch.randn(batch, 3, 224, 224, generator=generator)
    expected = ours(images)
    apart, cost = relative(expected, theirs(images)), relative(fast(images), expected)
    repeats = max(1, round(length / seconds(theirs, images, 1)))
    line = Line([], [], [], apart, cost)
    for model in (theirs, ours, fast):
        seconds(model, images, 1)  # warm up
    for _ in range(rounds):
        line.theirs.append(seconds(theirs, images, repeats))
        line.ours.append(seconds(ours, images, repeats))
        line.fast.append(seconds(fast, images, repeats))
    return line


def processor() -> str:
    """The CPU's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round of torchvision's network")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=NETWORKS, help="one of the networks")
    parser.add_argument("--batch", type=int, choices=BATCHES, help="one of the batch sizes")
    given = parser.parse_args()
    keep_freed()
    torch.set_num_threads(given.threads)
    print(f"{date.today()} · {processor()}, {os.cpu_count()} cores, {given.threads} threads")
    print(f"· torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}")
    print(f"· {given.rounds} alternating rounds, medians (lowest–highest)\n")
    print("| network | images | torchvision, ms | foveal, ms | optimised, ms | eager × | optimised × | differences |")
    print("|---|---|---|---|---|---|---|---|")
    for name in [given.only] if given.only else NETWORKS:
        for batch in [given.batch] if given.batch else BATCHES:
            line = compare(name, batch, given.rounds, given.seconds)
            columns = (line.theirs, line.ours, line.fast)
            cells = " | ".join(
                f"{1e3 * statistics.median(x):.1f} ({1e3 * min(x):.1f}–{1e3 * max(x):.1f})" for x in columns
            )
            reference, eager, fast = (statistics.median(x) for x in columns)
            ratios = f"{reference / eager:.2f} | {reference / fast:.2f}"
            print(f"| {name} | {batch} | {cells} | {ratios} | {line.apart:.0e}, {line.cost:.0e} |", flush=True)


if __name__ == "__main__":
    main()
