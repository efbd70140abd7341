"""`check_format`: does a dataset format recognise, open and write its own, and refuse everything else politely?"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from foveal import catalog
from foveal.contracts.report import Report, Rule, Skip, Violation, described, examine, listed
from foveal.data.dataset import ImageSet, VisionSet
from foveal.data.open import detect
from foveal.errors import FovealError

_FUNCTIONS = {
    "sniff": ["root"],
    "splits": ["root"],
    "open": ["root", "split", "seed"],
    "write": ["sets", "root"],
    "example": ["root"],
}
_SPLITS = ("train", "val", "test")
_NEAR = {"boxes": 1e-6, "area": 1e-3}  # relative; formats of shares round
_MOST = 12  # files that are damaged in turn


class Format:
    """A format's module, and a folder with its own example."""

    def __init__(self, module: ModuleType, folder: Path) -> None:
        self.module, self.folder = module, folder
        self.root = folder / "example"
        self.written = False
        self.task = str(getattr(module, "TASK", "classify"))

    def example(self) -> Path:
        """The example, written once."""
        if not self.written:
            self.root.mkdir()
            self.module.example(self.root)
            self.written = True
        return self.root

    def sets(self, root: Path | None = None, seed: int = 0) -> dict[str, VisionSet]:
        """Every split that is there."""
        root = root or self.example()
        return {split: self.module.open(root, split, seed=seed) for split in self.module.splits(root)}


def check_format(module: str | ModuleType) -> Report:
    """Examine a format: a module with sniff, splits, open, write and example; and TASK, if it is not of classes.

    module: a name of the catalogue, or the module itself. The example is written to a temporary folder.
    Raises FovealError only for a name that cannot be found; whatever else goes wrong is in the report.
    """
    found = catalog.module("format", module) if isinstance(module, str) else module
    with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
        return examine(Format(found, Path(folder)), found.__name__, _RULES)


def _functions(subject: Format) -> str:
    for name, wanted in _FUNCTIONS.items():
        function = getattr(subject.module, name, None)
        if not callable(function):
            raise Violation(f"there is no {name}({', '.join(wanted)})")
        if list(inspect.signature(function).parameters)[: len(wanted)] != wanted:
            raise Violation(f"{name}{inspect.signature(function)} should take ({', '.join(wanted)})")
    return ", ".join(_FUNCTIONS)


def _recognises(subject: Format) -> str:
    module = subject.module
    if not module.sniff(subject.example()):
        raise Violation("it does not recognise its own example")
    (other := subject.folder / "other").mkdir()
    (empty := subject.folder / "empty").mkdir()
    (other / "notes.txt").write_text("nothing to see\n", encoding="utf-8")
    for root in (other, empty, subject.folder / "absent", other / "notes.txt"):
        if module.sniff(root):
            raise Violation(f"it takes {root.name} for its own")
    if module.__name__ in {entry.module for entry in catalog.entries("format").values()}:
        taken = detect(subject.root)
        if taken is not module:
            raise Violation(f"its example is taken for {taken.__name__}")
    return "its example, and nothing else"


def _opens(subject: Format) -> str:
    sets = subject.sets()
    if not sets or [split for split in _SPLITS if split in sets] != list(sets):
        raise Violation(f"splits are {tuple(sets)}, not some of {_SPLITS} in this order")
    if len({images.classes for images in sets.values()}) > 1:
        raise Violation("the splits have different classes")
    for split, images in sets.items():
        _conforms(split, images, subject.task)
    counts = [f"{len(images)} {split}" for split, images in sets.items()]
    return f"{', '.join(counts)} images of {len(next(iter(sets.values())).classes)} classes"


def _conforms(split: str, images: VisionSet, task: str) -> None:
    if images.split != split or images.task != task or not isinstance(images.classes, tuple):
        raise Violation(f"split={images.split!r} task={images.task!r} classes={type(images.classes).__name__}")
    if not len(images):
        raise Violation(f"{split} has no image")
    if isinstance(images, ImageSet):
        _labels_conform(split, images)
    for i in range(len(images)):
        image, target = images[i]
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
            raise Violation(f"{images.name(i)} is {image.dtype} {list(image.shape)}, not uint8 [1 or 3, H, W]")
        _target_conforms(images, i, image, target)


def _labels_conform(split: str, images: ImageSet) -> None:
    labels = images.labels
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        raise Violation(f"labels of {split}: {labels.dtype} {list(labels.shape)} for {len(images)} images")
    if int(labels.min()) < 0 or int(labels.max()) >= len(images.classes):
        raise Violation(f"labels of {split} run from {int(labels.min())} to {int(labels.max())}")


