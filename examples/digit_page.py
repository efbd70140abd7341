"""A digit classifier reads a whole page: its answer at every pixel, drawn over the page.

    python examples/digit_page.py [data=digits] [out=digit_page.png]

Pages are made of real digits; `data` is anything with ten classes that foveal reads, by default the digits that come
with scikit-learn. LeNet-5 is trained on windows of pages of training digits: those around a digit have its class, those
between digits are «background», an eleventh class without which it would find a digit everywhere. A page of held-out
digits is then read by `foveal dense`, one pass in place of a window around each pixel.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

import foveal
from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data.dataset import ArraySet, ImageSet
from foveal.data.formats import idx
from foveal.recipes import resolve
from foveal.report.dense_map import dense_map

WINDOW, DIGIT, CELL = 32, 24, 40  # pixels: what the network sees, a digit, the place that it has on a page
NEAR, FAR = 4, 10  # windows whose middle is so near to a digit's show it, those so far from all show none


@dataclass(frozen=True)
class Page:
    """A grey page uint8 [1, H, W], dark on white, with the middle (row, column) and the class of each of its digits."""

    pixels: Tensor
    middles: Tensor
    labels: Tensor


def main(*, data: str = "digits", out: str = "digit_page.png", length: int = 6, seed: int = 0) -> float:
    """Train, read a page of held-out digits, draw the map: the share of its digits that are right at their middle."""
    random = np.random.default_rng(seed)
    train, test = (foveal.open_data(data, split) for split in ("train", "test"))
    page = compose(test, random, rows=6, columns=12)
    with TemporaryDirectory() as folder:
        sets = {"train": windows(train, random, pages=4), "test": windows(test, random, pages=1)}
        idx.write(sets, Path(folder) / "windows")
        recipe = resolve("lenet5_digits", data=f"{folder}/windows", prepare=(), augment=(), length=length, seed=seed)
        run, _ = foveal.train(recipe, out=f"{folder}/run")
        picture = Path(folder) / "page.png"
        Image.fromarray(page.pixels[0].numpy()).save(picture)
        found = dense_map(run, picture)
    found.save(out)
    right = found.labels[page.middles[:, 0], page.middles[:, 1]] == page.labels
    print(f"{int(right.sum())} of {len(right)} digits of the page are right at their middle; {out}")
    return float(right.double().mean())


def compose(digits: ImageSet, random: np.random.Generator, rows: int, columns: int) -> Page:
    """A page of random digits, each somewhere in its place."""
    pixels = torch.zeros(1, rows * CELL, columns * CELL, dtype=torch.uint8)
    chosen = random.choice(len(digits), rows * columns, replace=False)
    middles = []
    for place, i in enumerate(chosen.tolist()):
        image = functional.resize(digits.load(i)[:1], [DIGIT, DIGIT], antialias=True)
        y, x = (int(n) for n in random.integers(2, CELL - DIGIT - 1, 2) + CELL * np.array(divmod(place, columns)))
        pixels[:, y : y + DIGIT, x : x + DIGIT] = image
        middles.append((y + DIGIT // 2, x + DIGIT // 2))
    return Page(255 - pixels, torch.tensor(middles), digits.labels[torch.from_numpy(chosen)])


def windows(digits: ImageSet, random: np.random.Generator, pages: int) -> ArraySet:
    """Windows of pages that hold nearly all digits each: one around every digit, and as many between them."""
    images, labels = [], []
    for _ in range(pages):
        page = compose(digits, random, len(digits) // 20, 20)
        near = page.middles + torch.from_numpy(random.integers(-NEAR, NEAR + 1, (len(page.labels), 2)))
        tried = torch.from_numpy(random.integers(0, page.pixels.shape[1:], (6 * len(near), 2)))
        apart = torch.cdist(tried.float(), page.middles.float(), p=torch.inf).amin(1)
        far = tried[apart >= FAR][: len(near)]
        filled = F.pad(page.pixels[0], (WINDOW // 2,) * 4, value=128)  # grey around the page, as in `foveal dense`
        cut = filled.unfold(0, WINDOW, 1).unfold(1, WINDOW, 1)  # [H + 1, W + 1, 32, 32]
        places = torch.cat((near, far))
        images.append(cut[places[:, 0], places[:, 1]][:, None])
        labels += [page.labels, torch.full((len(far),), len(digits.classes))]
    classes = (*digits.classes, "background")
    return ArraySet(torch.cat(images), torch.cat(labels), classes, digits.split, "windows")


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
