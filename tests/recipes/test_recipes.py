"""Every recipe names things that exist and fit one another, and says how it is run."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch

from foveal import catalog
from foveal.data.pipeline import Pipeline
from foveal.data.transforms import parse_transforms
from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.models import create
from foveal.recipes import resolve

RECIPES = catalog.names("recipe")


@pytest.mark.parametrize("name", RECIPES)
def test_the_network_takes_the_recipes_input(name: str) -> None:
    recipe = resolve(name)
    with torch.device("meta"):
        model = create(recipe.model, **recipe.options)
    if recipe.model == "resnet1202":
        return
    if recipe.task == "detect":
        assert shapes(model.backbone, getattr(model, "backbone_input", recipe.input))
        return
    output = shapes(model, recipe.input)[-1].output
    assert output[0] == catalog.facts(recipe.model).num_classes
    assert output[1:] == (recipe.input[1:] if recipe.task == "segment" else ())


@pytest.mark.parametrize("name", RECIPES)
def test_transforms_are_known(name: str) -> None:
    recipe = resolve(name)
    for steps in (recipe.prepare, recipe.augment, recipe.test):
        assert len(parse_transforms(steps)) == len(steps)


@pytest.mark.parametrize("name", RECIPES)
def test_quick_is_the_same_run_but_short(name: str) -> None:
    long, short = resolve(name), resolve(name, quick=True)
    assert short.length < long.length
    kept = set(type(long).model_fields) - {
        "unit",
        "length",
        "batch_size",
        "milestones",
        "evaluate_every",
        "warmup",
        "warmup_lr",
        "warmup_shape",
    }
    assert all(getattr(long, key) == getattr(short, key) for key in kept)


def test_a_smoke_test_on_imagenet_is_no_epoch() -> None:
    short = resolve("resnet50_imagenet", quick=True)
    assert (short.unit, short.length, short.evaluate_every) == ("iterations", 20, 20)


@pytest.mark.parametrize("name", RECIPES)
def test_the_docstring_holds_the_command(name: str) -> None:
    text = inspect.getdoc(catalog.get("recipe", name)) or ""
    command = "foveal train resnet18" if name == "house" else f"foveal train {name}"
    assert f"Command: {command}" in text


def test_the_paper_of_the_cifar_networks() -> None:
    """Section 4.2 of He et al. 2016."""
    recipe = resolve("resnet56_cifar10")
    assert (recipe.unit, recipe.length, recipe.milestones, recipe.gamma) == (
        "iterations",
        64_000,
        (32_000, 48_000),
        0.1,
    )
    assert (recipe.batch_size, recipe.lr, recipe.momentum, recipe.weight_decay) == (128, 0.1, 0.9, 1e-4)
    assert recipe.augment == ("pad_crop(4)", "flip")
    assert resolve("resnet110_cifar10").warmup_lr == 0.01


def test_alexnets_paper() -> None:
    """Section 5 of Krizhevsky et al. 2012."""
    recipe = resolve("alexnet_imagenet")
    assert (recipe.batch_size, recipe.lr, recipe.momentum, recipe.weight_decay) == (128, 0.01, 0.9, 0.0005)
    assert recipe.length == 90


def test_vggs_and_resnets_papers() -> None:
    vgg, resnet = resolve("vgg16_imagenet"), resolve("resnet50_imagenet")
    assert (vgg.batch_size, vgg.lr, vgg.momentum, vgg.weight_decay, vgg.length) == (256, 0.01, 0.9, 0.0005, 74)
    assert (resnet.batch_size, resnet.lr, resnet.momentum, resnet.weight_decay) == (256, 0.1, 0.9, 0.0001)
    assert "scale_jitter(256, 512)" in vgg.augment
    assert "scale_jitter(256, 480)" in resnet.augment
    assert resnet.options == {"version": "1"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("densenet_bc100_cifar10", {"batch_size": 64, "length": 300, "milestones": (150, 225), "nesterov": True}),
        ("densenet201_imagenet", {"batch_size": 256, "length": 90, "milestones": (30, 60), "weight_decay": 1e-4}),
        ("preact_resnet1001_cifar100", {"length": 64_000, "milestones": (32_000, 48_000), "warmup": 400}),
        ("msdnet_cifar10", {"batch_size": 64, "length": 300, "holdout": 0.1, "lr": 0.1}),
        ("nin_cifar10", {"batch_size": 128, "schedule": "plateau", "augment": ("pad_crop(4)", "flip")}),
        ("fabric_cifar10", {"momentum": 0.9, "weight_decay": 1e-4}),
        ("overfeat_accurate_imagenet", {"momentum": 0.6, "gamma": 0.5, "milestones": (30, 50, 60, 70, 80), "lr": 0.05}),
        ("zfnet_imagenet", {"length": 70, "batch_size": 128, "mean_image": True, "lr": 0.01}),
        ("cnn_m_imagenet", {"batch_size": 128, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "plateau"}),
        ("googlenet_imagenet", {"options": {"aux": True}, "momentum": 0.9, "schedule": "exponential"}),
    ],
)
def test_the_other_papers(name: str, settings: dict[str, object]) -> None:
    recipe = resolve(name)
    assert {key: getattr(recipe, key) for key in settings} == settings


def test_googlenets_rate_falls_by_four_per_cent_in_eight_epochs() -> None:
    assert resolve("googlenet_imagenet").gamma ** 8 == pytest.approx(0.96)


@pytest.mark.parametrize("name", ["nin", "densenet40", "msdnet", "fabric"])
def test_a_short_recipe_trains_the_network_of_the_long_one_for_whole_epochs(name: str) -> None:
    long, short = resolve(f"{name}_cifar10"), resolve(f"{name}_cifar10_fast")
    assert (short.model, short.augment, short.unit) == (long.model, long.augment, "iterations")
    assert short.evaluate_every == 50_000 // short.batch_size
    assert short.length % short.evaluate_every == 0


def test_fine_tuning_is_the_house_recipe_from_other_weights() -> None:
    plain = resolve("vgg11", input=(1, 48, 48))
    for name, transfer in (("", "auto"), ("_small", "small"), ("_medium", "medium"), ("_large", "large")):
        tuned = resolve(f"fine_tune{name}", model="vgg11", input=(1, 48, 48), weights="runs/vgg11-1", data="./photos")
        assert (tuned.transfer, tuned.weights, tuned.model, tuned.length) == (transfer, "runs/vgg11-1", "vgg11", 20)
        assert (tuned.prepare, tuned.augment, tuned.mean, tuned.lr) == (
            plain.prepare,
            plain.augment,
            plain.mean,
            plain.lr,
        )
    assert resolve("fine_tune").weights == "imagenet"
    with pytest.raises(FovealError, match="decides about freeze"):
        resolve("fine_tune_small", freeze="conv1")


def test_cnn_s_is_tuned_to_voc_by_either_hinge() -> None:
    for name, loss in (("cnn_s_voc2007", "hinge"), ("cnn_s_voc2007_ranking", "ranking")):
        recipe = resolve(name)
        assert (recipe.task, recipe.loss, recipe.model) == ("tag", loss, "cnn_s")
        assert recipe.lr * recipe.head_lr == pytest.approx(0.01)


def test_a_network_stands_for_the_house_recipe() -> None:
    recipe = resolve("vgg11", data="./photos", lr="0.02")
    assert (recipe.model, recipe.data, recipe.lr, recipe.input) == ("vgg11", "./photos", 0.02, (3, 224, 224))
    assert resolve("lenet5").input == (1, 32, 32)


@pytest.mark.parametrize(
    ("input", "prepare", "augment", "test"),
    [
        (("3", "96", "96"), (), "random_resized_crop(96)", ("resize(110)",)),
        ((1, 96, 128), (), "random_resized_crop((96, 128))", ("resize(146)",)),
        ((1, 32, 48), ("resize_exact(32, 48)",), "pad_crop(4)", ()),
    ],
)
def test_the_house_recipe_follows_the_input(
    input: tuple[int | str, ...], prepare: tuple[str, ...], augment: str, test: tuple[str, ...]
) -> None:
    for recipe in (resolve("resnet18", input=input), resolve("house", input=input)):
        assert recipe.input == tuple(map(int, input))
        assert (recipe.prepare, recipe.augment[0], recipe.test) == (prepare, augment, test)
        assert len(recipe.mean) == recipe.input[0]
        images = torch.zeros(1, 3, 150, 300, dtype=torch.uint8)
        pipeline = Pipeline(recipe.prepare, recipe.augment, recipe.input, 0, recipe.test)
        seen = pipeline.augment(pipeline.prepare_batch(images, train=True), torch.tensor([0]), 0)
        assert seen.shape[1:] == pipeline.centre(pipeline.prepare_batch(images)).shape[1:] == recipe.input
    assert resolve("house", model="lenet5", lr=0.1).input == (1, 32, 32)


def test_a_path_with_a_colon_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "C:photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FovealError, match="neither a recipe nor a network"):
        resolve("C:photos")


def test_a_function_of_ones_own_is_a_recipe_or_a_network() -> None:
    assert resolve("foveal.recipes.lenet5:lenet5_mnist").name == "lenet5_mnist"
    assert resolve("torchvision.models:resnet18", data="x").model == "torchvision.models:resnet18"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lenet5_mnits", {}, "did you mean lenet5_mnist"),
        ("resnet19", {}, "did you mean resnet1"),
        ("lenet5_mnist", {"learning_rat": 1}, "unknown setting 'learning_rat'"),
        ("lenet5_mnist", {"batchsize": 1}, "did you mean batch_size"),
        ("lenet5_mnist", {"lr": "fast"}, "setting lr=fast is not a number above 0"),
        ("lenet5_mnist", {"schedule": "cosin"}, "schedule"),
        ("lenet5_mnist", {"mean": (0.1, 0.2)}, "2 values for 1 channels"),
        ("lenet5_mnist", {"batch_size": 100, "accumulate": 3}, "accumulate=3"),
        ("no.such.module:net", {"data": "x"}, "cannot import"),
    ],
)
def test_mistakes_are_named(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        resolve(name, **settings)
