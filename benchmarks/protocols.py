"""Speed of the test protocols against the usual ways to do the same with torchvision's parts; prints Markdown.

    python benchmarks/protocols.py
    python benchmarks/protocols.py --images 8 --rounds 3

Ten crops: `ten_crop` against torchvision's v2.TenCrop, whose stacked crops go through the network batch by batch as its
documentation shows, both on images of 256x256 in memory. Sliding window: `dense` at 288x384 pixels against every window
of 224x224 that it answers for, cut out and batched. The networks are ResNet-18 and VGG-11 (whose map has the stride of
the windows, 32), with their initial weights, in float32. Both ways alternate within a round; ratios are of the
medians, above 1 where foveal is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import date

import torch
from torch import Tensor
from torchvision.transforms import v2

from foveal.data.dataset import ArraySet
from foveal.data.pipeline import normalise
from foveal.models import create
from foveal.protocols.dense import dense
from foveal.protocols.ten_crop import ten_crop
from foveal.training.device import Placement
from foveal.training.inputs import view
from foveal.training.recipe import Recipe
from foveal.training.recogniser import Recogniser

CLASSES = tuple(map(str, range(1000)))
STRIDE, SIDE = 32, 224


def recogniser(model: str, batch: int) -> Recogniser:
    """A network with its initial weights, on the CPU in float32."""
    recipe = Recipe(name=model, model=model, data="noise", input=(3, SIDE, SIDE), length=1, lr=0.1, batch_size=batch)
    torch.manual_seed(0)
    return Recogniser(create(model).eval(), recipe, CLASSES, Placement(torch.device("cpu")), view(recipe))


def noise(count: int, height: int, width: int) -> ArraySet:
    """Images of random pixels."""
    images = torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(1))
    return ArraySet(images, torch.zeros(count, dtype=torch.int64), CLASSES, "test", "noise")


def torchvision_ten_crop(predict: Recogniser, images: ArraySet, batch: int) -> Tensor:
    """What the documentation of TenCrop shows, in batches of `batch` crops."""
    crops, together = v2.TenCrop(SIDE), max(1, batch // 10)
    found = []
    for start in range(0, len(images), together):
        chosen = range(start, min(len(images), start + together))
        part = torch.stack([torch.stack(crops(images[i][0].as_subclass(Tensor))) for i in chosen])
        found.append(_probabilities(predict, part.flatten(0, 1)).view(len(part), 10, -1).mean(1))
    return torch.cat(found)


def windows(predict: Recogniser, images: ArraySet, batch: int) -> Tensor:
    """Every window of the map, cut out, in batches of `batch`."""
    found = []
    for image in images.images:
        cut = image.unfold(1, SIDE, STRIDE).unfold(2, SIDE, STRIDE).permute(1, 2, 0, 3, 4).flatten(0, 1)
        found.append(torch.cat([_probabilities(predict, part) for part in cut.split(batch)]).mean(0))
    return torch.stack(found)


def _probabilities(predict: Recogniser, images: Tensor) -> Tensor:
    with torch.inference_mode():
        scores: Tensor = predict.model(normalise(images, predict.recipe.mean, predict.recipe.std))
    return scores.softmax(1)


def seconds(work: Callable[[], object]) -> float:
    """Wall clock of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=40, help="crops that go through the network together")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    small, large = recogniser("resnet18", given.batch), recogniser("vgg11", given.batch)
    squares, wholes = noise(given.images, 256, 256), noise(max(1, given.images // 4), 288, 384)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "ten_crop, ResNet-18": (
            lambda: torchvision_ten_crop(small, squares, given.batch),
            lambda: dict(ten_crop(small, squares, batch_size=given.batch)),
        ),
        "dense, VGG-11": (
            lambda: windows(large, wholes, given.batch),
            lambda: dict(dense(large, wholes, flip=False, batch_size=given.batch)),
        ),
    }
    print(f"{date.today()} · {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"· {given.images} images, {given.rounds} alternating rounds, medians (lowest–highest)\n")
    print("| protocol | usual way, s | foveal, s | ratio |\n|---|---|---|---|")
    for name, (usual, ours) in pairs.items():
        seconds(usual), seconds(ours)  # warm up
        times: list[tuple[float, float]] = [(seconds(usual), seconds(ours)) for _ in range(given.rounds)]
        columns = list(zip(*times, strict=True))
        cells = " | ".join(f"{statistics.median(x):.2f} ({min(x):.2f}–{max(x):.2f})" for x in columns)
        print(f"| {name} | {cells} | {statistics.median(columns[0]) / statistics.median(columns[1]):.2f} |", flush=True)


if __name__ == "__main__":
    main()
