"""The five formats: what they open, what they refuse, and that conversion between them loses nothing."""

import gzip
import itertools
import os
import pickle
import struct
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import fetch_olivetti_faces

from foveal.data.convert import convert
from foveal.data.dataset import ArraySet, FileSet, ImageSet
from foveal.data.formats import cifar, csv, digits, folder, idx, olivetti
from foveal.data.open import data_splits, detect, open_data
from foveal.errors import FovealError

FORMATS = [digits, idx, cifar, folder, csv]
TRIPLE = ("train", "val", "test")


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(value).randint(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)
    return path


def content(images: ImageSet) -> list[tuple[str, bytes]]:
    """What a set says, whatever the order of its samples: class name and pixels of each."""
    samples = (images[i] for i in range(len(images)))
    return sorted((images.classes[label], image.contiguous().numpy().tobytes()) for image, label in samples)


def arrays(
    classes: tuple[str, ...], shape: tuple[int, ...], split: str, count: int = 12, levels: int = 256
) -> ArraySet:
    random = np.random.RandomState(len(split))
    pixels = np.rint(random.randint(0, levels, (count, *shape)) * 255 / (levels - 1))
    return ArraySet(torch.from_numpy(pixels.astype(np.uint8)), torch.arange(count) % len(classes), classes, split)


@pytest.mark.parametrize("module", FORMATS)
def test_example_is_detected_and_survives_writing(module, tmp_path: Path) -> None:
    module.example(tmp_path / "a")
    assert detect(tmp_path / "a") is module
    assert module.splits(tmp_path / "a") == ("train", "test")
    first = {split: open_data(tmp_path / "a", split) for split in ("train", "test")}
    module.write(first, tmp_path / "b")
    for split, images in first.items():
        again = module.open(tmp_path / "b", split)
        assert again.classes == images.classes
        assert again.split == split
        assert torch.equal(again.labels, images.labels)
        assert int(images.labels.bincount().min()) >= 3
        for i in range(len(images)):
            assert torch.equal(again[i][0], images[i][0])
            assert again[i][1] == images[i][1]
            assert images[i][0].float().std() > 1  # real pictures
        assert content(pickle.loads(pickle.dumps(again))) == content(images)  # noqa: S301 (loader workers do this)


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(["digits", "idx", "folder", "csv"], 2)])
def test_grey_conversions_lose_nothing(source: str, target: str, tmp_path: Path) -> None:
    sets = {split: arrays(("zero", "b/c", "Aa"), (1, 8, 8), split, levels=17) for split in TRIPLE}
    {m.__name__.rpartition(".")[2]: m for m in FORMATS}[source].write(sets, tmp_path / "a")
    done = convert(tmp_path / "a", tmp_path / "b", target)
    assert done.counts == dict.fromkeys(TRIPLE, 12)
    assert data_splits(tmp_path / "b") == TRIPLE
    for split in TRIPLE:
        again = open_data(tmp_path / "b", split)
        assert again.classes == ("zero", "b/c", "Aa")
        assert content(again) == content(sets[split])


