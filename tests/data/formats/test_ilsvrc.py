"""The challenge's layout, with every ground truth that it comes with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from foveal.data.convert import convert
from foveal.data.dataset import FileSet
from foveal.data.doctor import diagnose
from foveal.data.formats import folder, ilsvrc
from foveal.data.open import data_splits, detect, open_data
from foveal.errors import FovealError

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
TENCH, SHARK, DOG = "n01440764", "n01491361", "n02110341"
SYNSETS = (TENCH, SHARK, DOG)
TRUTH = (DOG, TENCH, SHARK, DOG, TENCH)  # of validation images 1 to 5
NUMBERS = {"3": TENCH, "1": SHARK, "2": DOG}  # the challenge's, in an order of its own
WORDS = {TENCH: "tench, Tinca tinca", SHARK: "tiger shark, Galeocerdo cuvieri", DOG: "dalmatian, coach dog"}
CLASSES = ("tench (n01440764)", "tiger shark (n01491361)", "dalmatian (n02110341)")


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(sum(file.name.encode())).randint(0, 256, (12, 10, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")


def images(root: Path) -> Path:
    for synset in SYNSETS:
        for number in (3, 10026):
            picture(root / "train" / synset / f"{synset}_{number}.JPEG")
    for number in range(1, len(TRUTH) + 1):
        picture(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    return root


def xml(file: Path, synset: str, *boxes: tuple[int, int, int, int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{synset}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>"
        "</object>"
        for a, b, c, d in boxes
    )
    file.write_text(f"<annotation><folder>val</folder>{objects}</annotation>")


def devkit(root: Path, place: str = "") -> None:
    numbers = {synset: number for number, synset in NUMBERS.items()}
    (root / place).mkdir(parents=True, exist_ok=True)
    truth = "".join(f"{numbers[synset]}\n" for synset in TRUTH)
    (root / place / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


def with_map(root: Path) -> None:
    devkit(root)
    lines = [
        f"{synset} {number} {WORDS[synset].partition(',')[0].replace(' ', '_')}" for number, synset in NUMBERS.items()
    ]
    (root / "map_clsloc.txt").write_text("\n".join(lines))
    (root / "synset_words.txt").write_text("".join(f"{synset} {words}\n" for synset, words in WORDS.items()))


def with_meta(root: Path) -> None:
    place = "ILSVRC2012_devkit_t12/data"
    devkit(root, place)
    rows = [(number, synset, WORDS[synset], np.array([], int)) for number, synset in NUMBERS.items()]
    rows += [("4", "n01471682", "vertebrate, craniate", np.array([1, 2, 3]))]
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O")]
    table = np.array([(int(number), *rest) for number, *rest in rows], dtype=kind).reshape(-1, 1)
    savemat(root / place / "meta.mat", {"synsets": table})


def with_solution(root: Path) -> None:
    rows = [f"ILSVRC2012_val_{i:08d},{synset} 1 2 8 9 {synset} 1 1 2 2 " for i, synset in enumerate(TRUTH, 1)]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(reversed(rows)))
    (root / "LOC_synset_mapping.txt").write_text("".join(f"{synset} {words}\n" for synset, words in WORDS.items()))


def with_labels(root: Path) -> None:
    (root / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(TRUTH))
    (root / "words.txt").write_text("".join(f"{synset}\t{words}\n" for synset, words in WORDS.items()))


def with_annotations(root: Path) -> None:
    for i, synset in enumerate(TRUTH, 1):
        xml(root / "Annotations" / "CLS-LOC" / "val" / f"ILSVRC2012_val_{i:08d}.xml", synset, (1, 2, 8, 9))
    (root / "synset_words.txt").write_text("".join(f"{synset} {words}\n" for synset, words in WORDS.items()))


@pytest.mark.parametrize("truth", [with_map, with_meta, with_solution, with_labels, with_annotations])
def test_every_ground_truth_says_the_same(truth: Callable[[Path], None], tmp_path: Path) -> None:
    truth(images(tmp_path))
    assert detect(tmp_path) is ilsvrc and data_splits(tmp_path) == ("train", "val")
    train, val = open_data(tmp_path, "train"), open_data(tmp_path, "val")
    assert train.classes == val.classes == CLASSES
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [val.classes[label] for label in val.labels] == [CLASSES[SYNSETS.index(synset)] for synset in TRUTH]
    assert isinstance(val, FileSet) and val.ignored == 0
    assert [Path(path).name[-13:-5] for path in val.paths] == [f"{i:08d}" for i in range(1, 6)]


@pytest.mark.parametrize("below", ["Data/CLS-LOC", "ILSVRC/Data/CLS-LOC"])
def test_the_layout_of_the_later_archives(below: str, tmp_path: Path) -> None:
    images(tmp_path / below)
    with_solution(tmp_path)
    assert detect(tmp_path) is ilsvrc
    assert open_data(tmp_path, "val").labels.tolist() == [2, 0, 1, 2, 0]


def test_a_part_of_the_validation_images_keeps_its_numbers(tmp_path: Path) -> None:
    with_labels(images(tmp_path))
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    assert open_data(tmp_path, "val").labels.tolist() == [2, 1, 2, 0]


def test_without_words_the_synset_is_the_name(tmp_path: Path) -> None:
    with_labels(images(tmp_path))
    (tmp_path / "words.txt").unlink()
    assert open_data(tmp_path).classes == SYNSETS


def test_class_folders_in_val_are_the_format_folder(tmp_path: Path) -> None:
    """The layout that most training scripts want, with or without the challenge's lists beside it."""
    for split in ("train", "val"):
        for synset in SYNSETS:
            picture(tmp_path / split / synset / f"{synset}_1.JPEG")
    assert detect(tmp_path) is folder and open_data(tmp_path, "val").classes == SYNSETS
    with_solution(tmp_path)
    devkit(tmp_path)
    assert detect(tmp_path) is folder


