"""Formats of boxes: conversion among all loses nothing, and what is wrong is named with file and object."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from foveal.data.boxset import BoxSet
from foveal.data.convert import convert
from foveal.data.doctor import diagnose
from foveal.data.formats import boxes_csv, coco, labelme, voc, yolo
from foveal.data.open import detect, open_data, readable
from foveal.data.outlines import OutlineError, Runs, packed, rasterised, runs
from foveal.errors import FovealError

FORMATS = {"voc": voc, "coco": coco, "yolo": yolo, "boxes_csv": boxes_csv, "labelme": labelme}


def content(images: BoxSet) -> list[Any]:
    """What a set says, whatever the order: pixels, and of each object class and sides to a hundredth of a pixel."""
    rows = []
    for i, found in enumerate(images.objects):
        boxes = [(images.classes[k], *b) for k, b in zip(found.labels.tolist(), found.boxes.tolist(), strict=True)]
        rounded = sorted((name, *(round(side, 2) for side in box)) for name, *box in boxes)
        rows.append((images.load(i).contiguous().numpy().tobytes(), rounded))
    return sorted(rows)


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(FORMATS, 2)])
def test_conversion_keeps_every_box(source: str, target: str, tmp_path: Path) -> None:
    FORMATS[source].example(tmp_path / "a")
    assert detect(tmp_path / "a") is FORMATS[source]
    done = convert(tmp_path / "a", tmp_path / "b", target)
    assert done.counts == {"train": 8, "test": 6}
    for split in done.counts:
        before, after = open_data(tmp_path / "a", split), open_data(tmp_path / "b", split)
        assert isinstance(before, BoxSet) and isinstance(after, BoxSet)
        lost = [name for name, why in done.skipped if "difficult" in why and Path(name).name.startswith(split)]
        assert before.classes == after.classes == ("corner", "flower", "roof")
        assert int(before.counts.sum() - after.counts.sum()) == len(lost)
        if not lost:
            assert content(before) == content(after)
    assert all("has no place there" in why for _, why in done.skipped)


def test_a_set_without_splits_is_cut_by_seed(tmp_path: Path) -> None:
    voc.example(tmp_path)
    shutil.rmtree(tmp_path / "ImageSets")
    parts = {split: open_data(tmp_path, split) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [10, 2, 2]
    assert len({part.name(i) for part in parts.values() for i in range(len(part))}) == 14
    again = open_data(tmp_path, "test")
    assert [again.name(i) for i in range(2)] == [parts["test"].name(i) for i in range(2)]


def test_other_task_is_refused(tmp_path: Path) -> None:
    voc.example(tmp_path)
    with pytest.raises(FovealError, match="holds boxes, and classes of images are wanted"):
        open_data(tmp_path, task="classify")
    with pytest.raises(FovealError, match="holds boxes"):
        convert(tmp_path, tmp_path / "b", "folder")


def change(file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(file.read_text())
    edit(data)
    file.write_text(json.dumps(data))


COCO_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "inverted": (lambda d: d["annotations"][1].update(bbox=[50, 50, -10, 5]), r"object 2 .* is inverted"),
    "outside": (lambda d: d["annotations"][1].update(bbox=[900, 50, 10, 5]), r"object 2 .* lies outside the 150 x 100"),
    "not finite": (lambda d: d["annotations"][1].update(bbox=[1, float("nan"), 10, 5]), r"annotation 2: .*4 numbers"),
    "huge number": (lambda d: d["annotations"][1].update(bbox=[10**400, 1, 10, 5]), r"annotation 2: "),
    "not a list": (lambda d: d["annotations"][1].update(bbox="box"), r"annotation 2: 'box' is no list of 4 numbers"),
    "unknown class": (lambda d: d["annotations"][1].update(category_id=77), r"object 2 \('category 77'\) is of an"),
    "annotation twice": (lambda d: d["annotations"][1].update(id=1), r"two annotations have the id 1"),
    "image twice": (lambda d: d["images"][1].update(id=1), r"two images have the id 1"),
    "category twice": (lambda d: d["categories"][1].update(id=1), r"two categories have the id 1"),
    "unlisted image": (lambda d: d["annotations"][1].update(image_id=99), r"annotation 2 is of image 99"),
    "missing picture": (lambda d: d["images"][0].update(file_name="gone.png"), r"image 1: there is no picture .*gone"),
    "path outside": (lambda d: d["images"][0].update(file_name="../../etc/passwd"), r"stay below the folder"),
    "far polygon": (lambda d: d["annotations"][1].update(segmentation=[[0, 0, 1e12, 0, 9, 9]]), "far outside any"),
    "a short polygon": (lambda d: d["annotations"][1].update(segmentation=[[0, 0, 1, 1]]), "at least three points"),
    "huge run lengths": (
        lambda d: d["annotations"][1].update(segmentation={"size": [60000, 60000], "counts": [0, 3_600_000_000]}),
        r"annotation 2: its run lengths are of \[60000, 60000\]",
    ),
    "wrong sum": (
        lambda d: d["annotations"][1].update(segmentation={"size": [100, 150], "counts": [5, 10**18]}),
        r"annotation 2: its run lengths cover",
    ),
    "bad letters": (
        lambda d: d["annotations"][1].update(segmentation={"size": [100, 150], "counts": "\u1234"}),
        r"annotation 2: its run lengths hold the letter",
    ),
    "no categories": (lambda d: d.pop("categories"), r"has no list 'categories'"),
    "crowd": (lambda d: d["annotations"][1].update(iscrowd=7), r"annotation 2: 'iscrowd' is 7"),
}  # fmt: skip


@pytest.mark.parametrize("name", COCO_FAULTS)
def test_faults_of_coco_are_named(name: str, tmp_path: Path) -> None:
    edit, message = COCO_FAULTS[name]
    coco.example(tmp_path)
    file = tmp_path / "annotations/instances_train.json"
    change(file, edit)
    with pytest.raises(FovealError, match=message) as caught:
        open_data(tmp_path, "train")
    assert str(tmp_path) in caught.value.what and caught.value.mend


def test_deep_and_broken_json(tmp_path: Path) -> None:
    coco.example(tmp_path)
    for text in ("[" * 200_000, "{", "[1]", "\xff", '{"images": ' + "9" * 5000 + "}"):
        (tmp_path / "annotations/instances_train.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(FovealError, match=r"instances_train\.json"):
            open_data(tmp_path, "train")


def voc_file(root: Path) -> Path:
    return root / "Annotations/train_roof_20.xml"


def swap(old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        text = voc_file(root).read_text()
        assert old in text
        voc_file(root).write_text(text.replace(old, new, 1))

    return edit


VOC_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "inverted": (swap("<xmin>6</xmin>", "<xmin>600</xmin>"), r"train_roof_20\.xml: object 1 \('roof'\): .* inverted"),
    "no number": (swap("<xmin>6</xmin>", "<xmin>six</xmin>"), r"train_roof_20\.xml: the box of object 1"),
    "no XML": (lambda root: voc_file(root).write_text("<annotation>"), r"train_roof_20\.xml: is no XML"),
    "entities": (
        lambda root: voc_file(root).write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'),
        r"train_roof_20\.xml: declares",
    ),
    "no annotation": (lambda root: voc_file(root).unlink(), r"train_roof_20\.xml: there is no such file"),
    "no picture": (lambda root: (root / "JPEGImages/train_roof_20.png").unlink(), r"train_roof_20\.xml has no picture"),
    "unknown class": (
        lambda root: (root / "classes.txt").write_text("flower\ncorner\n"),
        r"object 1 \('roof'\) is of an unknown class",
    ),
}


@pytest.mark.parametrize("name", VOC_FAULTS)
def test_faults_of_voc_are_named(name: str, tmp_path: Path) -> None:
    edit, message = VOC_FAULTS[name]
    voc.example(tmp_path)
    edit(tmp_path)
    with pytest.raises(FovealError, match=message):
        open_data(tmp_path, "train")


def test_faults_of_text_files_are_named(tmp_path: Path) -> None:
    for name, line, message in (
        ("a", "0 0.5 0.5 0.2", "line 1: 4 numbers"),
        ("b", "0 0.5 0.5 0.2 x", "line 1: .* is no list of numbers"),
        ("c", "9 0.5 0.5 0.2 0.2", r"'number 9'\) is of an unknown class"),
        ("d", "0 nan 0.5 0.2 0.2", "holds no plain numbers"),
        ("e", "0 1.5 0.5 0.2 0.2", "lies outside the 145 x 95 image"),
    ):
        yolo.example(tmp_path / name)
        (tmp_path / name / "labels/train/train_roof_20.txt").write_text(line)
        with pytest.raises(FovealError, match=message) as caught:
            open_data(tmp_path / name, "train")
        assert "train_roof_20.txt" in caught.value.what
    (tmp_path / "a/labels/train/train_roof_20.txt").unlink()
    with pytest.warns(UserWarning, match=r"train_roof_20\.png has no text file: taken as without objects"):
        open_data(tmp_path / "a", "train")
    (tmp_path / "a/labels/train/other.txt").write_text("")
    with pytest.raises(FovealError, match=r"other\.txt has no picture"):
        open_data(tmp_path / "a", "train")


YAML = (
    "names: [corner, 'flower', \"roof\"]",
    "names:\n  - corner\n  - flower # two\n  - roof\nnc: 3",
    "nc: 3\nnames: ['corner',\n  'flower', 'roof']",
    "names:\n  0: corner\n  1: flower\n  2: roof",
)


@pytest.mark.parametrize("names", YAML)
def test_names_of_classes_in_yaml(names: str, tmp_path: Path) -> None:
    yolo.example(tmp_path)
    (tmp_path / "data.yaml").write_text(f"train: images/train\n{names}\n")
    assert open_data(tmp_path).classes == ("corner", "flower", "roof")


def test_boxes_are_cut_and_empty_ones_left_out_with_a_warning(tmp_path: Path) -> None:
    coco.example(tmp_path)
    change(tmp_path / "annotations/instances_train.json", lambda d: d["annotations"][0].update(bbox=[-20, 10, 60, 30]))
    change(tmp_path / "annotations/instances_train.json", lambda d: d["annotations"][1].update(bbox=[5, 5, 0, 9]))
    with pytest.warns(UserWarning, match=r"object 1 .* sticks out .* object 2 .* has no area, and is left out"):
        images = open_data(tmp_path)
    assert isinstance(images, BoxSet)
    assert images.objects[0].boxes.tolist() == [[0, 10, 40, 40]] and images.objects[0].ids == ("1",)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    coco.example(tmp_path)
    Image.new("RGB", (100, 150)).save(tmp_path / "images/train/train_roof_0.png")
    with pytest.raises(FovealError, match=r"train_roof_0\.png: the image is 100 x 150, its annotation says 150 x 100"):
        readable(open_data(tmp_path))


def test_the_doctor_names_every_fault(tmp_path: Path) -> None:
    coco.example(tmp_path)

    def spoil(data: dict[str, Any]) -> None:
        rows = data["annotations"]
        rows[0].update(bbox=[-20, 10, 60, 30])
        rows[1].update(bbox=[5, 5, 0, 9])
        rows[2].update(bbox=[9, 9, -3, 4])
        rows[3].update(bbox=[900, 9, 3, 4])
        rows[4].update(category_id=9)
        rows[5].update(bbox=[5, 5, 2, 2])
        rows.append(rows[6] | {"id": 100})

    change(tmp_path / "annotations/instances_train.json", spoil)
    diagnosis = diagnose(tmp_path, near=False)
    found = {finding.kind: finding for finding in diagnosis.findings}
    for kind in ("overhang", "empty", "inverted", "outside", "class", "tiny", "duplicate"):
        assert f"box_{kind}" in found, kind
    assert not diagnosis.healthy and diagnosis.task == "detect" and diagnosis.images == 14
    assert "object 3" in found["box_inverted"].places[0] and "and 100" in found["box_duplicate"].places[0]
    assert "objects" in diagnosis.text()


def test_masks_are_drawn_from_polygons_and_runs(tmp_path: Path) -> None:
    coco.example(tmp_path)
    flat = np.zeros((100, 150), bool)
    flat[20:40, 30:90] = True
    lengths = np.diff(np.flatnonzero(np.concatenate(([True], np.diff(flat.T.ravel()), [True])))).tolist()
    file = tmp_path / "annotations/instances_train.json"
    change(file, lambda d: d["annotations"][0].update(segmentation=[[30, 20, 90, 20, 90, 40, 30, 40]], bbox=None))
    change(file, lambda d: d["annotations"][1].update(segmentation={"size": [100, 150], "counts": lengths}, iscrowd=1))
    images = open_data(tmp_path)
    assert isinstance(images, BoxSet)
    _, target = images.with_masks()[0]
    assert target["masks"].dtype == torch.bool and target["masks"].shape == (2, 100, 150)
    assert np.array_equal(target["masks"][0], flat) and np.array_equal(target["masks"][1], flat)
    assert target["boxes"][0].tolist() == [30, 20, 90, 40] and target["crowd"].tolist() == [False, True]
    convert(tmp_path, tmp_path / "again", "coco")
    again = open_data(tmp_path / "again")
    assert isinstance(again, BoxSet)
    assert torch.equal(again.with_masks()[0][1]["masks"], target["masks"])


def test_run_lengths_are_pycocotools() -> None:
    peer: Any = pytest.importorskip("pycocotools.mask")
    random = np.random.RandomState(0)
    for _ in range(20):
        height, width = random.randint(1, 60, 2).tolist()
        mask = np.asfortranarray(random.rand(height, width) < random.rand(), np.uint8)
        theirs = peer.encode(mask)
        ours = runs({"size": [height, width], "counts": theirs["counts"].decode()}, height, width)
        assert np.array_equal(rasterised(ours, torch.zeros(4), height, width), mask.astype(bool))
        assert packed(ours) == theirs["counts"].decode()
        assert isinstance(ours, Runs) and ours.counts[1::2].sum() == mask.sum()
    with pytest.raises(OutlineError, match="end in the middle"):
        runs({"size": [3, 3], "counts": "P"}, 3, 3)


def test_blood_cells(real_data: Callable[[str], Path]) -> None:
    root = real_data("bccd")
    with pytest.warns(UserWarning, match=r"BloodImage_00343\.xml: object 4 \('RBC'\).* has no area, and is left out"):
        train = open_data(root, "train")
    test = open_data(root, "test")
    assert isinstance(train, BoxSet) and isinstance(test, BoxSet)
    assert train.classes == ("Platelets", "RBC", "WBC")
    assert (len(train), len(test)) == (205, 72)
    assert train.counts.tolist() == [209, 2381, 214] and test.counts.tolist() == [69, 805, 71]
