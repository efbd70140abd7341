"""R-CNN and Fast R-CNN: what is said of a window, step by step, and what is fitted, against scikit-learn."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import Tensor

from foveal.boxes.coding import RCNN_WEIGHTS, decode, encode
from foveal.boxes.overlap import iou
from foveal.boxes.warping import warped
from foveal.contracts import check_model
from foveal.data.open import open_data
from foveal.errors import FovealError
from foveal.experiment import train
from foveal.models import create
from foveal.models.detect._machines import COST, NEVER, Machine, ridge
from foveal.recipes import resolve
from foveal.training.run import Run
from foveal.weights.files import Checkpoint
from foveal.weights.match import load_weights

Targets = list[dict[str, Tensor]]


def fast(**options: Any) -> Any:
    given = {"num_classes": 3, "encoder": "resnet18", "width": 8, "hidden": 16, "least_side": 5}
    return create("fast_rcnn", **{**given, **options})


def slow(**options: Any) -> Any:
    given = {"num_classes": 3, "classifier": "resnet20", "size": 16, "context": 2, "least_side": 5}
    return create("rcnn", **{**given, **options})


def windows(count: int, seed: int = 0, height: int = 64, width: int = 96) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=random) * torch.tensor((width - 30, height - 30))
    return torch.cat((corner, corner + 8 + torch.rand(count, 2, generator=random) * 20), 1)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", [{}, {"stride": 8}, {"hidden": 0}, {"hidden": 0, "stride": 8}], ids=str)
def test_what_fast_rcnn_says_of_a_window(options: dict[str, Any]) -> None:
    """Trunk, maximum of each cell of the window, fully connected layers: by hand, one window after the other."""
    model, image, boxes = fast(**options).eval(), images(1), windows(4)
    with torch.no_grad():
        raw = model(image, [boxes])
        (map,) = model.backbone(image)
        stride, (rows, columns) = options.get("stride", 16), model.pool.size
        for n, box in enumerate(boxes):
            left, top, right, bottom = (box / stride).add(0.5).floor().long().tolist()
            cell_height, cell_width = max(bottom - top + 1, 1) / rows, max(right - left + 1, 1) / columns
            pooled = torch.zeros(1, map.shape[1], rows, columns)
            for i in range(rows):
                for j in range(columns):
                    y = [top + int(np.floor(i * cell_height)), top + int(np.ceil((i + 1) * cell_height))]
                    x = [left + int(np.floor(j * cell_width)), left + int(np.ceil((j + 1) * cell_width))]
                    cell = map[0, :, max(y[0], 0) : y[1], max(x[0], 0) : x[1]]
                    if cell.numel():
                        pooled[0, :, i, j] = cell.amax((1, 2))
            features = model.head(pooled)
            torch.testing.assert_close(model.cls_score(features)[0], raw.logits[n], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(model.bbox_pred(features)[0], raw.deltas[n].flatten(), rtol=1e-4, atol=1e-5)


def test_fast_rcnns_windows_of_an_update() -> None:
    """Section 2.3: 64 of an image, 16 on objects (IoU of 0.5 or more), all others have 0.1 to 0.5 with one."""
    torch.manual_seed(0)
    model, truth = fast(), torch.tensor([[20.0, 10.0, 60.0, 50.0]])
    near = truth + torch.randn(300, 4) * 8
    assigned = model.assigned(torch.cat((near, windows(300))), {"boxes": truth, "labels": torch.tensor([2])})
    overlap = iou(truth, assigned.boxes)
    assert len(assigned.labels) == 64 and (assigned.labels[:16] == 3).all() and (assigned.labels[16:] == 0).all()
    assert (overlap[:16] >= 0.5).all()
    assert ((overlap[16:] >= 0.1) & (overlap[16:] < 0.5)).all()
    moved = decode(assigned.deltas[:16], assigned.boxes[:16], RCNN_WEIGHTS)
    torch.testing.assert_close(moved, truth.expand(16, 4))


def test_fast_rcnns_losses_by_hand() -> None:
    """Equations 1 to 3: no shift counts of background, smooth L1 turns at 1."""
    model = fast().eval()
    truth, own = torch.tensor([[20.0, 10.0, 60.0, 50.0]]), torch.tensor([[22.0, 12.0, 62.0, 50.0]])
    target = {"boxes": truth, "labels": torch.tensor([1]), "proposals": own}
    terms = model.losses(images(1), [target])
    raw = model(images(1), [torch.cat((own, truth))])
    wanted = encode(truth, torch.cat((own, truth)), RCNN_WEIGHTS)
    torch.testing.assert_close(terms["classes"], F.cross_entropy(raw.logits, torch.tensor([2, 2])))
    far = (raw.deltas[:, 2] - wanted).abs()
    torch.testing.assert_close(terms["boxes"], torch.where(far < 1, far**2 / 2, far - 0.5).sum() / 2)


@pytest.mark.parametrize("make", [fast, slow])
def test_the_contract(make: Callable[..., Any]) -> None:
    report = check_model(partial(make, windows=20), (3, 64, 96))
    assert report.passed, report.text()


@pytest.mark.parametrize("make", [fast, slow])
def test_windows_that_are_searched_and_given_are_found_alike(make: Callable[..., Any]) -> None:
    model, picture = make(windows=30).eval(), images(2)
    with torch.no_grad():
        own, told = model.detect(picture), model.detect(picture, model.search.of(picture, None))
    for one, other in zip(own, told, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("make", [fast, slow])
def test_targets_bring_windows_for_all_images_or_none(make: Callable[..., Any]) -> None:
    target = {"boxes": windows(1), "labels": torch.tensor([0])}
    with pytest.raises(FovealError, match="1 of 2 targets hold proposals"):
        make().losses(images(2), [target, {**target, "proposals": windows(5)}])


@pytest.mark.parametrize(("name", "source"), [("fast_rcnn", "resnet18"), ("rcnn", "resnet20")])
def test_a_classifiers_weights_load_by_their_names(name: str, source: str) -> None:
    model: Any = fast(width=64, hidden=0) if name == "fast_rcnn" else slow()
    state = dict(create(source).state_dict())
    matching = load_weights(model, Checkpoint(source, state), partial=True)
    kept = [key for key in state if not key.startswith("fc")]
    assert len(matching.pairs) == len(kept)
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])


def blobs(count: int, seed: int, shift: float) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(seed)) * 5 + shift


def test_a_machine_of_hard_negatives_is_that_of_all() -> None:
    positives, negatives = blobs(40, 0, 3.0), blobs(6000, 1, -3.0)
    machine = Machine(positives)
    for part in torch.split(negatives, 500):
        machine.show(part)
    machine.fit()
    whole = LinearSVC(
        loss="hinge", C=COST, class_weight={True: 2.0}, intercept_scaling=10.0, max_iter=200_000, tol=1e-6,
        random_state=0,
    ).fit(torch.cat((positives, negatives)).numpy(), np.arange(6040) < 40)  # fmt: skip
    assert len(machine.negatives) < 200
    torch.testing.assert_close(machine.weight, torch.from_numpy(whole.coef_[0]).float(), rtol=1e-3, atol=1e-5)
    assert machine.bias == pytest.approx(float(whole.intercept_[0]), abs=1e-3)


def test_a_class_without_a_true_box_is_never_found() -> None:
    machine = Machine(torch.zeros(0, 12))
    machine.show(blobs(10, 0, 0.0))
    machine.fit()
    assert machine.bias == NEVER and not machine.weight.any()
    with pytest.raises(FovealError, match="no window of the training images is background"):
        Machine(blobs(3, 0, 0.0)).fit()


@pytest.mark.parametrize("examples", [10, 200])
def test_regressors_are_scikit_learns(examples: int) -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(examples, 30, generator=random) * 3, torch.randn(examples, 4, generator=random) + 1
    found = ridge(x, y, 100.0)
    mean = y.mean(0)
    constant = torch.cat((x, torch.ones(examples, 1)), 1).double().numpy()
    oracle = Ridge(alpha=100.0, fit_intercept=False).fit(constant, (y - mean).double().numpy())
    wanted = torch.from_numpy(oracle.coef_.T).float()
    torch.testing.assert_close(found[:-1], wanted[:-1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[-1], wanted[-1] + mean, rtol=1e-4, atol=1e-6)
    assert torch.equal(ridge(x[:0], y[:0], 100.0), torch.zeros(31, 4))


def discs(count: int) -> tuple[Tensor, Targets]:
    """Bright squares of class 0, dark ones of class 1, with windows near them and anywhere."""
    random = torch.Generator().manual_seed(5)
    pictures, targets = images(count, 3) * 0.2, []
    for n in range(count):
        corner = torch.rand(2, 2, generator=random) * torch.tensor((20.0, 30.0)) + torch.tensor(((2.0, 4), (50, 4)))
        boxes = torch.cat((corner, corner + 22), 1).round()
        for (left, top, right, bottom), value in zip(boxes.long().tolist(), (2.0, -2.0), strict=True):
            pictures[n, :, top:bottom, left:right] += value
        near = (boxes.repeat(8, 1) + torch.randn(16, 4, generator=random) * 2.5).clamp_min(0)
        proposals = torch.cat((near, windows(40, n)))
        targets.append({"boxes": boxes, "labels": torch.tensor([0, 1]), "proposals": proposals})
    return pictures, targets


def test_rcnn_fits_machines_and_regressors() -> None:
    torch.manual_seed(0)
    model = slow().eval()
    pictures, targets = discs(6)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "proposals": windows(9)}
    batches = [(pictures[:2], targets[:2]), (pictures[2:4], targets[2:4]), (images(1), [nothing])]
    said = model.complete(lambda: batches)
    assert said.startswith("machines of 8 true boxes and ") and bool(model.fitted)
    given = [target["proposals"] for target in targets[4:]]
    with torch.no_grad():
        raw, found = model(pictures[4:], given), model.detect(pictures[4:], given)
    for one, target in zip(found, targets[4:], strict=True):
        first = [one["boxes"][one["labels"] == k][0] for k in (0, 1)]
        overlap = iou(torch.stack(first), target["boxes"])
        assert (overlap > 0.6).all(), overlap
        assert not (one["labels"] == 2).any()  # no image holds the third class
    margins = raw.features * model.scales[0] @ model.weight.T + model.bias
    best = int(margins[: len(given[0]), 0].argmax())
    row = torch.cat((raw.shifting[best] * model.scales[1], torch.ones(1)))
    wanted = decode(row @ model.shift[0], given[0][best])
    place = int((found[0]["labels"] == 0).nonzero()[0])
    torch.testing.assert_close(found[0]["boxes"][place], wanted, rtol=1e-4, atol=1e-3)
    assert float(found[0]["scores"][place]) == pytest.approx(float(margins[best, 0].sigmoid()), abs=1e-5)


def test_rcnns_windows_go_through_the_classifier_one_by_one() -> None:
    model, boxes = slow().eval(), windows(3)
    with torch.no_grad():
        raw = model(images(1), [boxes])
        alone = [model.backbone(warped(images(1), [box[None]], (16, 16), context=2)) for box in boxes]
    torch.testing.assert_close(raw.logits, torch.cat(alone), rtol=1e-4, atol=1e-5)
    assert raw.features.shape == (3, 64)  # what the last layer of ResNet-20 reads
    torch.testing.assert_close(model.backbone.fc(raw.features), raw.logits, rtol=1e-4, atol=1e-5)


def test_an_update_voids_what_was_fitted() -> None:
    model = slow()
    pictures, targets = discs(2)
    model.eval().complete(lambda: [(pictures, targets)])
    fitted = {key: value.clone() for key, value in model.state_dict().items()}
    again = slow().eval()
    again.load_state_dict(fitted)
    assert bool(again.fitted)
    assert list(model.losses(pictures, targets)) == ["classes"] and not bool(model.fitted)


def test_rcnn_looks_at_two_layers() -> None:
    model = slow(layer="flatten", boxes_layer="avgpool")
    assert model.weight.shape == (3, 64) and model.shift.shape == (3, 65, 4)
    with torch.device("meta"):
        model = create("rcnn", boxes_layer="pool5")
    assert model.layers == ("relu7", "pool5") and model.weight.shape == (20, 4096)
    assert model.shift.shape == (20, 9217, 4)


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (fast, {"encoder": "resnet19"}, "resnet18"),
        (fast, {"stride": 4}, "stride=4"),
        (fast, {"encoder": "vgg16"}, "of vgg16"),
        (fast, {"windows": 0}, "windows=0"),
        (fast, {"score": 2.0}, "between 0 and 1"),
        (slow, {"layer": "avgpol"}, "did you mean avgpool"),
        (slow, {"classifier": "resnet21"}, "resnet20"),
        (slow, {"classifier": "alexnet", "size": 64}, "alexnet cannot take windows of 64 x 64"),
        (slow, {"context": 8}, "less than half a side"),
        (slow, {"shape": "round"}, "shape of windows"),
        (slow, {"cost": 0.0}, "above 0"),
    ],
)
def test_wrong_options_are_refused(make: Callable[..., Any], options: dict[str, Any], said: str) -> None:
    with torch.device("meta"), pytest.raises(FovealError, match=said):
        make(**options)


def few_cells(source: Path, folder: Path, counts: dict[str, int]) -> Path:
    """The first images of each split of BCCD."""
    lists = Path("ImageSets", "Main")
    for part in (lists, Path("Annotations"), Path("JPEGImages")):
        (folder / part).mkdir(parents=True)
    for split, count in counts.items():
        names = (source / lists / f"{split}.txt").read_text().split()[:count]
        (folder / lists / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            for file in (Path("Annotations", f"{name}.xml"), Path("JPEGImages", f"{name}.jpg")):
                shutil.copy(source / file, folder / file)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs"), [("fast_rcnn_bccd_fast", 40), ("rcnn_bccd_fast", 3)])
def test_a_few_blood_cells_are_learned(
    name: str, epochs: int, tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    data = few_cells(real_data("bccd"), tmp_path / "cells", {"train": 12, "val": 4, "test": 4})
    options = {"windows": 300, "proposals": "single"}
    recipe = resolve(name, data=str(data), length=epochs, evaluate_every=epochs, batch_size=2, ema=0.0, options=options)
    run, evaluation = train(recipe, out=tmp_path / "run")
    assert evaluation is not None and evaluation.metrics["ap50"] > 25
    assert len(list((run.path / "proposals").iterdir())) == 20
    found = Run(run.path).detector().find(open_data(data, "test", task="detect").load(0))
    assert len(found["boxes"]) and float(found["boxes"].max()) > 320  # in pixels of 640 x 480
