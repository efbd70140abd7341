"""COCO's numbers by masks and by keypoints are pycocotools', and masks are compared without being drawn."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foveal.data.outlines import Runs, encoded, rasterised, runs
from foveal.errors import FovealError
from foveal.metrics.boxes import Found, Truth
from foveal.metrics.coco import By, coco
from foveal.metrics.keypoints import spreads
from foveal.metrics.outlines import shared

HEIGHT, WIDTH = 90, 120


def blob(random: np.random.RandomState, near: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Centre and half axes of an ellipse, anew or near another."""
    if near is not None:
        return near + random.randn(4) * random.choice([0.5, 3, 10])
    return np.concatenate((random.rand(2) * (WIDTH, HEIGHT), 2 + random.rand(2) ** 2 * 50))


def drawn(ellipse: NDArray[np.float64]) -> torch.Tensor:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    a, b = np.maximum(ellipse[2:], 1)
    return torch.from_numpy(((x - ellipse[0]) / a) ** 2 + ((y - ellipse[1]) / b) ** 2 <= 1)


def around(masks: list[torch.Tensor]) -> torch.Tensor:
    rows = []
    for mask in masks:
        y, x = mask.any(1).nonzero(), mask.any(0).nonzero()
        rows.append([x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0])
    return torch.tensor(rows, dtype=torch.float64).view(-1, 4)


def masks_scene(seed: int, images: int, classes: int) -> tuple[list[Found], list[Truth]]:
    random = np.random.RandomState(seed)
    found, truth = [], []
    for _ in range(images):
        count = random.randint(0, 6)
        there = [blob(random) for _ in range(count)]
        again = np.repeat(np.arange(count), random.randint(0, 3, count))
        said = [blob(random, there[i]) for i in again] + [blob(random) for _ in range(random.randint(0, 4))]
        label = random.randint(0, classes, count)
        labels = np.concatenate((label[again], random.randint(0, classes, len(said) - len(again))))
        mine, its = [drawn(one) for one in said], [drawn(one) for one in there]
        its_runs, my_runs = (tuple(encoded(mask, HEIGHT, WIDTH) for mask in part) for part in (its, mine))
        scores = torch.tensor(random.rand(len(said)).round(2))
        found.append(Found(around(mine), scores, torch.tensor(labels).long(), my_runs))
        area = torch.tensor([float(mask.sum()) for mask in its], dtype=torch.float64)
        crowd = torch.tensor(random.rand(count) < 0.15)
        truth.append(Truth(around(its), torch.tensor(label).long(), None, crowd, area, its_runs))
    return found, truth


def poses_scene(seed: int, images: int, classes: int, joints: int = 17) -> tuple[list[Found], list[Truth]]:
    random = np.random.RandomState(seed)
    found, truth = [], []
    for _ in range(images):
        count = random.randint(0, 8)
        corner, sides = random.rand(count, 2) * 300, 20 + random.rand(count, 2) * 250
        boxes = np.concatenate((corner, corner + sides), 1)
        points = corner[:, None] + random.rand(count, joints, 2) * sides[:, None]
        visible = random.randint(0, 3, (count, joints)) * (random.rand(count, 1) < 0.85)
        again = np.repeat(np.arange(count), random.randint(0, 9, count))
        spread = random.choice([1, 6, 25], (len(again), 1, 1))
        said = points[again] + random.randn(len(again), joints, 2) * spread
        label = random.randint(0, classes, count)
        scores = torch.tensor(random.rand(len(again)).round(2))
        sure = np.concatenate((said, random.rand(len(again), joints, 1)), -1)
        found.append(
            Found(
                torch.tensor(boxes[again]).view(-1, 4),
                scores,
                torch.tensor(label[again]).long(),
                keypoints=torch.tensor(sure),
            )
        )
        kinds = torch.tensor(label).long(), None, torch.tensor(random.rand(count) < 0.1)
        area = torch.tensor(np.prod(sides, 1) * random.uniform(0.3, 0.8, count))
        full = torch.tensor(np.concatenate((points, visible[..., None]), -1))
        truth.append(Truth(torch.tensor(boxes).view(-1, 4), *kinds, area, keypoints=full))
    return found, truth


