"""The recipes of networks for segmentation: the papers' settings, and the house recipe for anybody's masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foveal.data.formats import masks as masks_format
from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.recipes import resolve
from foveal.training.train import train


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fcn32s_voc", {"lr": 1e-4, "batch_size": 20, "momentum": 0.9, "weight_decay": 5e-4, "length": 175}),
        ("fcn8s_voc", {"lr": 1e-6, "schedule": "constant"}),
        ("segnet_camvid", {"lr": 0.1, "momentum": 0.9, "batch_size": 12, "class_weights": "median_frequency"}),
        ("tiramisu103_camvid", {"optimizer": "rmsprop", "lr": 1e-3, "gamma": 0.995, "batch_size": 3}),
        ("tiramisu103_camvid_whole", {"lr": 1e-4, "input": (3, 360, 480), "weight_decay": 1e-4}),
        ("frrn_b_cityscapes", {"input": (3, 512, 1024), "batch_size": 3, "lr": 1e-3}),
        ("gridnet_cityscapes", {"input": (3, 400, 400), "batch_size": 4, "lr": 0.01}),
        ("dilated_voc", {"batch_size": 14, "lr": 1e-3, "length": 60_000, "options": {"context": "none"}}),
    ],
)
def test_the_papers(name: str, settings: dict[str, object]) -> None:
    recipe = resolve(name)
    assert recipe.task == "segment"
    assert {key: getattr(recipe, key) for key in settings} == settings


def test_the_house_recipe_knows_what_a_network_is_for() -> None:
    recipe = resolve("unet", data="./scenes", lr="0.002")
    assert (recipe.task, recipe.input, recipe.lr, recipe.options) == (
        "segment",
        (3, 256, 256),
        0.002,
        {"batch_norm": True},
    )
    assert recipe.class_weights == "median_frequency"
    assert resolve("pspnet").class_weights == "none", "it has an objective of its own"
    assert resolve("label_map", input=(3, 64, 96)).options == {"input": (3, 64, 96)}
    assert resolve("unet", input=("1", "64", "96")).options == {"batch_norm": True, "channels": 1}
    assert resolve("resnet18").task == "classify"
    own = resolve("foveal.models.segment.unet:unet", data="x", task="segment")
    assert own.task == "segment" and own.augment[0].startswith("random_view")


@pytest.mark.parametrize("input", [(3, 64, 64), (3, 48, 80)])
def test_its_steps_take_images_of_any_size(tmp_path: Path, input: tuple[int, int, int]) -> None:
    masks_format.example(tmp_path)
    recipe = resolve("unet", input=input)
    images = open_data(tmp_path, "train", task="segment")
    pipeline = Pipeline(recipe.prepare, recipe.augment, recipe.input, 0, recipe.test)
    with Loader(images, pipeline, 3, seed=0, train=True, workers=0) as loader:
        (batch,) = loader.batches(0)
    assert batch.images.shape == (3, *input) and batch.targets.shape == (3, *input[1:])
    assert torch.unique(batch.targets).tolist() in ([0, 1], [0, 1, 255])


def test_the_house_recipe_trains_on_a_folder(tmp_path: Path) -> None:
    masks_format.example(tmp_path / "scenes")
    small = {"input": (3, 32, 32), "options": {"width": 2}, "batch_size": 2, "precision": "float32"}
    recipe = resolve("unet", quick=True, data=str(tmp_path / "scenes"), **small)
    run = train(recipe, out=tmp_path / "run")
    assert run.finished and run.segmenter().labels(torch.zeros(3, 24, 32, dtype=torch.uint8)).shape == (24, 32)


def test_stages_refuse_to_begin_anew(tmp_path: Path) -> None:
    masks_format.example(tmp_path / "scenes")
    recipe = resolve("fcn16s_voc", data=str(tmp_path / "scenes"), quick=True, options={"encoder": "alexnet"})
    with pytest.raises(FovealError, match="partial is about weights"):
        train(recipe, out=tmp_path / "run")