@pytest.mark.parametrize(("source", "target"), [*itertools.permutations(["cifar", "folder", "csv"], 2)])
def test_colour_conversions_lose_nothing(source: str, target: str, tmp_path: Path) -> None:
    sets = {split: arrays(("b", "a", "d", "c"), (3, 32, 32), split) for split in TRIPLE}
    {m.__name__.rpartition(".")[2]: m for m in FORMATS}[source].write(sets, tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b", target)
    for split in TRIPLE:
        again = open_data(tmp_path / "b", split)
        assert again.classes == ("b", "a", "d", "c")
        assert content(again) == content(sets[split])


def test_files_keep_their_bytes(tmp_path: Path) -> None:
    for split, name, i in itertools.product(("train", "test"), ("a", "b"), range(3)):
        picture(tmp_path / "jpegs" / split / name / f"{i}.JPG", i)
    convert(tmp_path / "jpegs", tmp_path / "list", "csv")
    before, after = open_data(tmp_path / "jpegs"), open_data(tmp_path / "list")
    assert isinstance(before, FileSet)
    assert isinstance(after, FileSet)
    assert [Path(p).read_bytes() for p in before.paths] == [Path(p).read_bytes() for p in after.paths]


def test_embedded_digits() -> None:
    train, test = open_data("digits", "train"), open_data("digits", "test")
    assert (len(train), len(test)) == (1438, 359)
    assert train[0][0].shape == (1, 8, 8)
    assert train.images.max() == 255  # type: ignore[attr-defined]
    names = {images.name(i) for images in (train, test) for i in range(len(images))}
    assert len(names) == 1797
    share = test.labels.bincount() / (train.labels.bincount() + test.labels.bincount())
    assert (share - 0.2).abs().max() < 0.02
    assert torch.equal(open_data("digits", "test", seed=0).labels, test.labels)
    assert not torch.equal(open_data("digits", "test", seed=1).images, test.images)  # type: ignore[attr-defined]
    with pytest.raises(FovealError, match="no val split"):
        open_data("digits", "val")
    with pytest.raises(FovealError, match="unknown split 'tset'"):
        open_data("digits", "tset")


@pytest.mark.parametrize("line", ["1,2,3", ",".join(["17"] + ["0"] * 64), ",".join(["0"] * 64 + ["x"])])
def test_digits_text_names_the_line(line: str, tmp_path: Path) -> None:
    digits.example(tmp_path)
    with (tmp_path / "optdigits.tra").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(FovealError, match=r"optdigits\.tra, line 13: is not 64 numbers"):
        open_data(tmp_path)


def write_idx(file: Path, array: np.ndarray) -> None:
    data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)


@pytest.mark.parametrize("place", ["", "raw"])
@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_names_as_they_occur(place: str, joint: str, suffix: str, tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (6, 5, 4)).astype(np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / place / f"{prefix}-images{joint}idx3-ubyte{suffix}", pixels)
        write_idx(tmp_path / place / f"{prefix}-labels{joint}idx1-ubyte{suffix}", labels)
    found = open_data(tmp_path, "test")
    assert found.classes == ("0", "1", "2")
    assert np.array_equal(found.images[:, 0], pixels)  # type: ignore[attr-defined]
    (tmp_path / place / "classes.txt").write_text("T-shirt/top\nTrouser\nPullover\n")
    assert open_data(tmp_path, "test").classes == ("T-shirt/top", "Trouser", "Pullover")
    (tmp_path / place / "classes.txt").write_text("T-shirt/top\nTrouser\n")
    with pytest.raises(FovealError, match="label 2, but there are 2 classes"):
        open_data(tmp_path, "test")


def test_damaged_idx(tmp_path: Path) -> None:
    idx.example(tmp_path)
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte.gz"
    whole, table = images.read_bytes(), gzip.decompress(labels.read_bytes())
    for data, reason in [
        (whole[:-60], "damaged|fewer"),
        (whole[:40] + bytes([whole[40] ^ 255]) + whole[41:], "damaged"),
        (b"no gzip at all", "damaged"),
        (gzip.compress(gzip.decompress(whole) + b"x"), "more than"),
        (gzip.compress(gzip.decompress(whole)[:-1]), "fewer than"),
        (gzip.compress(b"\x00\x00\x08\x01" + bytes(20)), "no idx file"),
        (gzip.compress(b"\x00\x00\x08\x03" + b"\xff" * 12), "too short"),
    ]:
        images.write_bytes(data)
        with pytest.raises(FovealError, match=reason) as caught:
            open_data(tmp_path)
        assert str(images) in caught.value.what
    images.write_bytes(whole)
    labels.write_bytes(gzip.compress(table[:7] + bytes([11]) + table[8:-1]))
    with pytest.raises(FovealError, match="12 images, but 11 labels"):
        open_data(tmp_path)
    labels.unlink()
    with pytest.raises(FovealError, match=r"train-labels-idx1-ubyte.* is missing"):
        open_data(tmp_path)


