"""Detectors that look at every window or place: exact where they are dense, and boxes where the windows are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foveal.boxes.matching import BACKGROUND, IGNORED, match_places
from foveal.boxes.overlap import iou
from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.data.pipeline import Pipeline, normalise
from foveal.errors import FovealError
from foveal.models import create
from foveal.models.detect._windows import Windows, classifier
from foveal.models.detect.overfeat import Raw
from foveal.models.detect.sliding_window import LIGHT, SlidingWindow
from foveal.recipes import resolve
from foveal.training.transfer import plan
from foveal.weights import load_weights
from foveal.weights.files import Checkpoint

SCALES = (1.4, 1.0, 0.71, 0.5)
TINY = "5-2Conv8 (ReLU) → 2-2MaxPool → 3-1Conv12 (ReLU) → 2-2MaxPool → FC16 (ReLU)"
OVERFEATS = ("overfeat_localiser", "overfeat_detector")


def tiny(name: str, **options: Any) -> Any:
    fixed: dict[str, Any] = {"trunk": TINY, "side": 27, "scales": SCALES, "border": 4}
    if name in OVERFEATS:
        fixed |= {"hidden": (16, 8)}
    torch.manual_seed(0)
    return create(name, **{"num_classes": 3, **fixed, **options})


def places(model: Any, images: Tensor) -> list[tuple[Tensor, int, int]]:
    """The level and the start of each window, in the order of the network's answers."""
    found = []
    for level in model.windows(images):
        rows, columns = ((n - model.windows.side) // model.windows.stride[0] + 1 for n in level.shape[2:])
        found += [(level, 4 * i, 4 * j) for i in range(rows) for j in range(columns)]
    return found


def test_dense_is_window_by_window() -> None:
    chain, side = classifier(LIGHT, 27, 4)
    model = SlidingWindow(chain, side, 3, scales=SCALES, border=4, limits=tiny("sliding_window").limits).eval()
    images = torch.randn(2, 3, 64, 84)
    with torch.no_grad():
        answer = model(images)
        windows = places(model, images)
        alone = [chain.eval()(level[:, :, y : y + side, x : x + side]) for level, y, x in windows]
    assert answer.logits.shape == (2, len(windows), 4)
    torch.testing.assert_close(answer.logits, torch.stack(alone, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 84), (75, 61)])
def test_a_window_is_where_its_pixels_come_from(size: tuple[int, int]) -> None:
    """Where an image is bright in a window alone, that window's view is bright from edge to edge, and no wider."""
    model = tiny("sliding_window", border=0, scales=(2.0, 1.0, 0.5)).eval()
    images = torch.zeros(1, 3, *size)
    windows = model(images).windows
    assert len(windows) == len(places(model, images))
    for number in range(0, len(windows), 7):
        left, top, right, bottom = windows[number].tolist()
        y, x = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
        inside = ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
        level, row, column = places(model, inside.float().expand(1, 3, -1, -1))[number]
        bright = level[0, 0].clone()
        assert (bright[row + 1 : row + 26, column + 1 : column + 26] > 0.5).all()
        bright[max(0, row - 1) : row + 28, max(0, column - 1) : column + 28] = 0
        assert (bright < 0.5).all()


def test_edges_are_told_in_the_window() -> None:
    """A regressor that always says the same, half a window to the right of its window and half as high."""
    model = tiny("overfeat_detector").eval()
    nn.init.zeros_(model.regressor.fc3.weight)
    images = torch.randn(1, 3, 64, 84)
    with torch.no_grad():
        boxes = model.decode(model(images))[0][0]
        torch.testing.assert_close(boxes, model(images).windows)  # what it begins with
        model.regressor.fc3.bias.copy_(torch.tensor((0.0, -0.5, 2.0, 0.5)))
        boxes, windows = model.decode(model(images))[0][0], model(images).windows
    middle, half = (windows[:, :2] + windows[:, 2:]) / 2, (windows[:, 2:] - windows[:, :2]) / 2
    near, far = torch.tensor((0.0, -0.5)), torch.tensor((2.0, 0.5))
    torch.testing.assert_close(boxes, torch.cat((middle + near * half, middle + far * half), 1))


