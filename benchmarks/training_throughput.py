"""Training throughput of foveal against a plain PyTorch loop, alternating in one run; prints Markdown.

    python benchmarks/training_throughput.py --data DIR          (DIR holds mnist/ and cifar10/)

A is foveal as `foveal train` runs it: the recipe's network, loader, augmentation, precision and optimiser. B is the
loop of torchvision's reference script: Dataset of PIL images, torchvision.transforms (v1) for the same augmentation,
DataLoader whose workers start anew each epoch, eager float32 in NCHW, torch's default SGD, loss and top-1 and top-5
accuracy read at each update. It has as many workers as there are cores (the script's own default is 16; --workers).
Its LeNet-5 is written with torch's own functions and computes what foveal's does, which is checked before the start;
its ResNet-20 is foveal's. Neither evaluates nor saves. B has a process of its own, in which torch and glibc hold memory
as they do by themselves: foveal has its process keep what is freed. A round trains for the same number of images; the
ratio is of the medians. Rounds are long, since B's workers fill their queues at the start of A's.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1

from foveal.data.dataset import ArraySet
from foveal.data.open import open_data
from foveal.recipes import resolve
from foveal.training.console import Console
from foveal.training.distributed import Group
from foveal.training.inputs import Inputs
from foveal.training.job import Job, build
from foveal.training.recipe import Recipe

Round = Callable[[int], float]  # images per second over so many updates
CASES = {"lenet5_mnist": "mnist", "resnet20_cifar10": "cifar10"}


class PlainLeNet5(nn.Module):
    """LeNet-5 with RBF outputs as people write it, with the weights of foveal's."""

    def __init__(self, ours: nn.Sequential) -> None:
        super().__init__()
        self.margin = ours.margin
        self.c1, self.c5, self.f6 = (copy.deepcopy(layer) for layer in (ours.C1, ours.C5, ours.F6))
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c3.weight.data, self.c3.bias.data = ours.C3.dense_weight().detach().clone(), ours.C3.bias.detach().clone()
        self.register_buffer("connected", (self.c3.weight.data != 0).float())
        self.coefficients = nn.ParameterList([ours.S2.weight.detach().clone(), ours.S4.weight.detach().clone()])
        self.biases = nn.ParameterList([ours.S2.bias.detach().clone(), ours.S4.bias.detach().clone()])
        self.register_buffer("codes", ours.output.centres.clone())

    def subsample(self, x: Tensor, level: int) -> Tensor:
        """The sum of 2x2 windows times a coefficient, plus a bias."""
        pooled = 4 * F.avg_pool2d(x, 2)
        return pooled * self.coefficients[level].view(1, -1, 1, 1) + self.biases[level].view(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = squash(self.subsample(squash(self.c1(x)), 0))
        x = squash(F.conv2d(x, self.c3.weight * self.connected, self.c3.bias))
        x = squash(self.subsample(x, 1)).flatten(1)
        x = squash(self.f6(squash(self.c5(x))))
        return -((x.unsqueeze(1) - self.codes) ** 2).sum(2)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Equation 9 of the paper."""
        floor = torch.full((len(scores), 1), -self.margin)
        penalty = -scores.gather(1, targets[:, None]).mean()
        return penalty + torch.logsumexp(torch.cat([floor, scores], dim=1), dim=1).mean()


def squash(x: Tensor) -> Tensor:
    """The paper's scaled tanh."""
    return 1.7159 * torch.tanh(2 / 3 * x)


def plain_network(recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """The recipe's network for the plain loop, laid out as torch's own layers are."""
    model = build(recipe, classes).to(memory_format=torch.contiguous_format)
    if recipe.model != "lenet5":
        return model
    plain = PlainLeNet5(model)
    images = torch.randn(4, *recipe.input)
    torch.testing.assert_close(plain(images), model(images), rtol=1e-4, atol=1e-3)
    return plain


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """The images as PIL, through v1 transforms one at a time, as torchvision's own datasets do."""

    def __init__(self, images: ArraySet, transform: Callable[[object], torch.Tensor]) -> None:
        self.arrays = images.images.permute(0, 2, 3, 1).squeeze(-1).numpy()
        self.labels = images.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.arrays[i])), self.labels[i]


def reference_transforms(recipe: Recipe) -> Callable[[object], torch.Tensor]:
    """The recipe's preparation and augmentation in torchvision's v1 transforms."""
    if recipe.name == "lenet5_mnist":
        steps: list[Callable[[object], object]] = [v1.Pad(2)]
        if recipe.augment:
            steps.append(v1.RandomAffine(5, translate=(0.05, 0.05), scale=(0.95, 1.05), shear=3))
    else:
        steps = [v1.RandomCrop(32, padding=4), v1.RandomHorizontalFlip()]
    composed: Callable[[object], torch.Tensor] = v1.Compose(
        [*steps, v1.ToTensor(), v1.Normalize(recipe.mean, recipe.std)]
    )
    return composed


