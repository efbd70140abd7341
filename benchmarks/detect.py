"""Detection against named peers, one run, alternating, medians; prints Markdown.

    python benchmarks/detect.py [--part nms|coco|inference|all] [--rounds 5] [--images 5000] [--threads 1]
    python benchmarks/detect.py --run RUN     what speed costs: AP of a run's detector, as it is and optimised
    python benchmarks/detect.py --proposals DIR [--images 24]     recall of windows on the boxes of a data set

nms: `foveal.boxes.suppression.nms` against torchvision.ops.nms on 10,000 boxes, anywhere (uniform) and around 1,000
objects (clustered), at IoU 0.5; the keep lists must be equal to the last index, or the script fails.
coco: `foveal.metrics.coco` against pycocotools' COCOeval (bbox) on detections in memory, 80 classes, 100 detections and
about 7 objects an image; both build their tables from the same arrays inside the time, and the twelve numbers must
agree to 1e-9. pycocotools' printing is redirected and not part of the work.
inference: SSD300 and Faster R-CNN (ResNet-50, feature pyramid) against torchvision's with the same weights, an image of
300 x 300 and of 800 x 1088: as they are, and by `foveal.inference.optimize_detector`. Weights are random with lively
scores; as they are both must find the same classes, and boxes within a ten-thousandth of the image's side. The process
keeps freed memory, as foveal's commands do.
proposals: `foveal.proposals.selective_search`, mode fast, against opencv-contrib's (`pip install
opencv-contrib-python-headless`), also its fast one, on the first images of a test split: the share of all boxes that
one of the first so many windows covers with an IoU of 0.5, and the mean of each box's best IoU. Windows with a side
below 20 pixels are left out of both.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision import ops
from torchvision.models import detection

from foveal.boxes.suppression import nms
from foveal.data.open import open_data
from foveal.evaluation.splits import open_split
from foveal.inference import optimize_detector
from foveal.memory import keep_freed
from foveal.metrics.boxes import Found, Truth
from foveal.metrics.coco import coco
from foveal.metrics.localisation import average_best_overlap, proposal_recall
from foveal.models import create
from foveal.proposals.selective_search import selective_search
from foveal.protocols.detections import detections
from foveal.training.device import Placement
from foveal.training.run import Run
from foveal.weights.files import Checkpoint
from foveal.weights.match import load_weights

THRESHOLD = 0.5
CLASSES = 80
COUNTS = (100, 200, 500, 1000, 2000)


def uniform(count: int = 10_000) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=random) * 1000
    sides = 10 + torch.rand(count, 2, generator=random) * 90
    return torch.cat((corner, corner + sides), 1), torch.rand(count, generator=random)


def clustered(count: int = 10_000, objects: int = 1000) -> tuple[Tensor, Tensor]:
    """Boxes as a detector gives them: each a moved and scaled copy of one of the objects."""
    random = torch.Generator().manual_seed(1)
    centre = torch.rand(objects, 2, generator=random) * 1000
    side = 20 + torch.rand(objects, 2, generator=random) * 180
    of = torch.randint(objects, (count,), generator=random)
    middle = centre[of] + torch.randn(count, 2, generator=random) * side[of] * 0.05
    half = side[of] * (torch.randn(count, 2, generator=random) * 0.05).exp() / 2
    return torch.cat((middle - half, middle + half), 1), torch.rand(count, generator=random)


def scenes(images: int) -> tuple[list[Found], list[Truth]]:
    random = np.random.RandomState(2)
    found, truth = [], []
    for _ in range(images):
        count = random.poisson(7)
        corner = random.rand(count, 2) * 500
        box = np.concatenate((corner, corner + 8 + random.rand(count, 2) ** 2 * 200), 1)
        label = random.randint(0, CLASSES, count)
        of = np.repeat(np.arange(count), 4)
        near = box[of] + random.randn(len(of), 4) * 6
        rest = max(100 - len(of), 0)
        strange = random.rand(rest, 2) * 500
        near = np.concatenate((near, np.concatenate((strange, strange + 5 + random.rand(rest, 2) * 150), 1)))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        said = np.concatenate((label[of], random.randint(0, CLASSES, rest)))
        score = np.concatenate((random.rand(len(of)), random.rand(rest) * 0.6))
        found.append(Found(torch.from_numpy(near), torch.from_numpy(score), torch.from_numpy(said)))
        truth.append(Truth(torch.from_numpy(box), torch.from_numpy(label)))
    return found, truth


def peer(found: list[Found], truth: list[Truth]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes: list[dict[str, Any]] = []
    rows = []
    for i, (f, t) in enumerate(zip(found, truth, strict=True)):
        for (x1, y1, x2, y2), label in zip(t.boxes.tolist(), t.labels.tolist(), strict=True):
            row = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            boxes.append(row | {"id": len(boxes) + 1, "image_id": i, "category_id": label})
        sides = f.boxes.numpy().copy()
        sides[:, 2:] -= sides[:, :2]
        rows.append(np.column_stack((np.full(len(sides), i), sides, f.scores.numpy(), f.labels.numpy())))
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO()
        ground.dataset = {
            "images": [{"id": i} for i in range(len(found))],
            "annotations": boxes,
            "categories": [{"id": k} for k in range(CLASSES)],
        }
        ground.createIndex()
        run = COCOeval(ground, ground.loadRes(np.concatenate(rows)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def photograph(height: int, width: int) -> Tensor:
    """scikit-learn's palace at this size, float32 [1, 3, height, width] with about zero mean."""
    china = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float()
    return interpolate(china, (height, width), mode="bilinear") / 128 - 1


