"""Wrong files: data, pictures, runs, checkpoints and disks. What is refused says why, and nothing is lost."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

SETTINGS = "length=1 batch_size=4 device=cpu"
TRAIN = f"train lenet5 {SETTINGS}"
Refused = Callable[..., Any]


class Hostile:
    """Makes a folder called `pwned` when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pwned",)


def bomb(file: Path) -> None:
    """A PNG of a hundred bytes whose header says 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


DATA = [
    ("train lenet5 data=fotos", "fotos: there is no such file or folder", "did you mean photos?"),
    ("data fotos", "fotos: there is no such file or folder", "did you mean photos?"),
    (
        "train lenet5 data=/no/where",
        "/no/where: there is no such file or folder",
        "check the path; 'digits' is the set that needs no files",
    ),
    ("evaluate run data=fotos", "fotos: there is no such file or folder", "did you mean photos?"),
    ("data convert fotos new --format csv", "fotos: there is no such file or folder", "did you mean photos?"),
    ("data convert photos run --format csv", "run: is there already", "name a new folder: nothing is overwritten"),
    (
        "data convert photos new --format cifar",
        "photos/cat/0.png: 32 × 32 grey, but cifar holds 32 × 32 colour images only",
        "choose format=folder or format=csv, which hold any picture",
    ),
    (
        "evaluate photos",
        "photos is not a run's folder: it has no recipe.json",
        "give the folder that `foveal train` printed, e.g. runs/lenet5_digits",
    ),
    (
        "predict rnu photos",
        "rnu does not exist",
        "give the folder that `foveal train` printed, e.g. runs/lenet5_digits",
    ),
    (
        "evaluate run --split tset",
        "photos has no tset split",
        "it has train, val, test: choose split=test (in a shell --split test)",
    ),
    ("evaluate run --checkpoint bets", "checkpoint 'bets' is not known", "choose best, last, or a file of weights"),
    ("explain filters run --out f.xyz", "f.xyz: '.xyz' names no picture format", "call it *.png"),
    (
        "predict run gone.jpg",
        "gone.jpg: there is no such file or folder",
        "check the path; patterns may use *, ?, [abc] and **",
    ),
    (
        "predict run *.bmp",
        "*.bmp: matches no file",
        "check the path; patterns may use *, ?, [abc] and **",
    ),
    (
        "predict run run/best",
        "run/best: holds no picture",
        "give files called *.apng, *.avif, *.bmp, *.dib, *.gif, *.jfif, *.jpe, *.jpeg, *.jpg, *.pbm, *.pgm, *.png, "
        "*.pnm, *.ppm, *.tif, *.tiff, *.webp",
    ),
    (
        "train photos",
        "photos is neither a recipe nor a network nor a run's folder",
        "to train on its images: foveal train resnet18 data=photos",
    ),
    (
        f"{TRAIN} data=photos weights=gone.pt",
        "no weights at gone.pt",
        "give an existing file, a run's folder, or 'imagenet'",
    ),
    (
        f"{TRAIN} data=photos weights=photos",
        "photos is a folder without weights",
        "give a file, or a run's folder (it has best/ or last/)",
    ),
    (
        f"{TRAIN} data=photos weights=run options.output=linear",
        "run/best/weights.safetensors fits only in part, by names; 2 missing: output.weight, output.bias; "
        "1 not in the network: output.centres; by order: the file does not keep the order of its layers, and their "
        "shapes alone do not tell",
        "partial=True (--partial) loads the 13 tensors that fit and leaves the rest as initialised",
    ),
    (
        f"{TRAIN} data=photos lr=0.2 --out run",
        "run holds a run of another recipe: lr=0.05 there, 0.2 here",
        "choose another out=, or go on with that run: foveal train run",
    ),
    (f"{TRAIN} data=photos out=photos", "out=photos is not empty and not a run", "name a new folder"),
    (
        "train run lr=3",
        "lr was 0.05 when run began and cannot change",
        "start a new run; on resume only workers, cache, device, data, time_budget, strict may change",
    ),
    ("train run --quick", "run is a run, which goes on as it began: no quick", "leave quick away"),
]


@pytest.mark.parametrize(("words", "what", "mend"), DATA)
def test_paths(words: str, what: str, mend: str, refused: Refused, place: Path) -> None:
    assert not refused(words, what, mend).out


def test_sets_that_cannot_be_trained(refused: Refused, pictures: Callable[..., Path], copy: Path) -> None:
    (copy / "empty").mkdir()
    refused(f"{TRAIN} data=empty", "empty: the folder is empty", "put a folder of images for each class into it")
    pictures(copy / "one", ["cat"])
    refused(f"{TRAIN} data=one", "one: one class only (cat)", "a recogniser needs two: add a folder of others")
    pictures(copy / "few", count=2)
    message = "few: class 'cat' has 2 images, too few for train, val and test"
    refused(f"{TRAIN} data=few", message, "add images (3 at least), or make the splits yourself")
    shutil.copytree("photos", "hollow")
    (copy / "hollow" / "zebra").mkdir()
    message = "hollow/zebra: the class folder holds no picture (it is empty)"
    refused(
        f"{TRAIN} data=hollow", message, "add images (.apng, .avif, .bmp, .dib, .gif, .jfif, …) or remove the folder"
    )
    message = (
        "photos/cat: images lie in the folder itself (8), so nothing says their class "
        "(tried: boxes_csv, cifar, cityscapes, coco, csv, digits, idx, ilsvrc, labelme, masks, olivetti, voc, "
        "voc_masks, yolo, folder)"
    )
    refused(
        f"{TRAIN} data=photos/cat", message, "put them into one folder per class, or list them in a table path,label"
    )
    Path("list.csv").write_text("file,class\na.png,cat\n")
    refused(f"{TRAIN} data=list.csv", "list.csv: has no column 'path' (it has: file, class)", "see: path,label,split")
    assert not Path("runs").exists()


def test_classes_that_differ(refused: Refused, pictures: Callable[..., Path], copy: Path) -> None:
    pictures(copy / "lacking" / "train")
    pictures(copy / "lacking" / "test", ["cat", "dog"])
    message = "lacking: class 'owl' is in train and not in test"
    refused(f"{TRAIN} data=lacking", message, "add test images, or rename the class")
    pictures(copy / "more" / "train", ["cat", "dog"])
    pictures(copy / "more" / "test", ["cat", "dog", "emu"])
    message = "more: class 'emu' is in test and not in train"
    refused(f"{TRAIN} data=more", message, "add training images, or rename the class")
    pictures(copy / "others", ["cat", "emu"])
    message = "others has class 'emu', which run was not trained to tell and lacks classes 'dog', 'owl'"
    refused("evaluate run data=others", message, "rename the classes to the run's, or take them out of the set")


def spoil(folder: Path) -> None:
    """Five pictures that cannot be read: truncated, empty, text, a bomb, a web page called .png."""
    whole = (folder / "cat" / "1.png").read_bytes()
    (folder / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "2.png").write_bytes(b"")
    (folder / "dog" / "3.png").write_text("hello")
    bomb(folder / "dog" / "4.png")
    (folder / "owl" / "1.png").write_text("<!DOCTYPE html>")


SPOILT = {
    "cat/1.png": "the file is truncated",
    "cat/2.png": "the file is empty",
    "dog/3.png": "is no picture (it starts with b'hello')",
    "dog/4.png": "100000 × 100000 pixels are more than the limit of 178,000,000",
    "owl/1.png": "is text or HTML",
}


def test_unreadable_pictures_are_listed_and_skipped(foveal: Callable[..., Any], copy: Path) -> None:
    spoil(copy / "photos")
    result = foveal(*TRAIN.split(), "data=photos", "--out", "new")
    assert result.status == 0
    assert "; unreadable and skipped: 5\n" in result.out
    for name, reason in SPOILT.items():
        assert f"skipped photos/{name}: {reason}\n" in result.out
    listed = json.loads(Path("new/data.json").read_text())["skipped"]
    assert {tuple(pair) for pair in listed} == {(f"photos/{name}", reason) for name, reason in SPOILT.items()}


def test_strict_refuses_unreadable_pictures_before_the_run(refused: Refused, copy: Path) -> None:
    spoil(copy / "photos")
    message = "5 of 18 images cannot be read: photos/cat/1.png: the file is truncated (and 4 more)"
    mend = "mend or delete them; without strict they are skipped"
    refused(f"{TRAIN} data=photos --strict --out new", message, mend)
    refused(f"{TRAIN} data=photos strict=true --out new", message, mend)
    assert not Path("new").exists()


def test_a_class_of_which_nothing_can_be_read(refused: Refused, copy: Path) -> None:
    for file in (copy / "photos" / "owl").iterdir():
        file.write_bytes(b"")
    message = "no image of class 'owl' in the train split can be read, as photos/owl/0.png: the file is empty"
    refused(f"{TRAIN} data=photos", message, "mend the files, or take the class out of the set")


def test_converting_lists_what_it_leaves_out(foveal: Callable[..., Any], copy: Path) -> None:
    spoil(copy / "photos")
    result = foveal(*["data", "convert", "photos", "new", "--format", "csv"])
    assert result.status == 0
    listed = [f"left out photos/{name}: {reason}" for name, reason in SPOILT.items()]
    assert sorted(result.err.splitlines()) == sorted(listed)


def test_predicting_unreadable_pictures(foveal: Callable[..., Any], refused: Refused, copy: Path) -> None:
    spoil(copy / "photos")
    shutil.copyfile("photos/dog/3.png", "text.jpg")
    some = foveal("predict", "run", "text.jpg", "photos/dog/4.png", "photos/cat/0.png")
    assert some.status == 0
    told = [f"text.jpg: not read: {SPOILT['dog/3.png']}", f"photos/dog/4.png: not read: {SPOILT['dog/4.png']}"]
    assert some.out.splitlines()[:2] == told
    assert some.out.splitlines()[2].startswith("photos/cat/0.png: ")
    none = refused("predict run text.jpg", "no picture could be read (of 1)", "the lines above say why, file by file")
    assert none.out.splitlines() == told[:1]
    message = f"text.jpg: {SPOILT['dog/3.png']}"
    refused("predict run text.jpg --strict", message, "convert it to JPEG or PNG, or take it out of the set")
    message = f"photos/dog/4.png: {SPOILT['dog/4.png']}"
    refused(
        "predict run photos/dog/4.png --strict",
        message,
        "a decompression bomb? If it is a picture of yours, make it smaller",
    )


def test_weights_that_would_execute_code(refused: Refused, copy: Path) -> None:
    torch.save({"state_dict": Hostile()}, "evil.pt")
    Path("evil.pkl").write_bytes(pickle.dumps(Hostile(), protocol=2))
    export = "save the weights alone where you trust the file: torch.save(model.state_dict(), 'weights.pt')"
    reason = f"opening it would run or build '{os.mkdir.__module__}.mkdir', and weights are only tensors"
    for file in ("evil.pt", "evil.pkl"):
        refused(f"{TRAIN} data=photos weights={file} --out new", f"{file} is refused: {reason}", export)
    Path("text.pt").write_text("hello")
    message = "text.pt is neither safetensors nor PyTorch (it starts with b'hello')"
    refused(f"{TRAIN} data=photos --weights text.pt --out new", message, export)
    whole = Path("run/last/weights.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:-100])
    message = (
        "cut.safetensors is damaged: Error while deserializing header: incomplete metadata, file not fully covered"
    )
    refused(f"{TRAIN} data=photos weights=cut.safetensors --out new", message, "download or copy it again")
    assert not Path("pwned").exists()
    assert not Path("new").exists()


def test_a_warning_is_one_line_and_said_once(foveal: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [cell]\n")
    for name in ("a", "b"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"images/train/{name}.png")
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    found = foveal("data", "convert", tmp_path, tmp_path / "new", "--format", "coco")
    assert found.status == 0
    warned = [line for line in found.err.splitlines() if "b.png" in line]
    assert len(warned) == 1 and warned[0].startswith("foveal: warning: ") and "has no text file" in warned[0]
    assert "UserWarning" not in found.err
