"""A classifier of patches labels whole street scenes.

    python examples/street_patches.py data=DIR [steps=2500] [out=street_patches.png]

DIR holds CamVid (Brostow, Fauqueur and Cipolla 2009): train/images, train/masks, test/images, test/masks and
classes.txt, a name a line; a mask's pixels are class numbers, and what is no class is not counted.

The classifier sees 61x61 pixels of the scene at half its size and says what the middle one shows. It is never trained
on patches, though: `dilate` turns it into a network that answers for every second pixel of a piece of the scene at
once, and the loss is taken on selected pixels, frequent classes being selected less often. Its weights are then the
classifier's, and `foveal.dense` slides the classifier over whole scenes of the test set.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data import drawing
from foveal.data.image import load_image
from foveal.data.pipeline import normalise
from foveal.errors import FovealError
from foveal.graph import convolutionalize, dilate
from foveal.inference import native_bfloat16
from foveal.training.device import Placement
from foveal.training.loop import fit
from foveal.types import Batch

NETWORK = """4-1Conv16 (BN, ReLU) → 2-2MaxPool → 4-1Conv32 (BN, ReLU) → 2-2MaxPool
          → 4-1Conv48 (BN, ReLU) → 2-2MaxPool → FC96 (BN, ReLU) → FC11"""
PATCH = 61
STRIDE = 2  # pixels between two answers, in training and test
PIECE, PIECES = 32, 8  # answers along the side of a piece of a scene, pieces in a batch
RATE, DECAY = 4e-3, 1e-3
IGNORED = 255
MEAN, STD = (0.41, 0.43, 0.43), (0.30, 0.31, 0.30)  # of the training scenes
COLOURS = {
    "sky": (128, 128, 128), "building": (128, 0, 0), "pole": (192, 192, 128), "road": (128, 64, 128),
    "pavement": (60, 40, 222), "tree": (128, 128, 0), "sign_symbol": (192, 128, 128), "fence": (64, 64, 128),
    "car": (64, 0, 128), "pedestrian": (64, 64, 0), "bicyclist": (0, 128, 192),
}  # fmt: skip


def main(
    data: str = "camvid",
    *,
    steps: int = 2500,
    scenes: int = 40,
    out: str = "street_patches.png",
    weights: str = "",
    seed: int = 0,
) -> float:
    """Train, measure on `scenes` test scenes, draw three of them: the share of their labelled pixels that is right.

    The trained weights are kept beside the picture; given as `weights`, they take the place of training.
    """
    root = Path(data)
    if not (root / "classes.txt").is_file():
        raise FovealError(f"{root} has no classes.txt", "give the folder of CamVid: data=DIR")
    classes = (root / "classes.txt").read_text(encoding="utf-8").split()
    torch.manual_seed(seed)
    classifier = foveal.build(NETWORK, input=(3, PATCH, PATCH))
    if weights:
        foveal.load_weights(classifier, weights)
    else:
        train(classifier, *read(root / "train", len(classes), largest=367), steps, seed)
        foveal.save_weights(classifier, Path(out).with_suffix(".safetensors"))
    classifier.eval()
    images, masks = read(root / "test", len(classes), largest=scenes)
    found = [label(classifier, image) for image in images]
    right = sum(int((labels == mask[::STRIDE, ::STRIDE]).sum()) for labels, mask in zip(found, masks, strict=True))
    accuracy = right / int((masks[:, ::STRIDE, ::STRIDE] != IGNORED).sum())
    print(f"{100 * accuracy:.1f} % of the labelled pixels of {len(images)} test scenes are right")
    chosen = [i * (len(images) - 1) // 2 for i in range(min(3, len(images)))]
    drawing.save(draw(classes, images[chosen], [found[i] for i in chosen], masks[chosen]), Path(out))
    print(f"scenes, their labels and the truth: {out}")
    return accuracy


def read(folder: Path, classes: int, largest: int) -> tuple[Tensor, Tensor]:
    """Scenes uint8 [N, 3, H, W] at half their size, and their masks uint8 [N, H, W], spread evenly over the folder."""
    files = sorted((folder / "images").iterdir())
    files = [files[i * len(files) // largest] for i in range(largest)] if len(files) > largest else files
    images, masks = [], []
    for file in files:
        scene = load_image(file, mode="RGB")
        images.append(F.avg_pool2d(scene.float(), 2).round().to(torch.uint8))
        mask = load_image(folder / "masks" / f"{file.stem}.png", mode="L")[0, ::2, ::2]
        masks.append(torch.where(mask < classes, mask, IGNORED))
    return torch.stack(images), torch.stack(masks)


def train(classifier: nn.Module, images: Tensor, masks: Tensor, steps: int, seed: int) -> None:
    """Train the classifier through its sparse form."""
    sparse = dilate(convolutionalize(classifier, input=(3, PATCH, PATCH)), STRIDE)
    optimizer = torch.optim.AdamW(sparse.parameters(), lr=RATE, weight_decay=DECAY)
    cpu = torch.device("cpu")
    dtype = torch.bfloat16 if native_bfloat16(cpu) else torch.float32
    updates = fit(
        sparse,
        pieces(images, masks, steps, seed),
        optimizer,
        losses=losses,
        prepare_batch=lambda batch: normalise(batch, MEAN, STD, channels_last=True),
        schedule=lambda step: RATE * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * step / steps)) / 2,
        precision=Placement(cpu, dtype, channels_last=True),
        seed=seed,
    )
    lately = 0.0
    for update in updates:
        lately += (update.loss - lately) / min(update.step, 50)
        if update.step % max(1, steps // 20) == 0:
            print(f"update {update.step} of {steps}: loss {lately:.3f}", flush=True)
    classifier.load_state_dict(sparse.state_dict())


def losses(model: nn.Module, scenes: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Cross-entropy over the selected pixels alone: the others send no error back."""
    return {"cross_entropy": F.cross_entropy(model(scenes).float(), labels.long(), ignore_index=IGNORED)}


