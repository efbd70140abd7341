"""Mask R-CNN on real instances by the house recipe: the cars of CamVid's streets, each connected part one object."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from foveal.data.outlines import bounds, encoded
from foveal.evaluation import evaluate
from foveal.recipes import resolve
from foveal.training.train import train

CAR, LEAST = 8, 150  # its number in the masks, and pixels


def cars(source: Path, target: Path, count: int) -> Path:
    """Every connected part of the cars' pixels as an object with its run lengths, of images with the most of them."""
    for split in ("train", "test"):
        folder = target / "images" / split
        folder.mkdir(parents=True)
        found = []
        for file in sorted((source / split / "masks").iterdir())[::4]:
            parts, number = ndimage.label(np.array(Image.open(file)) == CAR)
            masks = [torch.from_numpy(parts == n) for n in range(1, number + 1)]
            found.append((file.stem, [mask for mask in masks if int(mask.sum()) >= LEAST]))
        chosen = sorted(found, key=lambda pair: -len(pair[1]))[:count]
        pictures, objects = [], []
        for n, (stem, masks) in enumerate(chosen, 1):
            (picture,) = (source / split / "images").glob(f"{stem}.*")
            shutil.copyfile(picture, folder / picture.name)
            height, width = masks[0].shape
            pictures.append({"id": n, "file_name": picture.name, "width": width, "height": height})
            for mask in masks:
                runs = encoded(mask, height, width)
                left, top, right, bottom = bounds(runs)
                row = {"id": len(objects) + 1, "image_id": n, "category_id": 1, "area": runs.area, "iscrowd": 0}
                objects.append(row | {"bbox": [left, top, right - left, bottom - top], "segmentation": runs.as_json()})
        data = {"images": pictures, "annotations": objects, "categories": [{"id": 1, "name": "car"}]}
        (target / "annotations").mkdir(exist_ok=True)
        (target / f"annotations/instances_{split}.json").write_text(json.dumps(data))
    return target


@pytest.mark.slow
def test_mask_rcnn_learns_the_cars_of_camvid(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    data = cars(real_data("camvid"), tmp_path / "cars", 16)
    recipe = resolve("mask_rcnn", input=(3, 192, 256), data=str(data)).with_settings(
        options={
            "encoder": "resnet18", "width": 16, "maps": 32, "hidden": 128, "proposals": 100,
            "sizes": (12, 24, 48, 96, 160),
        },
        batch_size=4, length=8, evaluate_every=8, log_every=1, holdout=0.0, lr=0.002,
    )  # fmt: skip
    run = train(recipe, out=tmp_path / "run")
    steps = run.steps()
    for term in ("loss", "masks"):
        values = [float(row[term]) for row in steps]  # type: ignore[arg-type]
        assert np.mean(values[-5:]) < 0.7 * np.mean(values[:5]), term
    assert {"mask_ap", "mask_ap50", "mask_ap75"} <= set(evaluate(run).metrics)