def lively(model: nn.Module, scores: str, spread: float) -> None:
    """Random weights that keep signals alive, and scores and boxes that differ from place to place."""
    torch.manual_seed(0)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if scores in name:
                nn.init.normal_(layer.weight, std=spread)
            if "bbox" in name or "regression" in name:
                nn.init.normal_(layer.weight, std=0.01)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 0.5)


def pairs() -> Iterator[tuple[str, Any, Any, Tensor]]:
    """Name, our detector, torchvision's, an image."""
    plain: dict[str, Any] = {
        "weights": None, "weights_backbone": None, "image_mean": [0.0] * 3, "image_std": [1.0] * 3,
    }  # fmt: skip
    theirs = detection.ssd300_vgg16(**plain)
    yield "SSD300", create("ssd300", 90, boxes="coco", clip=True), theirs, photograph(300, 300)
    theirs = detection.fasterrcnn_resnet50_fpn(**plain, min_size=800, max_size=1088)
    yield "Faster R-CNN R50-FPN", create("faster_rcnn_fpn", 90), theirs, photograph(800, 1088)


def inference(rounds: int) -> Iterator[str]:
    for name, ours, theirs, images in pairs():
        lively(theirs, "classification" if "SSD" in name else "cls_score", 0.02 if "SSD" in name else 0.1)
        load_weights(ours, Checkpoint("torchvision", dict(theirs.state_dict())))
        ours.eval(), theirs.eval()
        fast: Any = optimize_detector(ours, input=tuple(images.shape[1:]))
        with torch.inference_mode():
            (mine,), (other,) = ours.detect(images), theirs(list(images))
            same = torch.equal(mine["labels"], other["labels"] - 1)
            if not same or (mine["boxes"] - other["boxes"]).abs().max() > 1e-4 * max(images.shape[2:]):
                raise SystemExit(f"{name}: other detections than torchvision's")
            peer = lambda t=theirs, i=images: t(list(i))  # noqa: E731
            found = f"{len(mine['labels'])} boxes"
            yield compare(f"{name}, {found} / torchvision", lambda o=ours, i=images: o.detect(i), peer, rounds)
            yield compare(f"{name}, optimised / torchvision", lambda f=fast, i=images: f.detect(i), peer, rounds)


def cost(folder: str) -> Iterator[str]:
    """AP on the test split, and seconds in all, of a run's detector as it is in float32 and optimised."""
    run = Run(folder)
    detector = run.detector()
    test = open_split(run, "test")
    detector.placement = Placement(torch.device("cpu"))
    original = detector.model
    for name, model in (("as it is", original), ("optimised", optimize_detector(original, run.recipe.input))):
        detector.model = model
        start = time.perf_counter()
        figures = {key: value for key, value in detections(detector, test) if isinstance(value, float)}
        told = ", ".join(f"{key} {value:.2f} %" for key, value in figures.items())
        yield f"{name}: {told}; {time.perf_counter() - start:.1f} s for {len(test)} images"