def pieces(images: Tensor, masks: Tensor, steps: int, seed: int) -> Iterator[Batch]:
    """Batches of random pieces, mirrored half of the time, with labels for every second pixel of their middle."""
    random = np.random.default_rng(seed)
    chance = selection(masks)
    half, side = PATCH // 2, (PIECE - 1) * STRIDE + PATCH
    filled = (torch.tensor(MEAN) * 255).round().to(torch.uint8)[:, None, None]
    filled = filled.repeat(len(images), 1, images.shape[2] + 2 * half, images.shape[3] + 2 * half)
    filled[:, :, half:-half, half:-half] = images
    rows, columns = (n - (PIECE - 1) * STRIDE for n in masks.shape[1:])
    for _ in range(steps):
        batch, labels, indices = [], [], random.integers(len(images), size=PIECES)
        for i in indices.tolist():
            y, x = int(random.integers(rows)), int(random.integers(columns))
            middle = (slice(y, y + PIECE * STRIDE, STRIDE), slice(x, x + PIECE * STRIDE, STRIDE))
            selected = torch.from_numpy(random.random((PIECE, PIECE))) < chance[masks[i][middle].long()]
            piece, label = filled[i, :, y : y + side, x : x + side], torch.where(selected, masks[i][middle], IGNORED)
            mirrored = random.random() < 0.5
            batch.append(piece.flip(-1) if mirrored else piece)
            labels.append(label.flip(-1) if mirrored else label)
        yield Batch(torch.stack(batch), torch.stack(labels), torch.from_numpy(indices))


def selection(masks: Tensor) -> Tensor:
    """The chance [256] that a pixel is selected, by its class: one for rare classes, less for frequent ones."""
    counts = torch.bincount(masks.flatten().long(), minlength=256).double()
    counts[IGNORED] = 0
    median = counts[counts > 0].median()
    return torch.where(counts > 0, (median / counts.clamp_min(1)).sqrt().clamp_max(1), 0.0)


def label(classifier: nn.Module, image: Tensor) -> Tensor:
    """The class of every second pixel of a scene, int64 [H/2, W/2]."""
    scene = normalise(image[None], MEAN, STD)[0]
    return foveal.dense(classifier, scene, STRIDE, input=(3, PATCH, PATCH), channels_last=True).argmax(0)


def draw(classes: list[str], images: Tensor, found: list[Tensor], masks: Tensor) -> Image.Image:
    """A row for each scene: as it is, under the found labels' colours, and under the true ones; and a legend."""
    height, width = masks.shape[1:]
    gap, line, columns = 6, 20, 6
    lines = -(-len(classes) // columns)
    bottom = (height + gap) * len(images)
    sheet = Image.new("RGB", (3 * width + 2 * gap, bottom + lines * line), drawing.PAPER)
    for row, (image, labels, mask) in enumerate(zip(images, found, masks, strict=True)):
        fine = labels.repeat_interleave(STRIDE, 0).repeat_interleave(STRIDE, 1)[:height, :width]
        pictures = (image, coloured(classes, image, fine), coloured(classes, image, mask.long()))
        for column, picture in enumerate(pictures):
            tile = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
            sheet.paste(tile, (column * (width + gap), row * (height + gap)))
    shades = sheet.crop((0, 0, sheet.width, bottom)).quantize(150).getpalette() or []
    brush = ImageDraw.Draw(sheet)
    for i, name in enumerate(classes):
        x = i % columns * (sheet.width // columns)
        y = bottom + i // columns * line
        brush.rectangle((x, y + 3, x + 12, y + 15), fill=COLOURS[name])
        drawing.text(brush, (x + 18, y + 2), name, sheet.width // columns - 22, 12)
    few = Image.new("P", (1, 1))  # few colours make a small file: those of the scenes, of the legend, and greys
    few.putpalette(
        [
            *shades[: 3 * 150],
            *(c for name in classes for c in COLOURS[name]),
            *(g for g in range(32, 256, 16) for _ in "rgb"),
        ]
    )
    return sheet.quantize(palette=few, dither=Image.Dither.NONE)


def coloured(classes: list[str], image: Tensor, labels: Tensor) -> Tensor:
    """The scene in grey under the colours of its labels; pixels without a class stay grey."""
    palette = torch.zeros(256, 3)
    palette[: len(classes)] = torch.tensor([COLOURS[name] for name in classes], dtype=torch.float32)
    grey = image.float().mean(0, keepdim=True).expand(3, -1, -1)
    mixed = 0.3 * grey + 0.7 * palette[labels].permute(2, 0, 1)
    return torch.where(labels == IGNORED, grey, mixed).round().to(torch.uint8)


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