def test_idx_and_cifar_and_digits_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    colour = {"train": arrays(("a", "b"), (3, 32, 32), "train")}
    grey = {"train": arrays(("a", "b"), (1, 32, 32), "train")}
    small = {"train": arrays(("a", "b"), (3, 31, 32), "train")}
    with pytest.raises(FovealError, match="colour, but idx holds"):
        idx.write(colour, tmp_path)
    for sets in (grey, small):
        with pytest.raises(FovealError, match="but cifar holds 32 × 32 colour images only") as caught:
            cifar.write(sets, tmp_path)
        assert "memory[0]" in caught.value.what
    with pytest.raises(FovealError, match="but digits holds 8 × 8 grey"):
        digits.write(grey, tmp_path)
    with pytest.raises(FovealError, match="17 levels"):
        digits.write({"train": arrays(("a", "b"), (1, 8, 8), "train")}, tmp_path)
    picture(tmp_path / "mixed" / "a" / "1.png")
    Image.new("L", (9, 8)).save(picture(tmp_path / "mixed" / "b" / "2.png"))
    Image.new("L", (8, 8)).save(tmp_path / "mixed" / "a" / "1.png")
    mixed = FileSet([tmp_path / "mixed/a/1.png", tmp_path / "mixed/b/2.png"], torch.tensor([0, 1]), ("a", "b"), "train")
    with pytest.raises(FovealError, match=r"2\.png: 9 × 8 grey, but idx holds 8 × 8 grey"):
        idx.write({"train": mixed}, tmp_path / "out")


def cifar_python(root: Path, hundred: bool, protocol: int = 2) -> tuple[np.ndarray, list[int]]:
    images = np.random.RandomState(0).randint(0, 256, (20, 3072)).astype(np.uint8)
    labels = [i % 2 for i in range(20)]
    key, names = (b"fine_labels", b"fine_label_names") if hundred else (b"labels", b"label_names")
    files = {"train": slice(0, 20), "test": slice(0, 4)} if hundred else {
        **{f"data_batch_{i + 1}": slice(4 * i, 4 * i + 4) for i in range(5)}, "test_batch": slice(0, 4)}  # fmt: skip
    root.mkdir(parents=True)
    for name, part in files.items():
        batch = {b"batch_label": name.encode(), key: labels[part], b"data": images[part], b"filenames": [b"x.png"] * 4}
        batch[b"coarse_labels"] = [9] * len(labels[part])
        (root / name).write_bytes(pickle.dumps(batch, protocol))
    (root / ("meta" if hundred else "batches.meta")).write_bytes(pickle.dumps({names: [b"apple", b"bear"]}, protocol))
    return images, labels


@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_cifar_python_versions(hundred: bool, nested: bool, tmp_path: Path) -> None:
    root = tmp_path / "set"
    usual = "cifar-100-python" if hundred else "cifar-10-batches-py"
    images, labels = cifar_python(root / usual if nested else root, hundred)
    assert detect(root) is cifar
    assert data_splits(root) == ("train", "test")
    train = open_data(root, "train")
    assert train.classes == ("apple", "bear")
    assert train.labels.tolist() == labels
    assert np.array_equal(train.images.flatten(1), images)  # type: ignore[attr-defined]
    assert len(open_data(root, "test")) == 4


def test_cifar_python_that_is_wrong(tmp_path: Path) -> None:
    root = tmp_path / "set"
    cifar_python(root, hundred=False)
    (root / "data_batch_3").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    with pytest.raises(FovealError, match=r"data_batch_3: this pickle asks for os\.system"):
        open_data(root)
    (root / "data_batch_3").write_bytes(pickle.dumps({b"data": np.zeros((4, 3072), np.int32), b"labels": [0] * 4}, 2))
    with pytest.raises(FovealError, match="not uint8"):
        open_data(root)
    (root / "data_batch_3").write_bytes(pickle.dumps({b"data": np.zeros((4, 3072), np.uint8), b"labels": [0] * 3}, 2))
    with pytest.raises(FovealError, match="4 images, but 'labels'"):
        open_data(root)
    (root / "data_batch_3").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(FovealError, match="has no 'data'"):
        open_data(root)