@pytest.mark.parametrize("per_class", [False, True])
def test_squares_of_the_edges_are_learned(per_class: bool) -> None:
    """The loss is what `decode` leaves to be desired, in half windows."""
    model = tiny("overfeat_detector", per_class=per_class)
    images, box = torch.randn(1, 3, 64, 84), torch.tensor([[20.0, 14.0, 52.0, 44.0]])
    terms = model.losses(images, [{"boxes": box, "labels": torch.tensor([2])}])
    raw = model(images)
    boxes = model.decode(raw)[0][0]
    own = boxes[:, 2] if per_class else boxes
    half = (raw.windows[:, 2:] - raw.windows[:, :2]) / 2
    shows = iou(raw.windows, box) >= 0.5
    assert 1 < shows.sum() < 60
    wanted = ((own - box) / half.repeat(1, 2))[shows].square().sum(1).mean()
    torch.testing.assert_close(terms["boxes"], wanted)


def test_images_without_objects_are_learned_from_with_others_only() -> None:
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for name in ("sliding_window", *OVERFEATS):
        terms = tiny(name).losses(torch.randn(2, 3, 64, 84), [none, none])
        assert all(float(term.detach()) == 0 for term in terms.values())


def told(boxes: list[list[float]], scores: list[list[float]], scales: list[int]) -> Raw:
    windows, probabilities = torch.tensor(boxes), torch.tensor([scores])
    edges = torch.tensor([-1.0, -1.0, 1.0, 1.0]).expand(1, len(boxes), 1, 4)
    return Raw(probabilities.log(), edges, windows, torch.tensor(scales))


def test_boxes_that_agree_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("overfeat_localiser", classes=1, score=0.1)
    boxes = [[10.0, 10, 30, 30], [12.0, 10, 32, 30], [11.0, 13, 31, 33], [50.0, 40, 70, 60]]
    # In scale 0 class 1 is the surest, in scale 1 class 2; class 0 is nowhere, and class 1 in scale 1 is passed over
    scores = [[0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.1, 0.4, 0.5], [0.05, 0.05, 0.9]]
    monkeypatch.setattr(model, "forward", lambda images: told(boxes, scores, [0, 0, 1, 1]))
    found = model.detect(torch.zeros(1, 3, 64, 84))[0]
    assert found["labels"].tolist() == [1, 2, 2]
    sums = torch.tensor([1.4, 0.9, 0.5])
    torch.testing.assert_close(found["scores"], sums / (1 + sums))
    torch.testing.assert_close(found["boxes"], torch.tensor([[11.0, 10, 31, 30], boxes[3], boxes[2]]))
    fixed = model.fixed(torch.zeros(1, 3, 64, 84))
    assert fixed["labels"][0, :3].tolist() == [1, 2, 2] and not fixed["scores"][0, 3:].any()
    assert all(torch.equal(fixed[name][0, :3], found[name]) for name in ("boxes", "scores"))
    model.joining = "suppress"
    assert model.detect(torch.zeros(1, 3, 64, 84))[0]["scores"].tolist() == pytest.approx([0.9, 0.8, 0.5])


def test_the_regressor_alone_learns_on_a_classifier() -> None:
    """The published way: the weights of a classifier, under their own names, and all of them frozen."""
    recipe = resolve("overfeat_localisation_imagenet")
    assert (recipe.freeze, recipe.partial) == ("classifier", True)
    chain, _ = classifier(TINY, 27, 3)
    model = tiny("overfeat_localiser")
    matching = load_weights(model, Checkpoint("classifier", chain.state_dict()), partial=True)
    assert {pair.model.partition(".")[0] for pair in matching.pairs} == {"backbone", "classifier"}
    assert all(name.startswith("regressor.") for name in matching.missing)
    torch.testing.assert_close(model.backbone.conv1.weight, chain.get_submodule("conv1").weight)
    learning = plan(recipe.with_settings(weights="classifier"), model, 100, 3)
    assert set(learning.factors) == {name for name, _ in model.named_parameters() if name.startswith("regressor.")}


