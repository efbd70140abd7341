"""Segmentation against its peers: augmentation in one warp, inference, and the fully connected CRF; prints Markdown.

    python benchmarks/segment.py                 all three
    python benchmarks/segment.py --only warp --rounds 20

warp: a 360x480 image with its mask becomes a 224x224 window, turned by up to 10 degrees, sheared by up to 5, scaled by
0.5 to 2, mirrored or not. A: torchvision's v2 RandomRotation, RandomAffine (shear), RandomResize, RandomCrop and
RandomHorizontalFlip one after the other, bilinear; B: v2's RandomAffine, which turns, shears and scales in one warp,
then crop and flip; C: foveal's random_view, called the same way.
inference: one image, 21 classes, initial weights, evaluation mode, by multiply-adds a second. FCN-8s on VGG-16 sees
500x500 pixels, as in its paper (182 billion multiply-adds), beside the same network put together of torchvision's
VGG-16 and torch's layers, with as many, and beside torchvision's fcn_resnet50 (134), whose convolutions suit CPUs
better. U-Net of width 48 with batch normalisation sees 256x256 (27.2), beside segmentation_models.pytorch's Unet on
vgg16_bn (24.9), where that is installed. A: the peer, eager; B: foveal's, eager; C: foveal's through `foveal.optimize`.
Smaller images do FCN-8s no justice: the 103 million weights of its 7x7 layer are read at each call.
crf: mean field with 10 iterations on 375x500 pixels and 21 classes, against pydensecrf where it is installed, with the
largest and mean difference of the marginals.

A, B and C alternate within a round, in a process that keeps freed memory as foveal's commands do; ratios are of the
medians, above 1 where foveal is faster.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import tv_tensors
from torchvision.transforms import v2

import foveal
from foveal.data.transforms import RandomView
from foveal.graph.count import count
from foveal.layers.crf import DenseCRF
from foveal.memory import keep_freed

CLASSES = 21


def medians(works: Sequence[Callable[[], object]], rounds: int, repeats: int) -> list[float]:
    """Seconds of each work, the median of rounds in which they alternate."""
    found: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for times, work in zip(found, works, strict=True):
            begun = time.perf_counter()
            for _ in range(repeats):
                work()
            times.append((time.perf_counter() - begun) / repeats)
    return [statistics.median(times) for times in found]


def warp(rounds: int) -> None:
    """Augmentation."""
    generator = torch.Generator().manual_seed(0)
    image = tv_tensors.Image(torch.randint(0, 256, (3, 360, 480), dtype=torch.uint8, generator=generator))
    mask = tv_tensors.Mask(torch.randint(0, 11, (360, 480), dtype=torch.uint8, generator=generator))
    bilinear = v2.InterpolationMode.BILINEAR
    chained = v2.Compose(
        [
            v2.RandomRotation(10, interpolation=bilinear),
            v2.RandomAffine(0, shear=5, interpolation=bilinear),
            v2.RandomResize(180, 720),
            v2.RandomCrop(224, pad_if_needed=True),
            v2.RandomHorizontalFlip(),
        ]
    )
    single = v2.Compose(
        [
            v2.RandomAffine(10, shear=5, scale=(0.5, 2), interpolation=bilinear),
            v2.RandomCrop(224),
            v2.RandomHorizontalFlip(),
        ]
    )
    view = RandomView(224, scale=(0.5, 2), degrees=10, shear=5)
    a, b, c = medians(
        [lambda: chained(image, mask), lambda: single(image, mask), lambda: view(image, mask)], rounds, 20
    )
    print("| chained v2, ms | one v2 affine, ms | random_view, ms | against chained | against one |")
    print("|--:|--:|--:|--:|--:|")
    print(f"| {1e3 * a:.2f} | {1e3 * b:.2f} | {1e3 * c:.2f} | {a / c:.1f} | {b / c:.1f} |\n")


@torch.inference_mode()
def inference(rounds: int) -> None:
    """Networks by multiply-adds a second."""
    print(
        "| peer | network | pixels | peer, GMAC | own, GMAC "
        "| peer, GMAC/s | eager, GMAC/s | optimised, GMAC/s | ratios |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    unet = {"width": 48, "batch_norm": True}
    for name, side, given, make in (
        ("fcn8s", 500, {}, vgg_fcn8s),
        ("fcn8s", 500, {}, fcn_resnet50),
        ("unet", 256, unet, smp_unet),
    ):
        with torch.inference_mode(False):
            made = make()
        if made is None:
            print(f"| segmentation_models.pytorch is not installed | {name} | | | | | | | |")
            continue
        compare(made, name, side, given, rounds)
    print()


def compare(peer: tuple[str, nn.Module], name: str, side: int, given: dict[str, Any], rounds: int) -> None:
    """A row: one peer, and the network `name` as it is and optimised, on side x side pixels."""
    title, theirs = peer[0], peer[1].eval()
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(False):
        ours = foveal.create(name, num_classes=CLASSES, **given).eval()
        fast = foveal.optimize(ours, (3, side, side))
    with FlopCounterMode(display=False) as counter:
        theirs(image)
    work, own = counter.get_total_flops() / 2, count(ours, (3, side, side)).macs
    times = medians([lambda: theirs(image), lambda: ours(image), lambda: fast(image)], rounds, 1)
    a, b, c = (macs / 1e9 / seconds for macs, seconds in zip((work, own, own), times, strict=True))
    print(
        f"| {title} | {name} | {side}x{side} | {work / 1e9:.1f} | {own / 1e9:.1f} | {a:.1f} | {b:.1f} | {c:.1f} "
        f"| {b / a:.2f}, {c / a:.2f} |",
        flush=True,
    )


class VGGFCN8s(nn.Module):
    """FCN-8s as one writes it around torchvision's VGG-16: its layers up to the last pooling, the rest torch's own."""

    def __init__(self) -> None:
        super().__init__()
        features = torchvision.models.vgg16(weights=None).features
        features[0].padding = (100, 100)
        for layer in features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        self.to_pool3, self.to_pool4, self.to_pool5 = features[:17], features[17:24], features[24:]
        relu = nn.ReLU(inplace=True)
        self.head = nn.Sequential(
            nn.Conv2d(512, 4096, 7), relu, nn.Dropout(), nn.Conv2d(4096, 4096, 1), relu, nn.Dropout()
        )
        self.scores = nn.ModuleList([nn.Conv2d(maps, CLASSES, 1) for maps in (4096, 512, 256)])
        self.twice = nn.ModuleList([nn.ConvTranspose2d(CLASSES, CLASSES, 4, 2, bias=False) for _ in range(2)])
        self.eight_times = nn.ConvTranspose2d(CLASSES, CLASSES, 16, 8, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        pool3 = self.to_pool3(images)
        pool4 = self.to_pool4(pool3)
        x = self.scores[0](self.head(self.to_pool5(pool4)))
        for up, score, maps, offset in zip(self.twice, self.scores[1:], (pool4, pool3), (5, 9), strict=True):
            x = up(x)
            x = x + score(maps)[:, :, offset : offset + x.shape[2], offset : offset + x.shape[3]]
        whole: Tensor = self.eight_times(x)
        return whole[:, :, 31 : 31 + images.shape[2], 31 : 31 + images.shape[3]]


def vgg_fcn8s() -> tuple[str, nn.Module]:
    """The same network of torchvision's parts."""
    return "FCN-8s of torchvision's vgg16", VGGFCN8s()