def recall(folder: str, images: int) -> Iterator[str]:
    """Lines of a table: windows an image, recall at equal counts, mean best overlap, seconds an image."""
    from cv2 import ximgproc

    data: Any = open_data(folder, "test", task="detect")
    data = data.select(range(min(images, len(data))))

    def opencv(image: Tensor) -> Tensor:
        search = ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(image.flip(0).permute(1, 2, 0).contiguous().numpy())  # blue first
        search.switchToSelectiveSearchFast()
        found = torch.from_numpy(search.process()).float()
        found = found[(found[:, 2:] >= 20).all(1)]
        return torch.cat((found[:, :2], found[:, :2] + found[:, 2:]), 1)

    truth = [data[i][1]["boxes"] for i in range(len(data))]
    for name, search in (("foveal", selective_search), ("opencv-contrib", opencv)):
        start = time.perf_counter()
        windows = [search(data[i][0]) for i in range(len(data))]
        seconds = (time.perf_counter() - start) / len(data)
        shares = proposal_recall(windows, truth, COUNTS)
        told = " | ".join(f"{100 * shares[count]:.1f} %" for count in COUNTS)
        number = statistics.mean(map(len, windows))
        yield f"| {name} | {number:,.0f} | {told} | {average_best_overlap(windows, truth):.3f} | {seconds:.1f} |"


def compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, idle: int = 1) -> str:
    """Alternate both, `idle` rounds of each not counted; a line of the table with medians and their ratio."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for n in range(rounds + idle):
        for which, run in enumerate((ours, theirs)):
            start = time.perf_counter()
            run()
            if n >= idle:
                times[which].append(time.perf_counter() - start)
    mine, other = statistics.median(times[0]) * 1e3, statistics.median(times[1]) * 1e3
    return f"| {name} | {mine:,.1f} | {other:,.1f} | {other / mine:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["nms", "coco", "inference", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=0, help="by default 5000 of coco, 24 of proposals")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", help="a run of a detector: what speed costs it")
    parser.add_argument("--proposals", metavar="DIR", help="a set of boxes: recall of selective search")
    arguments = parser.parse_args()
    keep_freed()
    torch.set_num_threads(arguments.threads)
    if arguments.proposals:
        columns = " | ".join(f"recall at {count}" for count in COUNTS)
        print(f"| selective search | windows | {columns} | mean best IoU | s an image |\n|{'---|' * (len(COUNTS) + 4)}")
        print("\n".join(recall(arguments.proposals, arguments.images or 24)))
        return
    if arguments.run:
        print("\n".join(cost(arguments.run)))
        return
    print(f"{date.today()}, {platform.machine()}, torch {torch.__version__}, {arguments.threads} threads,", end=" ")
    print(f"{arguments.rounds} rounds, medians in ms\n")
    print("| what | foveal | peer | ratio |\n|---|---|---|---|")
    if arguments.part in ("nms", "all"):
        for name, (boxes, scores) in (("uniform", uniform()), ("clustered", clustered())):
            kept = ops.nms(boxes, scores, THRESHOLD)
            if not torch.equal(nms(boxes, scores, THRESHOLD), kept):
                raise SystemExit(f"{name}: other boxes are kept than torchvision keeps")
            run = [lambda f=f, b=boxes, s=scores: f(b, s, THRESHOLD) for f in (nms, ops.nms)]  # type: ignore[misc]
            print(compare(f"NMS, 10,000 {name}, {len(kept):,} kept / torchvision", *run, arguments.rounds * 4))
    if arguments.part in ("coco", "all"):
        images = arguments.images or 5000
        found, truth = scenes(images)
        ours, theirs = list(coco(found, truth, CLASSES).figures.values()), peer(found, truth)
        if not np.allclose(ours, theirs, atol=1e-9):
            raise SystemExit(f"other figures than pycocotools: {ours} and {theirs}")
        name = f"COCO AP, {images:,} images, {sum(len(f.labels) for f in found):,} boxes / pycocotools"
        rounds = min(arguments.rounds, 2)  # a minute each; both have run once already
        print(compare(name, lambda: coco(found, truth, CLASSES), lambda: peer(found, truth), rounds, idle=0))
    if arguments.part in ("inference", "all"):
        for line in inference(arguments.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