def test_places_in_the_middle_of_an_object_are_its() -> None:
    y, x = torch.meshgrid(torch.arange(8.0, 64, 16), torch.arange(8.0, 64, 16), indexing="ij")
    references = torch.stack((x - 32, y - 32, x + 32, y + 32), -1).view(-1, 4)
    large, small, tiny_ = [0.0, 0, 64, 64], [16.0, 16, 32, 32], [33.0, 1, 38, 6]
    found = match_places(torch.tensor([large, small, tiny_]), references).view(4, 4)
    assert found.tolist() == [
        [IGNORED, IGNORED, 2, IGNORED],
        [IGNORED, 1, 0, IGNORED],
        [IGNORED, 0, 0, IGNORED],
        [IGNORED] * 4,
    ]
    assert (match_places(torch.tensor([small]), references) == BACKGROUND).sum() == 15
    assert (match_places(torch.zeros(0, 4), references) == BACKGROUND).all()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sliding_window", {"scales": (0.5, 1.0)}, "falling numbers"),
        ("sliding_window", {"scales": (1.0, 0.4)}, "at least half of the one before"),
        ("sliding_window", {"scales": (0.4,)}, "at least half"),
        ("sliding_window", {"scales": ()}, "shares of the image's size"),
        ("sliding_window", {"border": 27}, "less than a window"),
        ("sliding_window", {"side": 0}, "their side in pixels"),
        ("sliding_window", {"side": 8}, "is too small|smaller|larger"),
        ("sliding_window", {"trunk": "5-2Conv8 → FC"}, "FC"),
        ("sliding_window", {"trunk": "ssd300", "side": 0}, "no chain of layers"),
        ("sliding_window", {"trunk": "alexnet", "side": 64}, "give side=0"),
        ("overfeat_detector", {"joining": "mix"}, "joining"),
        ("overfeat_detector", {"hidden": (8,)}, "two layers' units"),
        ("overfeat_localiser", {"classes": 0}, "a class or more"),
        ("fcn_detector", {"step": 3}, "a step of 1 or 2"),
        ("fcn_detector", {"filters": ()}, "maps of each block"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with torch.device("meta"), pytest.raises(FovealError, match=said):
        create(name, **options) if name == "fcn_detector" else tiny(name, **options)


def test_an_image_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(FovealError, match=r"at scale 0\.71 images of 32x84 are smaller than a window of 27 pixels"):
        tiny("sliding_window", border=0)(torch.zeros(1, 3, 32, 84))
    with pytest.raises(FovealError, match="less than a window"):
        Windows((1.0,), 10, (4, 4), 10)


@pytest.mark.parametrize("recipe", ["sliding_window_bccd_fast", "overfeat_bccd_fast", "fcn_detector_bccd_fast"])
def test_losses_fall_on_blood_cells(recipe: str, real_data: Callable[[str], Path]) -> None:
    settings = resolve(recipe)
    images = open_data(real_data("bccd"), "train", task="detect").select(torch.tensor([0, 1, 2]))
    pipeline = Pipeline(settings.prepare, (), settings.input, 0, settings.test)
    with Loader(images, pipeline, 3, seed=0, train=False, workers=0) as loader:
        batch = next(iter(loader.batches(0)))
    torch.manual_seed(0)
    model: Any = create(settings.model, num_classes=len(images.classes), **settings.options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    seen, values = normalise(batch.images, settings.mean, settings.std), []
    for _ in range(12):
        loss = torch.stack(list(model.losses(seen, batch.targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0], values
