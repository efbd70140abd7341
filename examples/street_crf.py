"""A fully connected CRF behind a network that labels street scenes: figures before and after, and pictures.

    foveal train unet_camvid_fast data=DIR out=runs/streets
    python examples/street_crf.py run=runs/streets [out=street_crf.png]

The CRF's bilateral weight and colour deviation are chosen on every fourth validation image; the test images, which had
no part in that, are measured once. Figures and pictures are at the images' own size.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from foveal import catalog
from foveal.cli.settings import parse_options
from foveal.data import drawing
from foveal.evaluation.splits import open_split
from foveal.layers.crf import DenseCRF
from foveal.protocols.crf import crf
from foveal.protocols.whole_image import whole_image
from foveal.training.run import Run
from foveal.training.segmenter import Segmenter

WEIGHTS, COLOURS = (2.0, 5.0), (5.0, 13.0)
BOUNDARY = 0.0075  # of an image's diagonal
CELL, CAPTION = 240, 18  # pixels


def main(*, run: str, every: int = 4, iterations: int = 5, scenes: int = 2, out: str = "street_crf.png") -> float:
    """Choose, measure, draw: the points of mean IU that the CRF adds on the test images."""
    trained = Run(run)
    segmenter, val = trained.segmenter(), open_split(trained, "val")
    chosen = val.select(range(0, len(val), every))
    measure: Any = partial(crf, segmenter, iterations=iterations)
    tried = {
        (weight, colour): float(dict(measure(chosen, weight_bilateral=weight, colour=colour))["mean_iu"])
        for weight in WEIGHTS
        for colour in COLOURS
    }
    for (weight, colour), found in tried.items():
        print(f"weight {weight:g}, colour {colour:g}: {found:.2f} % mean IU on {len(chosen)} validation images")
    weight, colour = max(tried, key=lambda pair: tried[pair])
    test = open_split(trained, "test")
    before = dict(whole_image(segmenter, test, boundary=BOUNDARY))
    after = dict(measure(test, weight_bilateral=weight, colour=colour, boundary=BOUNDARY))
    for name, values in (("network", before), ("with the CRF", after)):
        print(f"{name}: {values['mean_iu']:.2f} % mean IU, {values['boundary_f1']:.2f} % boundary F1")
    field = DenseCRF(len(segmenter.classes), iterations=iterations, weight_bilateral=weight, colour=colour)
    gains = (torch.as_tensor(after["image_iu"]) - torch.as_tensor(before["image_iu"])).tolist()
    order = sorted(range(len(gains)), key=lambda i: -gains[i])
    places = [order[len(order) // 10], order[len(order) // 2]][:scenes]  # one that gains, one as most do
    drawing.save(draw([look(segmenter, field, test[i]) for i in places], len(segmenter.classes)), Path(out))
    print(f"scenes: {out}")
    return float(after["mean_iu"]) - float(before["mean_iu"])


@torch.inference_mode()
def look(segmenter: Segmenter, field: DenseCRF, sample: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
    """A scene, uint8 [3, H, W], and masks of it, uint8 [H, W]."""
    image, truth = sample
    found = segmenter.probabilities(image)
    refined = field(found.clamp(min=1e-20).log()[None], image[None].float())[0]
    return {
        "picture": image,
        "truth": truth.as_subclass(Tensor),
        "network": found.argmax(0).to(torch.uint8),
        "with the CRF": refined.argmax(0).to(torch.uint8),
    }


def draw(rows: Sequence[Mapping[str, Tensor]], classes: int) -> Image.Image:
    """A row for each scene, its classes in colours."""
    sheet = Image.new("RGB", (len(rows[0]) * CELL, CAPTION + len(rows) * CELL * 3 // 4), drawing.PAPER)
    pencil = ImageDraw.Draw(sheet)
    for row, views in enumerate(rows):
        for column, (title, view) in enumerate(views.items()):
            pixels = view if view.ndim == 3 else drawing.veiled(views["picture"], view, classes, 1.0)
            drawing.paste(sheet, (column * CELL, CAPTION - CELL // 8 + row * CELL * 3 // 4), pixels, CELL)
            drawing.text(pencil, (column * CELL + 2, 1), title, CELL, 12)
    return sheet


if __name__ == "__main__":
    options = parse_options(sys.argv[1:])
    catalog.check_options(main, options)
    main(**options)