def rows_of(kind: By, one: Any, n: int, scored: bool) -> dict[str, Any]:
    x1, y1, x2, y2 = one.boxes[n].tolist()
    row: dict[str, Any] = {"category_id": int(one.labels[n]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
    if kind == "masks":
        row["segmentation"] = one.masks[n].as_json()
    else:
        row["keypoints"] = one.keypoints[n].flatten().tolist()
    if scored:
        return row | {"score": float(one.scores[n])}
    given = 0 if one.keypoints is None else int((one.keypoints[n, :, 2] > 0).sum())
    return row | {"iscrowd": int(one.crowd[n]), "area": float(one.area[n]), "num_keypoints": given}


def oracle(found: list[Found], truth: list[Truth], classes: int, kind: By) -> list[float]:
    peer: Any = pytest.importorskip("pycocotools.coco")
    evaluation: Any = pytest.importorskip("pycocotools.cocoeval")
    there = [{"image_id": i, **rows_of(kind, t, n, False)} for i, t in enumerate(truth) for n in range(len(t.labels))]
    said = [{"image_id": i, **rows_of(kind, f, n, True)} for i, f in enumerate(found) for n in range(len(f.labels))]
    if kind == "masks":
        for row in said:  # a row with a box is taken for one of boxes
            del row["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        ground = peer.COCO()
        ground.dataset = {
            "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(len(found))],
            "annotations": [{"id": n, **row} for n, row in enumerate(there, 1)],
            "categories": [{"id": k} for k in range(classes)],
        }
        ground.createIndex()
        for row in said if kind == "keypoints" else ():
            del row["bbox"]
        run = evaluation.COCOeval(ground, ground.loadRes(said), "segm" if kind == "masks" else "keypoints")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


@pytest.mark.parametrize(("seed", "classes"), [(0, 1), (1, 3)])
def test_masks_have_pycocotools_twelve_numbers(seed: int, classes: int) -> None:
    found, truth = masks_scene(seed, 30, classes)
    ours = coco(found, truth, classes, "masks")
    assert list(ours.figures.values()) == pytest.approx(oracle(found, truth, classes, "masks"), abs=1e-9)
    assert 0.05 < ours.figures["AP"] < 0.95


@pytest.mark.parametrize(("seed", "classes"), [(0, 1), (1, 2)])
def test_keypoints_have_pycocotools_ten_numbers(seed: int, classes: int) -> None:
    found, truth = poses_scene(seed, 30, classes)
    ours = coco(found, truth, classes, "keypoints")
    assert list(ours.figures) == ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]
    assert list(ours.figures.values()) == pytest.approx(oracle(found, truth, classes, "keypoints"), abs=1e-9)
    assert 0.05 < ours.figures["AP"] < 0.95


def test_masks_in_common_are_counted_without_drawing() -> None:
    random = np.random.RandomState(3)
    for _ in range(40):
        height, width = random.randint(1, 30, 2).tolist()
        masks = torch.from_numpy(random.rand(4, height, width) < random.rand(4, 1, 1))
        packed = [encoded(mask, height, width) for mask in masks]
        wanted = [int((mask & masks[0]).sum()) for mask in masks]
        assert shared(packed, packed[0]).tolist() == wanted
    with pytest.raises(FovealError, match="masks of 30 x 20 and of 20 x 30 pixels"):
        shared([encoded(torch.ones(20, 30, dtype=torch.bool), 20, 30)], encoded(torch.ones(30, 20), 30, 20))


def test_run_lengths_of_a_mask_within_an_image() -> None:
    peer: Any = pytest.importorskip("pycocotools.mask")
    random = np.random.RandomState(4)
    for _ in range(40):
        height, width = random.randint(1, 40, 2).tolist()
        top, left = random.randint(0, height + 1), random.randint(0, width + 1)
        mask = torch.from_numpy(
            random.rand(random.randint(0, height - top + 1), random.randint(0, width - left + 1)) < 0.7
        )
        whole = torch.zeros(height, width, dtype=torch.bool)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        ours = encoded(mask, height, width, (int(top), int(left)))
        assert torch.equal(ours.mask(), whole) and ours.area == int(whole.sum())
        theirs = peer.encode(np.asfortranarray(whole.numpy().astype(np.uint8)))
        assert ours.as_json() == {"size": [height, width], "counts": theirs["counts"].decode()}
        again = runs(ours.as_json(), height, width)
        assert isinstance(again, Runs) and torch.equal(rasterised(again, torch.zeros(4), height, width), whole)


def test_what_is_not_there_cannot_be_compared() -> None:
    found, truth = masks_scene(5, 3, 2)
    with pytest.raises(FovealError, match="image 1 has no masks to compare"):
        coco([found[0], found[1]._replace(masks=None), found[2]], truth, 2, "masks")
    with pytest.raises(FovealError, match="image 0 has no keypoints"):
        coco(found, truth, 2, "keypoints")
    posed, there = poses_scene(5, 3, 1)
    with pytest.raises(FovealError, match=r"objects of \[4, 17\] keypoints"):
        coco([one._replace(keypoints=torch.zeros(len(one.labels), 4, 3)) for one in posed], there, 1, "keypoints")
    assert len(set(spreads(5).tolist())) == 1 and spreads(17).max() == pytest.approx(0.107)