def fcn_resnet50() -> tuple[str, nn.Module]:
    """torchvision's own segmentation network."""
    model = torchvision.models.segmentation.fcn_resnet50(weights_backbone=None, num_classes=CLASSES)
    return "torchvision fcn_resnet50", model


def smp_unet() -> tuple[str, nn.Module] | None:
    """segmentation_models.pytorch's U-Net; None where it is not installed."""
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        return None
    package = importlib.import_module("segmentation_models_pytorch")
    return "smp.Unet(vgg16_bn)", package.Unet("vgg16_bn", encoder_weights=None, classes=CLASSES)


@torch.inference_mode()
def crf(rounds: int) -> None:
    """The fully connected CRF."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, CLASSES, 12, 16, generator=generator) * 3
    scores = nn.functional.interpolate(coarse, (375, 500), mode="bilinear")
    picture = nn.functional.interpolate(torch.rand(1, 3, 24, 32, generator=generator), (375, 500), mode="bilinear")
    image = (255 * picture).round()
    layer = DenseCRF(CLASSES)
    if importlib.util.find_spec("pydensecrf") is None:
        (own,) = medians([lambda: layer(scores, image)], rounds, 1)
        print(f"DenseCRF: {own:.2f} s for 375x500 pixels and {CLASSES} classes; pydensecrf is not installed\n")
        return
    theirs, own = medians([lambda: reference(scores, image), lambda: layer(scores, image)], rounds, 1)
    apart = (layer(scores, image).softmax(1)[0] - reference(scores, image)).abs()
    print("| pydensecrf, s | DenseCRF, s | ratio | largest difference | mean difference |\n|--:|--:|--:|--:|--:|")
    print(f"| {theirs:.2f} | {own:.2f} | {theirs / own:.2f} | {float(apart.max()):.1e} | {float(apart.mean()):.1e} |\n")


def reference(scores: Tensor, image: Tensor) -> Tensor:
    """pydensecrf's marginals, [classes, H, W], with DenseCRF's default kernels and weights."""
    package = importlib.import_module("pydensecrf.densecrf")
    classes, height, width = scores.shape[1:]
    field = package.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(-scores[0].log_softmax(0).reshape(classes, -1).numpy()))
    field.addPairwiseGaussian(sxy=3, compat=3)
    pixels = np.ascontiguousarray(image[0].byte().permute(1, 2, 0).numpy())
    field.addPairwiseBilateral(sxy=80, srgb=13, rgbim=pixels, compat=10)
    return torch.from_numpy(np.array(field.inference(10))).reshape(classes, height, width)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"warp": warp, "inference": inference, "crf": crf}
    parser.add_argument("--only", choices=list(parts), help="one part")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    keep_freed()
    print(f"{date.today()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores\n")
    for name, part in parts.items():
        if given.only in (None, name):
            part(given.rounds)


if __name__ == "__main__":
    main()