def test_cifar_100_binary_has_fine_labels(tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (6, 3072)).astype(np.uint8)
    labels = np.array([[9, i % 3] for i in range(6)], np.uint8)
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(np.hstack([labels, pixels]).tobytes())
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\nbaby\n\n")
    found = open_data(tmp_path)
    assert found.classes == ("apple", "aquarium_fish", "baby")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(found.images.flatten(1), pixels)  # type: ignore[attr-defined]
    (tmp_path / "train.bin").write_bytes(bytes(3000))
    with pytest.raises(FovealError, match=r"train\.bin: 3,000 bytes are not a whole number of records"):
        open_data(tmp_path)


def test_cifar_writes_batches_of_ten_thousand(tmp_path: Path) -> None:
    pixels = torch.zeros(10_001, 3, 32, 32, dtype=torch.uint8)
    sets = {"train": ArraySet(pixels, torch.arange(10_001) % 2, ("a", "b"), "train")}
    cifar.write(sets, tmp_path)
    assert (tmp_path / "data_batch_1.bin").stat().st_size == 10_000 * 3073
    assert torch.equal(open_data(tmp_path).labels, sets["train"].labels)


SETS = {"mnist": (60_000, (1, 28, 28)), "fashion": (60_000, (1, 28, 28)), "cifar10": (50_000, (3, 32, 32))}


@pytest.mark.skipif("FOVEAL_DATA" not in os.environ, reason="FOVEAL_DATA names no folder with the real sets")
@pytest.mark.parametrize("name", SETS)
def test_real_sets_open_fast(name: str) -> None:
    count, shape = SETS[name]
    root = Path(os.environ["FOVEAL_DATA"]) / name
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    start = time.perf_counter()
    train = open_data(root, "train")
    assert time.perf_counter() - start < 5
    assert train.images.shape == (count, *shape)  # type: ignore[attr-defined]
    assert len(open_data(root, "test")) == 10_000
    if name != "mnist":
        assert set(train.labels.bincount().tolist()) == {count // 10}
    else:
        assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_olivetti_is_what_scikit_learn_reads(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (400, 4096)).astype(kind)
    faces.flat[:2] = 0, 255  # scikit-learn stretches what it finds
    joblib.dump(faces, tmp_path / "olivetti_py3.pkz", compress=6)
    theirs = fetch_olivetti_faces(data_home=tmp_path, download_if_missing=False)
    seen = 0
    for split in olivetti.splits(tmp_path):
        ours = open_data(tmp_path, split)
        numbers = [int(ours.name(i).rpartition("[")[2][:-1]) for i in range(len(ours))]
        assert ours.labels.tolist() == theirs.target[numbers].tolist()
        images = torch.stack([ours[i][0] for i in range(len(ours))])[:, 0]
        np.testing.assert_array_equal(images.numpy(), (theirs.images[numbers] * 255).round())
        seen += len(ours)
    assert seen == 400 and ours.classes[0] == "s1" and len(ours.classes) == 40


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / "pwned"),)


@pytest.mark.parametrize("array", [np.zeros((25, 4096)), np.zeros((400, 4095)), np.full((20, 4096), 0.5), "code"])
def test_olivetti_refuses_other_arrays_and_runs_nothing(tmp_path: Path, array: Any) -> None:
    joblib.dump(Hostile(tmp_path) if isinstance(array, str) else array, tmp_path / "olivetti.pkz", compress=3)
    with pytest.raises(FovealError, match=r"olivetti.pkz (is damaged|holds other numbers)"):
        olivetti.open(tmp_path, "train")
    assert not (tmp_path / "pwned").exists()