@pytest.mark.parametrize("names", [("cat", "dog"), ("n123", "n4567")])
def test_other_folders_are_not_taken(names: tuple[str, str], tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in names:
            picture(tmp_path / split / name / "a.jpg")
    picture(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    assert not ilsvrc.sniff(tmp_path) and detect(tmp_path) is folder


def spoiled(root: Path, change: Callable[[Path], object]) -> None:
    with_map(images(root))
    change(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / GROUND_TRUTH).unlink(), "nothing says the classes of its images"),
        (lambda r: (r / "map_clsloc.txt").unlink(), "holds numbers that nothing explains"),
        (lambda r: (r / GROUND_TRUTH).write_text("1\n2\n7\n1\n2"), "line 3: no class has the number '7'"),
        (lambda r: (r / GROUND_TRUTH).write_text("1\n2\n"), "does not tell its class"),
        (lambda r: (r / "map_clsloc.txt").write_text("tench 1 tench\n"), "line 1: 'tench' is no synset"),
        (lambda r: (r / "synset_words.txt").write_text("tench\n"), "line 1: 'tench' is not a synset and its words"),
        (lambda r: (r / "LOC_val_solution.csv").write_text("ImageId,x\na,b\n"), "line 2: is not an image and its"),
        (lambda r: [f.unlink() for f in (r / "train" / DOG).iterdir()], "the class folder holds no picture"),
        (lambda r: [f.rename(r / f.name) for f in [r / "train" / DOG]], "class 'n02110341' is in val and not in train"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(change: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    spoiled(tmp_path, change)
    with pytest.raises(FovealError) as error:
        for split in ("train", "val"):
            open_data(tmp_path, split)
    assert message in str(error.value)


def test_a_damaged_meta_is_named(tmp_path: Path) -> None:
    with_meta(images(tmp_path))
    (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file" * 20)
    with pytest.raises(FovealError, match=r"meta\.mat: is not the challenge's table of synsets"):
        open_data(tmp_path, "val")


def test_boxes_of_train_and_val(tmp_path: Path) -> None:
    with_annotations(images(tmp_path))
    base = tmp_path / "Annotations" / "CLS-LOC"
    xml(base / "train" / DOG / f"{DOG}_3.xml", DOG, (0, 0, 5, 5), (2, 3, 9, 11))
    train, val = open_data(tmp_path, "train"), open_data(tmp_path, "val")
    assert isinstance(train, FileSet) and isinstance(val, FileSet)
    found = ilsvrc.boxes(tmp_path, train)
    assert [len(one) for one in found] == [0, 0, 0, 0, 0, 2]  # …_10026 sorts before …_3
    assert found[5][1] == (DOG, 2, 3, 9, 11)
    assert [one[0].name for one in ilsvrc.boxes(tmp_path, val)] == list(TRUTH)
    assert ilsvrc.boxes(tmp_path, val.select([3]))[0][0].right == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no XML"),
        ("<annotation><object>", "is no XML"),
        ('<?xml version="1.0" encoding="nobody-knows"?><a/>', "is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', "declares a document type"),
        ("<a><object><name>x</name></object></a>", "the box of object 1"),
        ("<a><object><bndbox/></object></a>", "object 1 has no name"),
        ("<a>" + "<!-- a comment -->" + "x" * (4 << 20) + "</a>", "are no annotation"),
    ],
)
def test_a_bad_annotation_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(FovealError) as error:
        ilsvrc.read_boxes(tmp_path / "a.xml")
    assert message in str(error.value) and "a.xml" in str(error.value)


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 1, 9)])
def test_a_box_without_area_is_refused(box: tuple[int, int, int, int], tmp_path: Path) -> None:
    xml(tmp_path / "a.xml", DOG, (1, 1, 2, 2), box)
    with pytest.raises(FovealError, match="the box of object 2 has no area"):
        ilsvrc.read_boxes(tmp_path / "a.xml")


def test_writing_and_the_doctor(tmp_path: Path) -> None:
    with_map(images(tmp_path / "a"))
    first = {split: open_data(tmp_path / "a", split) for split in ("train", "val")}
    convert(tmp_path / "a", tmp_path / "b", "ilsvrc")
    for split, before in first.items():
        after = open_data(tmp_path / "b", split)
        assert after.classes == before.classes and after.labels.tolist() == before.labels.tolist()
        assert isinstance(before, FileSet) and isinstance(after, FileSet)
        assert [Path(p).read_bytes() for p in after.paths] == [Path(p).read_bytes() for p in before.paths]
    assert "3 classes" in diagnose(tmp_path / "b").text()
    convert(tmp_path / "a", tmp_path / "c", "folder")
    assert open_data(tmp_path / "c", "val").classes == CLASSES


def test_what_the_layout_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="holds train and val, no test"):
        ilsvrc.write({"test": open_data("digits", "test")}, tmp_path)
    with pytest.raises(FovealError, match="class '0' names no synset"):
        ilsvrc.write({"train": open_data("digits", "train")}, tmp_path)
