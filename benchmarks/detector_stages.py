"""Where the time of a detector goes: R-CNN, Fast R-CNN and Faster R-CNN on the same images; prints Markdown.

    python benchmarks/detector_stages.py [--trunk vgg16] [--windows 2000] [--side 600] [--rounds 3] [--threads 1]

All three have the same trunk with the same weights (random ones: what a layer costs does not depend on them), R-CNN and
Fast R-CNN the same windows of selective search; Faster R-CNN makes its own 300. Images are scikit-learn's two
photographs, the shorter side brought to --side pixels. In each round every image goes through the three, one after the
other; a first round is not counted. Medians of all images and rounds, in seconds an image, stage by stage; --device
cuda waits for the device at the end of each stage.

VGG-16 sends each of R-CNN's windows through 15.5 billion multiply-adds: with --windows 200 it takes a tenth, and the
table says with how many windows it was made. Nothing is extrapolated; times by window are printed beside.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from foveal.models import create

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
COUNT = "windows an image"
STAGES = ("proposals", "trunk", "windows", "suppression")
PUBLISHED = (  # seconds an image on one K40, VGG-16, without selective search
    "R-CNN 47.0 s, Fast R-CNN 0.32 s (Girshick 2015, table 4); Faster R-CNN 0.198 s, of which trunk 0.141, proposals "
    "0.010, windows 0.047; Fast R-CNN with selective search 1.83 s (Ren et al. 2015, table 5)"
)


class Watch:
    """Seconds of named stages."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start


def detectors(trunk: str, windows: int, device: torch.device) -> dict[str, Any]:
    """The three, with 20 classes; what two of them have in common has the same weights."""
    torch.manual_seed(0)
    layer = "relu7" if trunk == "vgg16" else ""
    search = {"windows": windows}
    slow: Any = create("rcnn", classifier=trunk, layer=layer, size=224, **search)
    fast: Any = create("fast_rcnn", encoder=trunk, **search)
    faster: Any = create("faster_rcnn", encoder=trunk)
    state = fast.state_dict()
    faster.load_state_dict({key: value for key, value in state.items() if key in faster.state_dict()}, strict=False)
    own = slow.backbone.state_dict()
    shared = {name.partition(".")[2]: value for name, value in state.items() if name.startswith(("backbone", "head"))}
    own.update({name: value for name, value in shared.items() if name in own})
    slow.backbone.load_state_dict(own)
    nn.init.normal_(slow.weight, std=0.01)
    slow.fitted.fill_(True)
    for model in (fast, faster):
        nn.init.normal_(model.cls_score.weight, std=0.05)  # scores that differ from window to window
    named = {"R-CNN": slow, "Fast R-CNN": fast, "Faster R-CNN": faster}
    return {name: model.eval().to(device) for name, model in named.items()}


Told = tuple[list[dict[str, Tensor]], int]  # detections, and how many windows were looked at


def rcnn(model: Any, images: Tensor, pixels: Tensor, watch: Watch) -> Told:
    with watch("proposals"):
        windows = [model.search(pixels).to(images.device)]
    with watch("windows"):
        raw = model(images, windows)
    with watch("suppression"):
        return model.detections(raw, images), len(windows[0])


def fast_rcnn(model: Any, images: Tensor, pixels: Tensor, watch: Watch) -> Told:
    with watch("proposals"):
        windows = [model.search(pixels).to(images.device)]
    with watch("trunk"):
        maps = model.backbone(images)
    with watch("windows"):
        said = model.second(maps, windows)
    with watch("suppression"):
        return model.detections(windows, *said, images), len(windows[0])


def faster_rcnn(model: Any, images: Tensor, pixels: Tensor, watch: Watch) -> Told:
    with watch("trunk"):
        maps = model.backbone(images)
    with watch("proposals"):
        windows = model.rpn.proposals(model.rpn(maps, images), images)
    with watch("windows"):
        said = model.second(maps, windows)
    with watch("suppression"):
        return model.detections(windows, *said, images), len(windows[0])


RUNS: dict[str, Callable[[Any, Tensor, Tensor, Watch], Told]] = {
    "R-CNN": rcnn,
    "Fast R-CNN": fast_rcnn,
    "Faster R-CNN": faster_rcnn,
}


def photographs(side: int) -> list[Tensor]:
    """uint8 [3, H, W], the shorter side `side` pixels."""
    return [
        functional.resize(torch.from_numpy(image.copy()).permute(2, 0, 1), [side], antialias=True)
        for image in load_sample_images().images
    ]


def normalised(pixels: Tensor, device: torch.device) -> Tensor:
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return ((pixels / 255 - mean) / deviation)[None].to(device)


def check(name: str, model: Any, images: Tensor, pixels: Tensor) -> None:
    """The stages together are the detector."""
    ((staged,), _) = RUNS[name](model, images, pixels, Watch(images.device))
    given = {} if name == "Faster R-CNN" else {"proposals": [model.search(pixels)]}
    (whole,) = model.detect(images, **given)
    if not torch.equal(staged["boxes"], whole["boxes"]):
        raise SystemExit(f"{name}: the stages find something else than detect")


def measured(models: dict[str, Any], side: int, rounds: int, device: torch.device) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    scenes = [(normalised(pixels, device), pixels) for pixels in photographs(side)]
    for images, pixels in scenes[:1]:  # the round that is not counted
        for name, model in models.items():
            check(name, model, images, pixels)
    for _ in range(rounds):
        for images, pixels in scenes:
            for name, model in models.items():
                watch = Watch(device)
                _, count = RUNS[name](model, images, pixels, watch)
                found[name].append({**watch.seconds, COUNT: count})
    return found


def table(found: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    def row(title: str, value: Callable[[str, dict[str, float]], float | None], form: str) -> str:
        cells = []
        for name, rows in found.items():
            values = [value(name, one) for one in rows]
            there = [one for one in values if one is not None]
            cells.append(form.format(statistics.median(there)) if there else "")
        return f"| {title} | {' | '.join(cells)} |"

    def searchless(name: str, one: dict[str, float]) -> float:
        own = name == "Faster R-CNN"  # whose proposals are the network's
        return sum(one.get(stage, 0.0) for stage in STAGES if own or stage != "proposals")

    yield f"| seconds an image | {' | '.join(found)} |"
    yield "|---" * (1 + len(found)) + "|"
    for stage in STAGES:
        yield row(stage, lambda name, one, stage=stage: one.get(stage), "{:.3f}")  # type: ignore[misc]
    yield row("together", lambda name, one: sum(one.get(stage, 0.0) for stage in STAGES), "{:.3f}")
    yield row("without selective search", searchless, "{:.3f}")
    yield row("windows an image", lambda name, one: one[COUNT], "{:,.0f}")
    yield row("ms a window", lambda name, one: one["windows"] / one[COUNT] * 1e3, "{:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trunk", choices=["vgg16", "resnet50", "resnet101"], default="vgg16")
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--side", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(
        f"{date.today()}, {where}, torch {torch.__version__}, {arguments.threads} threads, {arguments.trunk},", end=" "
    )
    print(f"images of {arguments.side} pixels, float32, {arguments.rounds} rounds, medians\n", flush=True)
    with torch.inference_mode():
        models = detectors(arguments.trunk, arguments.windows, device)
        found = measured(models, arguments.side, arguments.rounds, device)
    print("\n".join(table(found)))
    print(f"\nPublished, on a K40: {PUBLISHED}.")


if __name__ == "__main__":
    main()
