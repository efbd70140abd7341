"""A class for every pixel: one dense pass against patch by patch with its best batch size; prints Markdown.

    python benchmarks/dense_prediction.py [--net small|deep|both] [--device cpu|cuda] [--rounds 3] [--sample 2048]

Patch by patch is the network on every 63x63 (deep: 252x252) window of a 256x256 image, cut out as views of the filled
image, in batches. Its batch size and memory layout are first chosen as the fastest of those tried on a random sample.
Dense is `dilate(convolutionalize(network))` on the same filled image, channels last. Forward is under no_grad;
forward+backward starts from the same random error at every pixel. Rounds alternate; the ratio is of the medians. Before
anything is timed, outputs and gradients of both are compared on patches drawn at random.

Of the small network every patch is computed. Of the deep one a round computes `--sample` patches drawn at random, and
its time is multiplied by 65,536 / sample: all of them would take hours. The table says so.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import torch
from torch import Tensor, nn

from foveal.graph import convolutionalize, dilate
from foveal.notation import parse

SIDE = 256
BATCHES = (8, 16, 32, 64, 128, 256)
# deep: the paper's point is that the gain grows with depth and patch; eleven layers with weights, five poolings.
NETS = {
    "small": ("6-1Conv16 (ReLU) → 2-2MaxPool → 6-1Conv32 (ReLU) → 2-2MaxPool → FC8", 63),
    "deep": (
        "[[3-1Conv16 (ReLU)]x2 → 2-2MaxPool]x5 → FC32 (ReLU) → FC8",
        252,
    ),
}


@dataclass(frozen=True)
class Case:
    """A network with its patch, both forms of it, the filled image and an error at every pixel."""

    name: str
    patch: int
    model: nn.Module
    dense: nn.Module
    image: Tensor  # [1, 3, 256 + patch - 1, …]
    error: Tensor  # [256 * 256, 8]

    def patches(self, indices: Tensor) -> Tensor:
        """The windows of pixels `indices` [B] → [B, 3, patch, patch]."""
        windows = self.image[0].unfold(1, self.patch, 1).unfold(2, self.patch, 1)  # [3, 256, 256, patch, patch]
        return windows[:, indices // SIDE, indices % SIDE].transpose(0, 1)


def make(name: str, device: str) -> Case:
    text, patch = NETS[name]
    torch.manual_seed(0)
    model = parse(text, (3, patch, patch)).to(device).eval()
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    dense = dilate(convolutionalize(model, (3, patch, patch))).to(memory_format=torch.channels_last)
    filled = SIDE + patch - 1
    image = torch.randn(1, 3, filled, filled, device=device)
    return Case(name, patch, model, dense, image, torch.randn(SIDE * SIDE, 8, device=device))


def run_dense(case: Case, backward: bool) -> None:
    case.dense.zero_grad()
    with torch.set_grad_enabled(backward):
        scores = case.dense(case.image.contiguous(memory_format=torch.channels_last))
        if backward:
            scores.backward(case.error.view(1, SIDE, SIDE, 8).permute(0, 3, 1, 2))


def run_patches(case: Case, indices: Tensor, batch: int, channels_last: bool, backward: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    case.model.zero_grad()
    with torch.set_grad_enabled(backward):
        for part in indices.split(batch):
            scores = case.model(case.patches(part).contiguous(memory_format=layout))
            if backward:
                scores.backward(case.error[part])


def seconds(work: Callable[[], None], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def check(case: Case) -> tuple[float, float]:
    """Largest differences of outputs and of gradients between the two, relative to the largest value."""
    chosen = torch.randperm(SIDE * SIDE, device=case.image.device)[:64]
    mask = torch.zeros(SIDE * SIDE, 1, device=case.image.device)
    mask[chosen] = 1
    case.model.zero_grad()
    case.dense.zero_grad()
    dense = case.dense(case.image).permute(0, 2, 3, 1).reshape(-1, 8)
    dense.backward(case.error * mask)
    scores = []
    for part in chosen.split(16):
        scores.append(case.model(case.patches(part)))
        scores[-1].backward(case.error[part])
    expected = torch.cat(scores)
    output = float((dense[chosen] - expected).detach().abs().max() / expected.detach().abs().max())
    pairs = zip(case.dense.parameters(), case.model.parameters(), strict=True)
    gradient = max(float((a.grad - b.grad).abs().max() / b.grad.abs().max()) for a, b in pairs)
    if max(output, gradient) > 1e-3:
        raise SystemExit(f"{case.name}: the two differ by {output:.1e} (outputs), {gradient:.1e} (gradients)")
    return output, gradient


def best_way(case: Case, backward: bool, device: str, budget: int) -> tuple[int, bool]:
    """Batch size and layout with the most patches per second, on `budget` patches each (a warm-up batch apart)."""
    chosen = torch.randperm(SIDE * SIDE, device=device)[:budget]
    speeds = {}
    for channels_last in (False, True):
        for batch in BATCHES:
            if batch > budget:
                continue
            run_patches(case, chosen[:batch], batch, channels_last, backward)
            work = lambda b=batch, c=channels_last: run_patches(case, chosen, b, c, backward)  # noqa: E731
            speeds[batch, channels_last] = len(chosen) / seconds(work, device)
    return max(speeds, key=lambda way: speeds[way])


def measure(case: Case, backward: bool, options: argparse.Namespace) -> str:
    device = options.device
    batch, channels_last = best_way(case, backward, device, options.tune)
    count = options.sample if case.name == "deep" else (options.patches or SIDE * SIDE)
    run_dense(case, backward)
    patch_times, dense_times = [], []
    for _ in range(options.rounds):
        indices = torch.randperm(SIDE * SIDE, device=device)[:count]
        spent = seconds(lambda i=indices: run_patches(case, i, batch, channels_last, backward), device)
        patch_times.append(spent * SIDE * SIDE / count)
        dense_times.append(seconds(lambda: run_dense(case, backward), device))
    patches, dense = statistics.median(patch_times), statistics.median(dense_times)
    layout = "channels last" if channels_last else "NCHW"
    how = "all" if count == SIDE * SIDE else f"{count:,} at random, scaled up"
    kind = "forward+backward" if backward else "forward"
    return (
        f"| {case.name}, {case.patch}x{case.patch} | {kind} | {patches:,.2f} | {batch}, {layout}; {how} "
        f"| {dense:,.4f} | {patches / dense:,.0f} |"
    )


def lines(options: argparse.Namespace) -> Iterator[str]:
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or platform.machine()
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    yield f"{date.today()}, {name}, {threads}, float32, {SIDE}x{SIDE} pixels, {options.rounds} rounds"
    yield ""
    head = "| network, patch | what | patch by patch, s | its batch and layout; patches timed | dense, s | ratio |"
    yield head
    yield "|---|---|---|---|---|---|"
    for net in NETS if options.net == "both" else (options.net,):
        case = make(net, options.device)
        output, gradient = check(case)
        for backward in (False, True):
            yield measure(case, backward, options)
        yield f"| | differences | | outputs {output:.0e}, gradients {gradient:.0e}, relative | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=[*NETS, "both"], default="both")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, default=2048, help="patches of the deep network in a round")
    parser.add_argument("--patches", type=int, default=0, help="patches of the small network in a round; 0: all")
    parser.add_argument("--tune", type=int, default=512, help="patches that each batch size is tried on")
    for line in lines(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
