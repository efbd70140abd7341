"""The recipes of detectors: the papers' settings, and the house recipe for anybody's boxes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foveal.data.formats import voc as voc_format
from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline
from foveal.recipes import resolve


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ssd300_voc", {"lr": 1e-3, "batch_size": 32, "milestones": (80_000, 100_000), "weight_decay": 5e-4}),
        ("ssd512_voc", {"input": (3, 512, 512), "length": 120_000}),
        ("ssd300_coco", {"length": 240_000, "options": {"boxes": "coco"}, "milestones": (160_000, 200_000)}),
        ("fast_rcnn_voc", {"batch_size": 2, "lr": 1e-3, "length": 40_000, "milestones": (30_000,)}),
        ("rcnn_voc", {"lr": 1e-3, "length": 70_000, "gamma": 0.1, "options": {"boxes_layer": "pool5"}}),
        ("faster_rcnn_voc", {"batch_size": 1, "lr": 1e-3, "length": 80_000, "milestones": (60_000,)}),
        ("faster_rcnn_fpn_coco", {"batch_size": 16, "lr": 0.02, "length": 80_000, "weight_decay": 1e-4}),
        ("mask_rcnn_coco", {"batch_size": 16, "lr": 0.02, "length": 160_000, "milestones": (120_000,)}),
        ("keypoint_rcnn_coco", {"lr": 0.02, "length": 90_000, "milestones": (60_000, 80_000)}),
    ],
)
def test_the_papers(name: str, settings: dict[str, object]) -> None:
    recipe = resolve(name)
    assert recipe.task == "detect"
    assert {key: getattr(recipe, key) for key in settings} == settings


@pytest.mark.parametrize("input", [(3, 64, 64), (1, 48, 80)])
def test_the_house_recipe_takes_images_of_any_size(tmp_path: Path, input: tuple[int, int, int]) -> None:
    voc_format.example(tmp_path)
    recipe = resolve("ssd_resnet", input=input, data="./photos")
    assert (recipe.task, recipe.data, recipe.input) == ("detect", "./photos", input)
    images = open_data(tmp_path, "train", task="detect")
    pipeline = Pipeline(recipe.prepare, recipe.augment, recipe.input, 0, recipe.test)
    with Loader(images, pipeline, 4, seed=0, train=True, workers=0) as loader:
        batch = next(iter(loader.batches(0)))
    assert batch.images.shape == (4, *input) and len(batch.targets) == 4
    limits = torch.tensor([input[2], input[1]] * 2)
    for target in batch.targets:
        assert (target["boxes"] >= 0).all() and (target["boxes"] <= limits).all()
        assert len(target["boxes"]) == len(target["labels"])
