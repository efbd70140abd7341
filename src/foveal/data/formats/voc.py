"""PASCAL VOC: Annotations/NAME.xml, JPEGImages/NAME.jpg and the splits in ImageSets/Main/train.txt, val.txt, test.txt.

Where there is no train.txt, trainval.txt is train; without any list the images are cut 70 % train, 15 % val, 15 % test,
the same way for the same seed. Pixels count from 1 in these files and a box holds its last pixel: a box 1, 1, 10, 10 is
0, 0, 10, 10 here. Classes are the names that occur, sorted, unless a `classes.txt` gives them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from foveal.data.boxset import BoxSet, Fault
from foveal.data.formats._boxes import (
    Entry,
    Page,
    box_samples,
    built,
    by_stem,
    cut,
    in_order,
    seen_classes,
    unique_stems,
)
from foveal.data.formats._common import SPLITS, check_split, read_classes, read_lines, write_classes
from foveal.data.formats._voc import read_annotation
from foveal.errors import FovealError

TASK = "detect"
FLAGS = ("difficult",)
_XML, _IMAGES, _LISTS = "Annotations", "JPEGImages", Path("ImageSets") / "Main"


def sniff(root: Path) -> bool:
    """A folder Annotations with XML files beside a folder JPEGImages."""
    return (root / _IMAGES).is_dir() and (root / _XML).is_dir() and any((root / _XML).glob("*.xml"))


def splits(root: Path) -> tuple[str, ...]:
    """The splits that are listed; all three without lists, for then the set is cut."""
    return in_order(_lists(root)) or SPLITS


def open(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """The images of a split in the order of its list. Raises FovealError, naming file and object, for what is wrong:
    a listed image without annotation or picture, XML that is none, a box that is inverted or outside."""
    return read(root, split, seed=seed).settled()


def read(root: Path, split: str, *, seed: int = 0) -> BoxSet:
    """As `open`, with what is wrong with single boxes among the set's `faults`."""
    check_split(root, split, splits(root))
    listed = _lists(root)
    pictures = by_stem(root / _IMAGES)
    files = {file.relative_to(root / _XML).with_suffix("").as_posix(): file for file in (root / _XML).rglob("*.xml")}
    names = {part: read_lines(file) for part, file in listed.items()} or {"": tuple(sorted(files))}
    pages = {part: [_page(root, line.split()[0], files, pictures) for line in lines] for part, lines in names.items()}
    classes = seen_classes((page for part in pages.values() for page in part), read_classes(root))
    extra = sorted(pictures.keys() - files.keys())
    unlabelled = [
        Fault(
            "no_annotation", "warning", f"{pictures[stem]} has no annotation, and is left out", "add one, or delete it"
        )
        for stem in extra
    ]
    if listed:
        return built(pages[split], classes, split, unlabelled)
    return cut(built(pages[""], classes, split, unlabelled), split, seed)


def write(sets: Mapping[str, BoxSet], root: Path) -> None:
    """Write pictures as they are, an XML file each, the splits' lists and classes.txt. Masks have no place here."""
    for folder in (_XML, _IMAGES, _LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    stems = iter(unique_stems([path for images in sets.values() for path in images.paths]))
    for split, images in sets.items():
        lines = []
        for i, path in enumerate(map(Path, images.paths)):
            stem = next(stems)
            lines.append(f"{stem}\n")
            file = shutil.copyfile(path, root / _IMAGES / f"{stem}{path.suffix.lower()}")
            tree = ElementTree.ElementTree(_element(images, i, Path(file).name))
            ElementTree.indent(tree, "\t")
            tree.write(root / _XML / f"{stem}.xml", encoding="utf-8")
        (root / _LISTS / f"{split}.txt").write_text("".join(lines), encoding="utf-8", newline="\n")
        write_classes(root, images.classes)


def example(root: Path) -> None:
    """Tiles of two real photographs with the boxes of what they show."""
    write(box_samples(root / "samples"), root)
    shutil.rmtree(root / "samples")


def _lists(root: Path) -> dict[str, Path]:
    files = {split: root / _LISTS / f"{split}.txt" for split in SPLITS}
    found = {split: file for split, file in files.items() if file.is_file()}
    both = root / _LISTS / "trainval.txt"
    if "train" not in found and both.is_file():
        found["train"] = both
    return found


def _page(root: Path, name: str, files: Mapping[str, Path], pictures: Mapping[str, str]) -> Page:
    if name not in files:
        mend = "add it, or take the name out of the list"
        raise FovealError(f"{root / _XML / name}.xml: there is no such file, but a list names it", mend)
    if name not in pictures:
        raise FovealError(f"{files[name]} has no picture {name} in {root / _IMAGES}", "add it, or take the file away")
    annotation = read_annotation(files[name])
    entries = [
        Entry(str(n), box.name, (box.left - 1, box.top - 1, box.right, box.bottom), difficult)
        for n, (box, difficult) in enumerate(zip(annotation.boxes, annotation.difficult, strict=True), 1)
    ]
    # Equal corners would be a box of one pixel in these files; what they are is a click by mistake
    flat = [box.left == box.right and box.top == box.bottom for box in annotation.boxes]
    entries = [e._replace(box=(*e.box[:2], *e.box[:2])) if empty else e for e, empty in zip(entries, flat, strict=True)]
    return Page(pictures[name], str(files[name]), annotation.size, entries)


def _element(images: BoxSet, i: int, file: str) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "folder").text = _IMAGES
    ElementTree.SubElement(root, "filename").text = file
    size = ElementTree.SubElement(root, "size")
    for name, value in zip(("width", "height", "depth"), (*images.sizes[i], 3), strict=True):
        ElementTree.SubElement(size, name).text = str(value)
    found = images.objects[i]
    for n, (left, top, right, bottom) in enumerate(found.boxes.tolist()):
        element = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(element, "name").text = images.classes[int(found.labels[n])]
        ElementTree.SubElement(element, "difficult").text = str(int(found.difficult[n]))
        box = ElementTree.SubElement(element, "bndbox")
        for side, value in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            ElementTree.SubElement(box, side).text = f"{value:.17g}"
    return root
