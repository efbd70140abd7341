"""COCO's twelve numbers are pycocotools'."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch

from foveal.errors import FovealError
from foveal.metrics.boxes import Found, Truth
from foveal.metrics.coco import coco


def scene(
    seed: int, images: int, classes: int, *, grain: float = 0.0, most: int = 12
) -> tuple[list[Found], list[Truth]]:
    """Random truth, and detections of it that are moved, doubled, mislabelled and invented."""
    random = np.random.RandomState(seed)
    found, truth = [], []
    for _ in range(images):
        count = random.randint(0, most)
        corner = random.rand(count, 2) * 400
        box = np.concatenate((corner, corner + 4 + random.rand(count, 2) ** 3 * 300), 1)
        label, crowd = random.randint(0, classes, count), random.rand(count) < 0.08
        again = np.repeat(np.arange(count), random.randint(0, 4, count))
        moved = box[again] + random.randn(len(again), 4) * random.choice([0.5, 4, 20], (len(again), 1))
        strange = random.rand(random.randint(0, 130), 2) * 500
        moved = np.concatenate((moved, np.concatenate((strange, strange + 5 + random.rand(len(strange), 2) * 90), 1)))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        if grain:  # equal overlaps and equal scores
            box, moved = (box / grain).round() * grain + [0, 0, grain, grain], (moved / grain).round() * grain
            moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + grain)
        said = np.concatenate((label[again], random.randint(0, classes, len(strange))))
        said = np.where(random.rand(len(said)) < 0.1, random.randint(0, classes, len(said)), said)
        score = random.rand(len(said)).round(1 if grain else 9)
        found.append(Found(torch.tensor(moved).view(-1, 4), torch.tensor(score), torch.tensor(said).long()))
        area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) * random.uniform(0.5, 1, count)
        kinds = torch.tensor(label).long(), None, torch.tensor(crowd), torch.tensor(area)
        truth.append(Truth(torch.tensor(box).view(-1, 4), *kinds))
    return found, truth


def oracle(found: list[Found], truth: list[Truth], classes: int) -> list[float]:
    peer: Any = pytest.importorskip("pycocotools.coco")
    evaluation: Any = pytest.importorskip("pycocotools.cocoeval")
    boxes, said = [], []
    for i, (f, t) in enumerate(zip(found, truth, strict=True)):
        assert t.crowd is not None and t.area is not None
        for n, (x1, y1, x2, y2) in enumerate(t.boxes.tolist()):
            boxes.append({
                "id": len(boxes) + 1, "image_id": i, "category_id": int(t.labels[n]), "iscrowd": int(t.crowd[n]),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(t.area[n])})  # fmt: skip
        for (x1, y1, x2, y2), label, score in zip(f.boxes.tolist(), f.labels.tolist(), f.scores.tolist(), strict=True):
            said.append({"image_id": i, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        ground = peer.COCO()
        ground.dataset = {
            "images": [{"id": i} for i in range(len(found))], "annotations": boxes,
            "categories": [{"id": k} for k in range(classes)]}  # fmt: skip
        ground.createIndex()
        run = evaluation.COCOeval(ground, ground.loadRes(said), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


@pytest.mark.parametrize(
    ("seed", "images", "classes", "grain", "most"),
    [(0, 40, 3, 0.0, 12), (1, 60, 8, 0.0, 30), (2, 40, 2, 16.0, 12), (3, 12, 1, 32.0, 40)],
)
def test_twelve_numbers_are_pycocotools(seed: int, images: int, classes: int, grain: float, most: int) -> None:
    found, truth = scene(seed, images, classes, grain=grain, most=most)
    ours = list(coco(found, truth, classes).figures.values())
    theirs = oracle(found, truth, classes)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert 0.005 < ours[0] < 0.98


def test_perfect_and_empty() -> None:
    _, truth = scene(4, 10, 3)
    plain = [t._replace(crowd=None) for t in truth]
    perfect = [Found(t.boxes, torch.ones(len(t.labels)), t.labels) for t in plain]
    figures = coco(perfect, plain, 3).figures
    assert figures["AP"] == pytest.approx(1) and figures["AP75"] == pytest.approx(1)
    nothing = [Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())] * 10
    assert coco(nothing, plain, 3).figures["AP"] == 0
    assert coco(perfect, plain, 4).per_class[3] != coco(perfect, plain, 4).per_class[3]  # NaN: nothing to be found
    empty = [Truth(torch.zeros(0, 4), torch.zeros(0).long())] * 10
    assert set(coco(perfect, empty, 3).figures.values()) == {-1.0}


def test_wrong_input_is_named() -> None:
    found, truth = scene(5, 3, 2)
    with pytest.raises(FovealError, match="detections of 3 images, truth of 2"):
        coco(found, truth[:2], 2)
    found[1] = found[1]._replace(scores=found[1].scores * torch.nan)
    with pytest.raises(FovealError, match="image 1: a score"):
        coco(found, truth, 2)
