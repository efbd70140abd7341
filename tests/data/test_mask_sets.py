"""Sets of images with masks: formats, what is wrong with them named by file and value, the doctor, conversion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from foveal.data.contact_sheet import contact_sheet
from foveal.data.convert import convert
from foveal.data.doctor import diagnose
from foveal.data.formats import cityscapes, coco, labelme, masks, voc_masks
from foveal.data.masks import MaskSet
from foveal.data.open import data_splits, detect, open_data, readable
from foveal.data.scan import open_all
from foveal.errors import FovealError
from foveal.types import IGNORED


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    masks.example(tmp_path / "squares")
    return tmp_path / "squares"


def painted_over(file: Path, value: int | tuple[int, int, int]) -> None:
    """One pixel of a mask gets another value, or the whole mask becomes one in colours."""
    with Image.open(file) as image:
        values = np.array(image)
    if isinstance(value, tuple) and values.ndim == 2:
        values = np.stack([values] * 3, 2)
    values[3, 4] = value
    Image.fromarray(values).save(file)


def smaller(file: Path) -> None:
    with Image.open(file) as image:
        image.resize((16, 12), Image.Resampling.NEAREST).save(file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            lambda root: painted_over(root / "train/masks/1.png", 9),
            r"train/masks/1\.png: value 9, but the 2 classes are",
        ),
        (lambda root: painted_over(root / "train/masks/1.png", (9, 9, 9)), r"masks/1\.png: a mask in colours"),
        (lambda root: smaller(root / "train/masks/2.png"), r"masks/2\.png: the mask is 16 x 12, its image 32 x 24"),
        (lambda root: (root / "train/masks/0.png").write_bytes(b"no"), r"masks/0\.png: the mask cannot be read"),
        (lambda root: (root / "train/masks/0.png").unlink(), r"images/0\.png has no mask"),
        (lambda root: (root / "train/images/0.png").unlink(), r"masks/0\.png has no image"),
        (lambda root: (root / "classes.txt").unlink(), "neither classes.txt nor colours.txt"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_value(squares: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(squares)
    with pytest.raises(FovealError, match=said):
        readable(open_data(squares, "train", task="segment"))


def test_colours_are_a_table_of_classes(squares: Path) -> None:
    (squares / "classes.txt").rename(squares / "colours.txt")
    (squares / "colours.txt").write_text("0 0 0 ground\n1 1 1 square\n9 9 9 void\n", encoding="utf-8")
    painted_over(squares / "train/masks/0.png", (9, 9, 9))
    found = open_data(squares, "train", task="segment")
    assert found.classes == ("ground", "square") and int(found.target(0)[3, 4]) == IGNORED
    painted_over(squares / "train/masks/0.png", (7, 8, 9))
    with pytest.raises(FovealError, match=r"0\.png: colour \(7, 8, 9\) is that of no class"):
        found.target(0)


def test_the_doctor_lists_all_that_is_wrong(squares: Path) -> None:
    painted_over(squares / "train/masks/1.png", 9)
    smaller(squares / "test/masks/2.png")
    (squares / "test/masks/0.png").unlink()
    (squares / "train/masks/extra.png").write_bytes((squares / "train/masks/0.png").read_bytes())
    told = diagnose(squares, near=False)
    found = {finding.kind: finding for finding in told.findings}
    assert not told.healthy and told.task == "segment" and told.counts["train"] == {"ground": 2, "square": 2}
    assert found["mask"].places[0].startswith("train/masks/1.png: value 9")
    assert found["mask_size"].places == ("test/masks/2.png: 16 x 12, its image 32 x 24",)
    assert found["no_mask"].places == ("test/images/0.png has no mask",)
    assert found["no_image"].places == ("train/masks/extra.png has no image",)
    assert any(line.startswith("square: ") for line in found["pixel_shares"].places)
    assert "cannot be used" in told.text()


def test_a_sound_set_has_no_errors(squares: Path) -> None:
    assert diagnose(squares, near=False).healthy


def test_the_contact_sheet_shows_masks(squares: Path) -> None:
    sets = open_all(squares)[1]
    sheet = np.asarray(contact_sheet(sets, samples=2)).astype(int)
    colourful = (sheet.max(2) - sheet.min(2)) > 60
    assert colourful.sum() > 5000


@pytest.mark.parametrize("module", [voc_masks, cityscapes])
def test_known_layouts(tmp_path: Path, module: object) -> None:
    root = tmp_path / "set"
    module.example(root)  # type: ignore[attr-defined]
    assert detect(root) is module
    found = open_data(root, "train", task="segment")
    assert isinstance(found, MaskSet) and len(found) == 3
    assert torch.equal(found.target(0).as_subclass(Tensor).unique(), torch.tensor([0, 1], dtype=torch.uint8))
    assert not readable(found)[1]


def test_voc_has_the_challenges_colours(tmp_path: Path) -> None:
    voc_masks.example(tmp_path)
    with Image.open(next((tmp_path / "SegmentationClass").glob("*.png"))) as mask:
        assert mask.mode == "P" and mask.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
    (tmp_path / "classes.txt").unlink()
    assert voc_masks.open(tmp_path, "train").classes[15] == "person"
    (tmp_path / "SegmentationClass").joinpath("0.png").unlink(missing_ok=True)
    name = (tmp_path / "ImageSets/Segmentation/train.txt").read_text().split()[0]
    (tmp_path / "SegmentationClass" / f"{name}.png").unlink(missing_ok=True)
    with pytest.raises(FovealError, match=rf"{name} is missing, but .*train\.txt names it"):
        voc_masks.open(tmp_path, "train")


def test_cityscapes_numbers_become_classes(tmp_path: Path) -> None:
    cityscapes.example(tmp_path)
    file = next((tmp_path / "gtFine/val").rglob("*.png"))
    with Image.open(file) as image:
        values = np.array(image)
    assert sorted(np.unique(values)) == [7, 8]
    values[0, :3] = (33, 1, 0)
    Image.fromarray(values).save(file)
    found = cityscapes.open(tmp_path, "val")
    assert found.target(found.masks.index(str(file)))[0, :3].tolist() == [18, IGNORED, IGNORED]
    assert found.classes[18] == "bicycle" and data_splits(tmp_path) == ("train", "val")


def _triangles(root: Path) -> None:
    """Each box of an example becomes the triangle of its lower left half."""
    for file in root.rglob("*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        for row in data.get("annotations", []):
            x, y, width, height = row["bbox"]
            row["segmentation"] = [[x, y, x, y + height, x + width, y + height]]
        for shape in data.get("shapes", []):
            (x1, y1), (x2, y2) = shape["points"]
            shape |= {"shape_type": "polygon", "points": [[x1, y1], [x1, y2], [x2, y2]]}
        file.write_text(json.dumps(data), encoding="utf-8")


@pytest.mark.parametrize("module", [coco, labelme])
def test_outlines_become_masks(tmp_path: Path, module: object) -> None:
    module.example(tmp_path)  # type: ignore[attr-defined]
    _triangles(tmp_path)
    boxes = open_data(tmp_path, "train", task="detect")
    found = open_data(tmp_path, "train", task="segment")
    assert found.classes == ("background", *boxes.classes)
    image, mask = found[0]
    assert mask.shape == image.shape[-2:] and not readable(found)[1]
    assert set(mask.unique().tolist()) <= {0, *(int(n) + 1 for n in boxes.objects[0].labels)}
    one = next(i for i in range(len(boxes)) if len(boxes.objects[i]) == 1)
    left, top, right, bottom = boxes.objects[one].boxes[0].tolist()
    area = int((found.target(one) > 0).sum())
    assert area == pytest.approx((right - left) * (bottom - top) / 2, rel=0.05)


def test_a_box_without_outline_is_refused(tmp_path: Path) -> None:
    coco.example(tmp_path)
    for file in (tmp_path / "annotations").glob("*.json"):
        data = json.loads(file.read_text(encoding="utf-8"))
        for row in data["annotations"]:
            row.pop("segmentation", None)
        file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FovealError, match=r"object .* has a box and no outline"):
        open_data(tmp_path, "train", task="segment")


def test_masks_convert_into_one_another(squares: Path, tmp_path: Path) -> None:
    convert(squares, tmp_path / "voc", "voc_masks")
    convert(tmp_path / "voc", tmp_path / "back", "masks")
    before, after = (open_data(root, "test", task="segment") for root in (squares, tmp_path / "back"))
    for i in range(len(before)):
        assert all(torch.equal(a, b) for a, b in zip(before[i], after[i], strict=True))
    with pytest.raises(FovealError, match="are not those of Cityscapes"):
        convert(squares, tmp_path / "city", "cityscapes")


def test_camvid(real_data: Callable[[str], Path]) -> None:
    root = real_data("camvid")
    found = open_data(root, "val", task="segment")
    assert len(found) == 101 and len(found.classes) == 11 and found.target(0).shape == (360, 480)
