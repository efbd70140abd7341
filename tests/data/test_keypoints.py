"""Keypoints: read and checked, written and read again, and moved with their images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foveal.data.boxset import BoxSet
from foveal.data.convert import convert
from foveal.data.doctor import diagnose
from foveal.data.formats import coco
from foveal.data.frame import frame
from foveal.data.joint import JointSamples
from foveal.data.loader import Loader
from foveal.data.open import data_splits, open_data
from foveal.data.pipeline import Pipeline
from foveal.data.pose import Pose
from foveal.errors import FovealError

NAMES = ["top", "left_side", "right_side", "bottom"]
FILE = "annotations/instances_train.json"


def change(file: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))


def pose(data: dict[str, Any]) -> None:
    """The middles of the four sides of each box as its keypoints, all seen; the left one hidden."""
    for row in data["annotations"]:
        left, top, width, height = row["bbox"]
        x, y = left + width / 2, top + height / 2
        points = ((x, top, 2), (left, y, 1), (left + width, y, 2), (x, top + height, 2))
        inside = [(min(a, 130.0), min(b, 90.0), v) for a, b, v in points]
        row["keypoints"] = [value for point in inside for value in point]
    for category in data["categories"]:
        category |= {"keypoints": NAMES, "skeleton": [[1, 2], [1, 3], [2, 4], [3, 4]]}


@pytest.fixture
def posed(tmp_path: Path) -> Path:
    coco.example(tmp_path / "posed")
    for split in ("train", "test"):
        change(tmp_path / f"posed/annotations/instances_{split}.json", pose)
    return tmp_path / "posed"


def opened(root: Path, split: str = "train") -> BoxSet:
    images = open_data(root, split)
    assert isinstance(images, BoxSet)
    return images


@pytest.mark.parametrize(
    ("names", "mirrored"),
    [
        (("nose", "left_eye", "right_eye"), (0, 2, 1)),
        (("Right Hip", "tail", "Left Hip"), (2, 1, 0)),
        (("LEye", "REye", "l_ear", "r_ear", "ear"), (1, 0, 3, 2, 4)),
        (("wheel", "lamp"), (0, 1)),
    ],
)
def test_left_and_right_are_known_by_name(names: tuple[str, ...], mirrored: tuple[int, ...]) -> None:
    assert Pose(names).mirrored == mirrored


def test_a_side_without_the_other_is_named() -> None:
    with pytest.raises(FovealError, match="'left_eye' has no 'right_eye'"):
        _ = Pose(("left_eye", "nose")).mirrored


def test_keypoints_are_read_at_the_centres_of_their_pixels(posed: Path) -> None:
    images = opened(posed)
    assert images.pose == Pose(tuple(NAMES), ((0, 1), (0, 2), (1, 3), (2, 3)))
    box, points = images.objects[1].boxes[0], images.objects[1].keypoints[0]
    assert points.shape == (4, 3) and points[:, 2].tolist() == [2, 1, 2, 2]
    assert points[0, 1] == box[1] + 0.5 and points[1, 0] == box[0] + 0.5
    _, target = images[1]
    assert target["keypoints"].shape == (len(target["labels"]), 4, 2) and target["visible"].dtype == torch.uint8


def test_keypoints_there_and_back(posed: Path, tmp_path: Path) -> None:
    convert(posed, tmp_path / "again", "coco")
    for split in ("train", "test"):
        before, after = opened(posed, split), opened(tmp_path / "again", split)
        assert before.pose == after.pose and before.signature() == after.signature()
    done = convert(posed, tmp_path / "csv", "boxes_csv")
    assert any(why == "the keypoints of 1 objects have no place there" for _, why in done.skipped)
    bare = opened(tmp_path / "csv")
    assert bare.pose is None and "keypoints" not in bare[0][1]


def test_keypoints_go_to_yolo_and_back(posed: Path, tmp_path: Path) -> None:
    convert(posed, tmp_path / "yolo", "yolo")
    convert(tmp_path / "yolo", tmp_path / "back", "coco")
    for split in ("train", "test"):
        before = opened(posed, split)
        for root in ("yolo", "back"):
            after = opened(tmp_path / root, split)
            assert after.pose is not None and after.pose.names == tuple(NAMES)
            assert after.pose.mirrored == (0, 2, 1, 3) and not after.faults
            place = {Path(after.name(i)).stem: i for i in range(len(after))}
            for i, found in enumerate(before.objects):
                its = after.objects[place[Path(before.name(i)).stem]].keypoints
                torch.testing.assert_close(its, found.keypoints, atol=1e-3, rtol=0)


YAML: dict[str, tuple[str, str]] = {
    "shape": ("kpt_shape: [4]\n", r"'kpt_shape: \[4\]' is no count"),
    "none": ("kpt_shape: [0, 3]\n", "no count of keypoints"),
    "order": ("kpt_shape: [4, 3]\nflip_idx: [0, 1, 1, 3]\n", "flip_idx is no order of the numbers 0 to 3"),
    "count": ("kpt_shape: [5, 3]\n", "17 numbers"),
}


@pytest.mark.parametrize("name", YAML)
def test_faults_of_yolos_poses_are_named(name: str, posed: Path, tmp_path: Path) -> None:
    told, message = YAML[name]
    convert(posed, tmp_path / "yolo", "yolo")
    (tmp_path / "yolo/data.yaml").write_text(f"{told}names: [corner, flower, roof]\n")
    with pytest.raises(FovealError, match=message):
        open_data(tmp_path / "yolo", "train")


def test_without_names_or_order_nothing_is_mirrored(posed: Path, tmp_path: Path) -> None:
    convert(posed, tmp_path / "yolo", "yolo")
    (tmp_path / "yolo/data.yaml").write_text("names: [corner, flower, roof]\nkpt_shape: [4, 3]  # x, y, seen\n")
    pose = opened(tmp_path / "yolo").pose
    assert pose is not None and pose.names[0] == "keypoint 1" and Pose.from_json(pose.as_json()) == pose
    with pytest.raises(FovealError, match="nothing says which keypoints change places"):
        _ = pose.mirrored


def test_keypoints_without_visibility(posed: Path, tmp_path: Path) -> None:
    convert(posed, tmp_path / "yolo", "yolo")
    (tmp_path / "yolo/data.yaml").write_text("names: [corner, flower, roof]\nkpt_shape: [2, 2]\nflip_idx: [1, 0]\n")
    for file in (tmp_path / "yolo/labels").rglob("*.txt"):
        file.write_text("0 0.5 0.5 0.2 0.2 0.5 0.25 0 0\n1 0.5 0.5 0.2 0.2\n")
    images = opened(tmp_path / "yolo")
    width, height = images.sizes[0]
    assert images.objects[0].keypoints[:, :, 2].tolist() == [[2, 0], [0, 0]]
    assert images.objects[0].keypoints[0, 0, :2].tolist() == pytest.approx([width / 2, height / 4])


def test_a_file_brings_its_namesakes(posed: Path) -> None:
    """As COCO's annotations lie beside each other, of all objects and of persons' keypoints."""
    for split, year in (("train", "train2017"), ("test", "test2017")):
        file = posed / f"annotations/instances_{split}.json"
        (posed / f"annotations/person_keypoints_{year}.json").write_bytes(file.read_bytes())
        change(file, lambda d: [row.pop("keypoints") for row in d["annotations"] + d["categories"]])
    one = posed / "annotations/person_keypoints_train2017.json"
    assert data_splits(one) == ("train", "test")
    assert opened(one, "test").pose is not None and opened(posed, "test").pose is None
    assert opened(one).name(0) == opened(posed).name(0)


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "count": (lambda d: d["annotations"][1].update(keypoints=[1, 2, 2]), "annotation 2: keypoints: .* of 12 numbers"),
    "text": (lambda d: d["annotations"][1].update(keypoints="nose"), "annotation 2: keypoints: 'nose'"),
    "not finite": (lambda d: d["annotations"][1]["keypoints"].__setitem__(0, float("nan")), "annotation 2: keypoints"),
    "visibility": (lambda d: d["annotations"][1]["keypoints"].__setitem__(5, 3), "visibility of its left_side is 3"),
    "no names": (
        lambda d: [c.pop("keypoints") for c in d["categories"]],
        "annotation 1 has keypoints, but no category",
    ),
    "names": (lambda d: d["categories"][0].update(keypoints=[1, 2]), "category 1: 'keypoints' is no list of names"),
    "twice": (lambda d: d["categories"][0].update(keypoints=["a", "a"]), "two keypoints are called 'a'"),
    "others": (
        lambda d: d["categories"][1].update(keypoints=["a"], skeleton=[]),
        "category 1 and category 2 have other",
    ),
    "skeleton": (lambda d: d["categories"][0].update(skeleton=[[0, 1]]), "category 1: the skeleton joins 0 and 1"),
    "pairs": (lambda d: d["categories"][0].update(skeleton=[[1]]), "category 1: skeleton: .* no list of 2 numbers"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(name: str, posed: Path) -> None:
    edit, message = FAULTS[name]
    change(posed / FILE, edit)
    with pytest.raises(FovealError, match=message) as caught:
        open_data(posed, "train")
    assert str(posed) in caught.value.what and caught.value.mend


def test_a_keypoint_outside_is_a_warning_and_not_given(posed: Path) -> None:
    change(posed / FILE, lambda d: d["annotations"][0].update(keypoints=[900, 5, 2, 3, 3, 1, 0, 0, 0, 99, 5, 2]))
    with pytest.warns(UserWarning, match=r"object 1 .*: its top at \(900.5, 5.5\) lies outside the 150 x 100 image"):
        images = opened(posed)
    assert images.objects[0].keypoints[0, :, 2].tolist() == [0, 1, 0, 2]
    diagnosis = diagnose(posed, near=False)
    assert "box_keypoint" in {finding.kind for finding in diagnosis.findings}


def batches(posed: Path, augment: tuple[str, ...]) -> list[Any]:
    pipeline = Pipeline(("resize_exact(60, 90)",), augment, (3, 60, 90), seed=2)
    with Loader(opened(posed), pipeline, 8, seed=2, train=True, workers=0) as loader:
        return [target for epoch in range(4) for target in next(iter(loader.batches(epoch))).targets]


@pytest.mark.parametrize("augment", [("flip",), ("random_view((60, 90), (1, 1))",)])
def test_left_stays_left_in_a_mirror(posed: Path, augment: tuple[str, ...]) -> None:
    seen = 0
    for target in batches(posed, augment):
        points = target["keypoints"]
        assert points.shape[1:] == (4, 3) and points.dtype == torch.float32 and "visible" not in target
        both = (points[:, 1, 2] > 0) & (points[:, 2, 2] > 0)
        assert (points[both, 1, 0] < points[both, 2, 0]).all()
        seen += int((points[both, 1, 2] == 2).sum())  # the hidden one, once on the left, is on the right
    assert seen > 3


def test_what_leaves_the_image_does_not_come_back(posed: Path) -> None:
    pipeline = Pipeline((), ("random_crop((50, 60))", "pad(40)"), (3, 130, 140), seed=2)
    images = opened(posed)
    samples = JointSamples(images, pipeline, train=True)
    for epoch in range(4):
        for target in samples.load(torch.arange(len(images)), epoch).targets:
            points = target["keypoints"]
            there = points[..., 2] > 0
            assert ((points[there][:, :2] >= 40) & (points[there][:, :2] <= torch.tensor((100.0, 90.0)))).all()
            assert (points[~there] == 0).all()


def test_a_foreign_mirror_is_refused_and_a_foreign_crop_is_not(posed: Path) -> None:
    with pytest.raises(FovealError, match="mirrors keypoints"):
        batches(posed, ("v2.RandomHorizontalFlip(p=1.0)",))
    assert any(
        len(target["labels"]) for target in batches(posed, ("v2.RandomIoUCrop(min_scale=0.5)", "resize_exact(60, 90)"))
    )


def test_points_lead_back_to_the_original() -> None:
    there = frame(Pipeline(("letterbox(60, 40)",), (), (3, 60, 40)), 30, 80)
    points = torch.tensor([[0.0, 22.0], [40.0, 37.0], [50.0, 59.5]])
    assert there.points(points).tolist() == [[0, 0], [80, 30], [100, 75]]
    assert there.within(points).tolist() == [[0, 0], [80, 30], [80, 30]]


def test_masks_of_objects_have_nothing_outside(posed: Path) -> None:
    images = opened(posed).with_masks()
    samples = JointSamples(
        images, Pipeline((), ("pad(20)", "random_view((140, 190), (0.5, 0.8))"), (3, 140, 190)), True
    )
    for target in samples.load(torch.arange(len(images)), 0).targets:
        masks: Tensor = target["masks"]
        around = [mask.nonzero() for mask in masks]
        for place, box in zip(around, target["boxes"], strict=True):
            assert (place.amin(0).flip(0) >= box[:2] - 1).all() and (place.amax(0).flip(0) <= box[2:] + 1).all()
