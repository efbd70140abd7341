"""Occlusion against Captum's, and class maximisation against lucent's loop; prints Markdown.

    python benchmarks/explain.py                     both, AlexNet at 224 pixels, as much as the machine has
    python benchmarks/explain.py --rounds 5 --threads 2
    python benchmarks/explain.py --only occlusion --stride 50 --rounds 1

Occlusion: a square of 50 pixels in steps of 10 over one image of 224 x 224, float32 on both sides, 361 squares, the
network in evaluation mode. Captum is asked as its documentation does, one square at a time
(`perturbations_per_eval=1`), and once more with the batch that is fastest of those tried first. foveal's time is that
of the whole `foveal.explain("occlusion", …)`: the optimised copy, all views and the drawing. Before anything is timed,
both attributions are compared. The network is AlexNet in one tower, with local response normalisation as published and
without; weights are random, which costs the same.

Maximisation: the same number of updates for one class, from noise. lucent's loop, written here as its documentation
describes it since its package asks for an old kornia: a Fourier image with decorrelated scale, Adam at 0.05, padding,
jitter, random scale and jitter again, the objective's backward through everything. Times are of an update.

Rounds alternate, after one that is not counted; ratios are of the medians, above 1 where foveal is faster. Three
minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial

import torch
import torch.nn.functional as F
from captum.attr import Occlusion
from torch import Tensor, nn

import foveal

SIDE, WINDOW, TARGET = 224, 50, 7
BATCHES = (16, 64)
_NAMES = {True: "as published", False: "without normalisation"}
NET = (
    "11-4-2Conv96 (ReLU) → {n}3-2MaxPool → 5-1-2Conv256 (ReLU) → {n}3-2MaxPool → 3-1-1Conv384 (ReLU) → "
    "3-1-1Conv384 (ReLU) → 3-1-1Conv256 (ReLU) → 3-2MaxPool → FC4096 (ReLU) → FC4096 (ReLU) → FC1000"
)


def network(norm: bool) -> nn.Module:
    torch.manual_seed(0)
    model = foveal.build(NET.format(n="Norm → " if norm else ""), input=(3, SIDE, SIDE)).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    return model


def captum(model: nn.Module, image: Tensor, stride: int, batch: int) -> Tensor:
    shapes, strides = (3, WINDOW, WINDOW), (3, stride, stride)
    with torch.no_grad():
        found = Occlusion(model).attribute(
            image[None], sliding_window_shapes=shapes, strides=strides, target=TARGET, perturbations_per_eval=batch
        )
    return found[0, 0].float()


def ours(model: nn.Module, image: Tensor, stride: int) -> Tensor:
    found: Tensor = foveal.explain("occlusion", model, image, TARGET, window=WINDOW, stride=stride).arrays[
        "attribution"
    ]
    return found


def lucent(model: nn.Module, steps: int) -> Tensor:
    """Adam on the spectrum of an image, under random transformations."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]
    scale = 1 / (rows.square() + columns.square()).sqrt().clamp_min(1 / SIDE) * SIDE
    spectrum = (torch.randn(1, 3, *scale.shape, 2, generator=generator) * 0.01).requires_grad_()
    adam = torch.optim.Adam([spectrum], lr=0.05)
    for _ in range(steps):
        image = torch.fft.irfft2(torch.view_as_complex(spectrum) * scale, s=(SIDE, SIDE), norm="ortho").sigmoid()
        wide = F.pad(image, (12,) * 4, value=0.5)
        for jitter in (8, 4):
            top, left = torch.randint(0, jitter + 1, (2,), generator=generator).tolist()
            wide = wide[:, :, top : wide.shape[2] - jitter + top, left : wide.shape[3] - jitter + left]
            factor = 1 + (int(torch.randint(11, (1,), generator=generator)) - 5) / 50
            wide = F.interpolate(wide, scale_factor=factor, mode="bilinear") if jitter == 8 else wide
        seen = F.interpolate(wide, (SIDE, SIDE), mode="bilinear")
        adam.zero_grad()
        (-model((seen - 0.5) / 0.25)[:, TARGET].sum()).backward()
        adam.step()
    return spectrum.detach()


def timed(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, the median over rounds in which all take turns; all have run before."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def occlusion(rounds: int, stride: int) -> None:
    places = (-(-(SIDE - WINDOW) // stride) + 1) ** 2
    print(f"\n## Occlusion, {places} squares of {WINDOW} pixels, steps of {stride}\n")
    print("| AlexNet | Captum, one by one s | Captum, best batch s | foveal s | ratio | to best batch | difference |")
    print("|---|---|---|---|---|---|---|")
    image = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    for norm in (True, False):
        model = network(norm)
        theirs, mine = captum(model, image, stride, 1), ours(model, image, stride)
        tried = timed({str(size): partial(captum, model, image, stride, size) for size in BATCHES}, 1)
        best = int(min(tried, key=lambda size: tried[size]))
        apart = float((theirs - mine).abs().max() / theirs.abs().max())
        runs = {
            "one": partial(captum, model, image, stride, 1),
            "batch": partial(captum, model, image, stride, best),
            "ours": partial(ours, model, image, stride),
        }
        seconds = timed(runs, rounds)
        one, batch, own = seconds["one"], seconds["batch"], seconds["ours"]
        cells = (
            _NAMES[norm],
            f"{one:.2f}",
            f"{batch:.2f} ({best})",
            f"{own:.2f}",
            f"{one / own:.2f}",
            f"{batch / own:.2f}",
        )
        print(f"| {' | '.join(cells)} | {apart:.1e} |", flush=True)


def maximisation(rounds: int, steps: int) -> None:
    print(f"\n## Class maximisation, {steps} updates\n")
    print("| AlexNet | lucent's loop ms/update | foveal ms/update | ratio |")
    print("|---|---|---|---|")
    for norm in (True, False):
        model = network(norm)
        asked = {"target": TARGET, "input": (3, SIDE, SIDE), "steps": steps}
        runs = {
            "theirs": partial(lucent, model, steps),
            "ours": partial(foveal.explain, "maximise", model, **asked),  # type: ignore[arg-type]
        }
        timed(runs, 1)
        seconds = timed(runs, rounds)
        theirs, own = 1000 * seconds["theirs"] / steps, 1000 * seconds["ours"] / steps
        print(f"| {_NAMES[norm]} | {theirs:.1f} | {own:.1f} | {theirs / own:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("occlusion", "maximisation"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"# Explanations, {date.today()}\n")
    print(f"{platform.processor() or platform.machine()}, {given.threads} threads, torch {torch.__version__}, float32")
    if given.only != "maximisation":
        occlusion(given.rounds, given.stride)
    if given.only != "occlusion":
        maximisation(given.rounds, given.steps)


if __name__ == "__main__":
    main()