def _target_conforms(images: VisionSet, i: int, image: Tensor, target: Any) -> None:
    if isinstance(images, ImageSet):
        if target != int(images.labels[i]):
            raise Violation(f"{images.name(i)} has label {target}, labels[{i}] is {int(images.labels[i])}")
    elif images.task == "segment":
        if not isinstance(target, tv_tensors.Mask) or target.shape != image.shape[-2:]:
            raise Violation(f"{images.name(i)}: the target is {type(target).__name__}, not a Mask of the image's size")
    else:
        boxes, labels = target["boxes"], target["labels"]
        if not isinstance(boxes, tv_tensors.BoundingBoxes) or boxes.canvas_size != tuple(image.shape[-2:]):
            raise Violation(f"{images.name(i)}: the boxes are no BoundingBoxes of the image's size")
        plain = boxes.as_subclass(Tensor)
        if plain.dtype != torch.float32 or any(len(value) != len(labels) for value in target.values()):
            raise Violation(f"{images.name(i)}: {plain.dtype} boxes, {[len(value) for value in target.values()]}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(images.classes):
            raise Violation(f"{images.name(i)}: labels {labels.tolist()}")
        height, width = image.shape[-2:]
        if (plain < 0).any() or (plain > torch.tensor([width, height, width, height])).any():
            raise Violation(f"{images.name(i)}: boxes outside the image")


def _names(subject: Format) -> str:
    names = [images.name(i) for images in subject.sets().values() for i in range(len(images))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Violation(f"two images are called {listed(twice)}")
    return f"{len(names)} names, all different"


def _seeds(subject: Format) -> str:
    first, second = subject.sets(seed=3), subject.sets(seed=3)
    for split in first:
        _equal(first[split], second[split], f"{split}, opened twice")
    return "one seed, one cut"


def _selects(subject: Format) -> str:
    images = next(iter(subject.sets().values()))
    order = list(range(len(images)))[::-2]
    chosen = images.select(order)
    if [chosen.name(i) for i in range(len(chosen))] != [images.name(i) for i in order]:
        raise Violation("select gives other images than asked for, or in another order")
    if chosen.classes != images.classes:
        raise Violation("select changes the classes")
    for i, place in enumerate(order):
        _same_target(chosen.target(i), images.target(place), f"{images.name(place)}, selected")
    return "any images in any order"


def _round_trip(subject: Format) -> str:
    before = subject.sets()
    target = subject.folder / "written"
    subject.module.write(before, target)
    after = subject.sets(target)
    if list(before) != list(after):
        raise Violation(f"written {tuple(before)}, read {tuple(after)}")
    for split in before:
        _equal(before[split], after[split], f"{split}, written and read")
    return "every pixel and label there and back"


def _unknown_split(subject: Format) -> str:
    try:
        subject.module.open(subject.example(), "holiday", seed=0)
    except FovealError as error:
        return f"refused: {error.what}"
    raise Violation("a split that does not exist is opened")


def _damage(subject: Format) -> str:
    """Each file in turn is emptied, cut in half, overwritten, lengthened: nothing but FovealError may be raised."""
    root = subject.example()
    files = sorted(file for file in root.rglob("*") if file.is_file())[:_MOST]
    refused = 0
    for file in files:
        whole = file.read_bytes()
        try:
            for content in _damaged(whole):
                file.write_bytes(content)
                try:
                    _read_all(subject)
                except FovealError:
                    refused += 1
                except Exception as error:  # the finding itself
                    raise Violation(f"{file.relative_to(root)}, damaged, raises {described(error)}") from error
        finally:
            file.write_bytes(whole)
    if not refused:
        raise Skip("no damage was noticed")
    return f"{refused} damaged files refused with a reason"


def _read_all(subject: Format) -> None:
    if subject.module.sniff(subject.root):
        for images in subject.sets().values():
            for i in range(len(images)):
                _ = images[i]


def _damaged(whole: bytes) -> Iterator[bytes]:
    yield b""
    yield whole[: len(whole) // 2]
    yield b"\xff" * len(whole)
    yield whole + b"more"


def _equal(a: VisionSet, b: VisionSet, how: str) -> None:
    if a.classes != b.classes:
        raise Violation(f"{how}: classes {listed(a.classes)} and {listed(b.classes)}")
    if len(a) != len(b):
        raise Violation(f"{how}: {len(a)} images and {len(b)}")
    for i in range(len(a)):
        (image, target), (other, its) = a[i], b[i]
        if not torch.equal(image, other):
            raise Violation(f"{how}: {a.name(i)} has other pixels")
        _same_target(target, its, f"{how}: {a.name(i)}")


def _same_target(a: Any, b: Any, how: str) -> None:
    """Raise Violation unless two targets agree: boxes within a hundredth of a pixel, everything else exactly."""
    if isinstance(a, dict):
        for key in a.keys() | b.keys():
            first, second = (torch.as_tensor(target[key]).as_subclass(Tensor) for target in (a, b))
            near = _NEAR.get(key, 0)
            same = first.shape == second.shape and torch.allclose(
                first.double(), second.double(), near, 0.01 * bool(near)
            )
            if not same:
                raise Violation(f"{how} has other {key}")
    elif isinstance(a, Tensor):
        if not torch.equal(a, b):
            raise Violation(f"{how} has another mask")
    elif a != b:
        raise Violation(f"{how} has another label")


_RULES: tuple[Rule[Format], ...] = (
    Rule(
        "functions",
        "foveal calls these five by name",
        "write sniff(root), splits(root), open(root, split, *, seed), write(sets, root) and example(root)",
        _functions,
    ),
    Rule(
        "recognises",
        "a set is opened by the format that knows it",
        "sniff looks for what only this format has, and answers False for anything else, missing paths included",
        _recognises,
    ),
    Rule(
        "opens",
        "all that follows takes a VisionSet as documented",
        "give ArraySet or FileSet uint8 images and one int64 label an image; or a MaskSet, or a BoxSet, and say TASK",
        _opens,
    ),
    Rule(
        "names", "messages must name one image", "give name(i) a text of its own for every image of every split", _names
    ),
    Rule(
        "seeds", "the same seed must give the same run", "cut with foveal.data.dataset.stratified and the seed", _seeds
    ),
    Rule(
        "selects", "splits, samples and --limit choose images", "keep order, labels and classes in select()", _selects
    ),
    Rule("round trip", "conversion must lose nothing", "write what open reads, without lossy compression", _round_trip),
    Rule(
        "unknown split",
        "a typo must not train on other images",
        "raise FovealError with the known splits",
        _unknown_split,
    ),
    Rule(
        "damage",
        "a damaged download must say which file is damaged",
        "check sizes and values while reading, and raise FovealError with the file's name",
        _damage,
    ),
)