def ours(recipe: Recipe, images: ArraySet, folder: Path) -> Round:
    """Rounds of foveal's own loop, one after another in one run."""
    job = Job(
        recipe.with_settings(length=10**6, unit="iterations"), folder, Inputs(images, None, None), Group(), quiet()
    )
    job.place()
    steps = job.steps()
    return lambda updates: timed(steps, updates, recipe.batch_size)


def quiet() -> Console:
    """No output while timing."""
    return Console(silent=True)


@contextmanager
def reference(name: str, data: Path, threads: int, workers: int) -> Iterator[Round]:
    """Rounds of the plain loop in another process, which ends with the context."""
    spawning = multiprocessing.get_context("spawn")
    here, there = spawning.Pipe()
    process = spawning.Process(target=serve, args=(there, name, data, threads, workers))
    with patch.dict(os.environ, THP_MEM_ALLOC_ENABLE="0"):
        process.start()

    def round_of(updates: int) -> float:
        here.send(updates)
        return float(here.recv())

    try:
        yield round_of
    finally:
        here.send(0)
        process.join()


def serve(connection: Connection, name: str, data: Path, threads: int, workers: int) -> None:
    """The other process: does as many updates as it is asked for, until that is none, and answers with the speed."""
    torch.set_num_threads(threads)
    recipe, images = opened(name, data)
    steps = plain_loop(recipe, images, workers)
    while updates := connection.recv():
        connection.send(timed(steps, updates, recipe.batch_size))


def plain_loop(recipe: Recipe, images: ArraySet, workers: int) -> Iterator[dict[str, float]]:
    """What people write: yields the figures after each update."""
    model = plain_network(recipe, images.classes)
    loader = DataLoader(
        Pictures(images, reference_transforms(recipe)),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context=multiprocessing.get_all_start_methods()[0],  # the system's: this process was spawned
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    criterion = getattr(model, "loss", nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing))
    model.train()
    while True:
        for pictures, labels in loader:
            scores = model(pictures)
            optimizer.zero_grad()
            loss = criterion(scores, labels)
            loss.backward()
            optimizer.step()
            top1, top5 = accuracies(scores, labels)
            yield {"loss": loss.item(), "top1": top1.item(), "top5": top5.item()}


@torch.no_grad()
def accuracies(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The shares of images whose class is the best, and among the best five."""
    found = scores.topk(5).indices == labels[:, None]
    return found[:, 0].float().mean(), found.any(1).float().mean()


def timed(steps: Iterator[object], updates: int, batch_size: int) -> float:
    """Images per second over the next updates."""
    begun = time.perf_counter()
    for _ in itertools.islice(steps, updates):
        pass
    return updates * batch_size / (time.perf_counter() - begun)


def opened(name: str, data: Path) -> tuple[Recipe, ArraySet]:
    """A case's recipe and training images."""
    recipe = resolve(name, data=str(data / CASES[name]))
    images = open_data(recipe.data, "train")
    if not isinstance(images, ArraySet):
        raise TypeError(f"{recipe.data} is not a set in memory")
    return recipe, images


def compare(name: str, data: Path, rounds: int, seconds: float, workers: int) -> tuple[list[float], list[float]]:
    """Images per second of A and of B, round by round."""
    recipe, images = opened(name, data)
    with TemporaryDirectory() as folder, reference(name, data, torch.get_num_threads(), workers) as b:
        a = ours(recipe, images, Path(folder))
        a(10), b(10)
        updates = max(10, round(b(10) * seconds / recipe.batch_size))  # a round of B takes about `seconds`
        a(updates), b(updates)  # warm up
        pairs = [(a(updates), b(updates)) for _ in range(rounds)]
    return [x for x, _ in pairs], [y for _, y in pairs]


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
    parser.add_argument("--data", type=Path, required=True, help="folder that holds mnist/ and cifar10/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round of the plain loop")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that load for the plain loop")
    parser.add_argument("--only", choices=list(CASES), help="one of the cases")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"{date.today()} · {processor()}, {os.cpu_count()} cores, {given.threads} threads, {given.workers} workers")
    print(f"· torch {torch.__version__}, Python {platform.python_version()}")
    print(f"· {given.rounds} alternating rounds, medians (lowest–highest)\n")
    print("| training | foveal, images/s | plain PyTorch, images/s | ratio |")
    print("|---|---|---|---|")
    for name in [given.only] if given.only else CASES:
        a, b = compare(name, given.data, given.rounds, given.seconds, given.workers)
        ratio = statistics.median(a) / statistics.median(b)
        cells = " | ".join(f"{statistics.median(x):,.0f} ({min(x):,.0f}–{max(x):,.0f})" for x in (a, b))
        print(f"| {name} | {cells} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
