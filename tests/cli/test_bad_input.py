"""Wrong words: names, settings, shapes and notation. Each gives two lines that say what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TRAIN = "train lenet5 data=photos length=1 batch_size=4 device=cpu"

NAMES = [
    ("train lenet6", "unknown recipe or network 'lenet6'", "did you mean lenet5 or "),
    ("train resnet20_cifar11", "unknown recipe or network 'resnet20_cifar11'", "did you mean resnet20_cifar10 or "),
    ("recipes lenet5_mnits", "unknown recipe or network 'lenet5_mnits'", "did you mean lenet5_mnist or "),
    ("show vgg15", "unknown model 'vgg15'", "did you mean vgg1"),
    ("check lenet6", "unknown model 'lenet6'", "did you mean lenet5 or "),
    ("train zzz", "unknown recipe or network 'zzz'", "`foveal recipes` and `foveal models` list them\n"),
    ("explain filters zzz", "unknown model 'zzz'", "`foveal models` lists the networks\n"),
    ("explain filtres run", "unknown explanation 'filtres'", "did you mean filters?\n"),
    ("explain filters run colums=3", "unknown option of filters 'colums'", "did you mean columns?\n"),
    ("show resnet34 shortcutt=A", "unknown option of resnet34 'shortcutt'", "did you mean shortcut?\n"),
    ("show resnet34 shortcut=D", "unknown shortcut 'D'", "known: A, B, C\n"),
    ("evaluate run --protocol centre_crop", "unknown protocol 'centre_crop'", "did you mean center_crop or ten_crop"),
    ("evaluate run --protocol dense(scale=8)", "unknown option of dense 'scale'", "did you mean scales?\n"),
    ("evaluate run --protocol ten_crop(", "protocol 'ten_crop(': the bracket is not closed", "write name("),
    ("evaluate run --protocol ten_crop(8)", "protocol 'ten_crop(8)': 8 has no name", "write ten_crop(option=value)"),
    ("evaluate data=photos", "no run was named", "give the folder that `foveal train` printed"),
    ("evaluate run dta=photos", "unknown setting of evaluate 'dta'", "did you mean data?\n"),
    ("data convert photos new --format cvs", "unknown format 'cvs'", "did you mean csv?\n"),
    ("train lenet5 dta=photos", "unknown setting 'dta'", "did you mean data?\n"),
    (f"{TRAIN} optimizer=sdg", "unknown optimizer 'sdg'", "did you mean sgd?\n"),
    (f"{TRAIN} schedule=cosin", "unknown schedule 'cosin'", "did you mean cosine?\n"),
    (f"{TRAIN} precision=float8", "unknown precision 'float8'", "did you mean float32 or float16 or bfloat16?\n"),
    (f"{TRAIN} augment=flipp", "unknown transform 'flipp'", "did you mean flip?\n"),
    (f"{TRAIN} prepare=resize_exact(8,hight=8)", "unknown option of resize_exact 'hight'", "did you mean height?\n"),
    (f"{TRAIN} options.outptu=rbf", "unknown option of lenet5 'outptu'", "did you mean output?\n"),
    (f"{TRAIN} options.output=soft", "unknown output of lenet5 'soft'", "known: linear, rbf\n"),
]


@pytest.mark.parametrize(("words", "what", "mend"), NAMES)
def test_unknown_names(words: str, what: str, mend: str, foveal: Callable[..., Any], place: Path) -> None:
    result = foveal(*words.split())
    assert result.status == 2
    assert result.err.startswith(f"foveal: {what}\n{mend}")
    assert result.err.count("\n") == 2
    assert not result.out


SETTINGS = [
    ("lr=abc", "setting lr=abc is not a number above 0", "lr: peak learning rate"),
    ("lr=inf", "setting lr=inf is not a number above 0", "lr: peak learning rate"),
    ("lr=0", "setting lr=0 is not a number above 0", "lr: peak learning rate"),
    (
        "batch_size=0",
        "setting batch_size=0 is not a whole number above 0",
        "batch_size: images per update, over all processes",
    ),
    ("length=1.5", "setting length=1.5 is not a whole number above 0", "length: training length, in units"),
    (
        "momentum=1",
        "setting momentum=1 is not a number of at least 0 and below 1",
        "momentum: momentum of SGD, first beta of AdamW, memory of RMSprop",
    ),
    (
        "workers=-1",
        "setting workers=-1 is not a whole number of at least 0, or auto",
        "workers: processes that decode images",
    ),
    (
        "workers=two",
        "setting workers=two is not a whole number of at least 0, or auto",
        "workers: processes that decode images",
    ),
    ("cache=maybe", "setting cache=maybe is not true, false or auto", "cache: keep prepared images in memory"),
    (
        "nesterov=perhaps",
        "setting nesterov=perhaps is not true or false",
        "nesterov: Nesterov's momentum",
    ),
    (
        "input=3x32x32",
        "setting input=3x32x32 is not three whole numbers, such as 3,224,224",
        "input: channels, height, width that the network sees",
    ),
    (
        "milestones=3,x",
        "setting milestones=3,x is not whole numbers with commas between",
        "milestones: when 'step' multiplies the rate by gamma, in units",
    ),
    ("options=3", "setting options=3 is not options.NAME=VALUE", "options: keyword options of the network's function"),
    ("data=", "setting data= is not a path", "data: path of the images, or 'digits'"),
    (
        "name=../x",
        "setting name=../x is not a name without slashes",
        "name: name of the recipe, also the stem of the run's folder",
    ),
    ("mean=1,2", "mean has 2 values for 1 channels", "give mean one value for all channels, or one each"),
    ("std=0", "std=0 cannot divide", "give the spread of the pixels, above 0"),
    ("schedule=step", "schedule=step needs milestones", "set them in units, as milestones=30,60"),
    ("warmup=9", "warmup=9 leaves nothing of length=1", "set a shorter warmup or a greater length"),
    (
        "accumulate=3",
        "batch_size=4 cannot be cut into accumulate=3 equal parts",
        "choose an accumulate that divides batch_size",
    ),
    ("momentum=0", "nesterov=true needs a momentum above 0", "set momentum=0.9, for example"),
    (
        "options.num_classes=4",
        "options.num_classes: the data decide how many classes there are",
        "leave it away",
    ),
    (
        "label_smoothing=0.1",
        "label_smoothing=0.1: LeNet5 is trained on an objective of its own",
        "set label_smoothing=0, or choose an output that is trained on the cross-entropy",
    ),
    ("precision=float16", "precision=float16 on cpu", "it needs CUDA; set precision=bfloat16 or auto"),
    ("device=gpu", "device=gpu is not known", "choose auto, cpu, cuda, cuda:N or mps"),
    ("lr", "'lr' is no setting", "settings are written key=value, for example lr=0.05"),
    ("quick=true", "quick=true: quick is no setting", "write --quick"),
    ("console=x", "console=x: console is no setting", "leave it away"),
    ("out=", "out= names no folder", "write out=FOLDER, or leave it away for runs/NAME-N"),
    ("out=a --out b", "out=a and --out b name two folders", "give one of them"),
    (
        "--seeds 2 seed=3",
        "seed=3 cannot be given with several seeds",
        "leave it away: the seeds are [0, 1]",
    ),
    (
        "options={} options.output=rbf",
        "options is given both whole and by its parts",
        "write options.NAME=VALUE for each part",
    ),
    (
        "prepare=resize_exact(8",
        "transform 'resize_exact(8': the bracket is not closed",
        "write name(value, option=value)",
    ),
    (
        "prepare=resize_exact(x)",
        "transform 'resize_exact(x)' cannot be read",
        "write name(value, option=value) with numbers, texts and lists",
    ),
    ("prepare=os:system('false')", "'os:system' is no transform", "name a class of transforms (a torch.nn.Module)"),
    (
        "prepare=resize_exact(20,20)",
        "photos/cat/7.png: the transforms leave an image of 20x20, smaller than the network's 32x32",
        "add resize(32), resize_exact(32, 32) or pad(…) to prepare",
    ),
    (
        "--seeds 2 --out x",
        "--out x names one folder, and --seeds 2 makes 2 runs",
        "leave --out away: each run gets a folder of its own, runs/NAME-N",
    ),
    (
        "--seeds 0",
        "Invalid value for '--seeds': Input should be greater than or equal to 1",
        "`foveal train --help` shows what it takes",
    ),
    ("--frob", "No such option: --frob", "`foveal train --help` shows what it takes"),
]


@pytest.mark.parametrize(("setting", "what", "mend"), SETTINGS)
def test_settings(setting: str, what: str, mend: str, refused: Callable[..., Any], place: Path) -> None:
    quoted = f'"{setting}"' if "'" in setting or "(" in setting else setting
    assert not refused(f"{TRAIN} augment=flip {quoted}", what, mend).out


def test_a_device_that_is_not_there(refused: Callable[..., Any], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = ("device=cuda: this machine, or this torch, has none", "set device=auto or device=cpu")
    refused(f"{TRAIN} device=cuda", *message)


SHAPES = [
    (
        "show vgg16 --input abc",
        "'abc' is no input shape",
        "write channels x height x width, for example 3x224x224",
    ),
    (
        "show vgg16 --input 3x20x20",
        "layer 'pool5' (MaxPool2d) looks through 2x2 and is given 512x1x1",
        "the network was given an input of 3x20x20: choose another size",
    ),
    (
        "show resnet18 --input 1x64x64",
        "layer 'conv1' (Conv2d) takes 3 channels and is given 1x64x64",
        "the network was given an input of 1x64x64: choose another size",
    ),
    (
        "show run --input 1x8x8",
        "layer 'C3' (TableConv2d) looks through 5x5 and is given 6x2x2",
        "the network was given an input of 1x8x8: choose another size",
    ),
    (
        f"{TRAIN} input=1,8,8 prepare='resize_exact(8,8)'",
        "layer 'C3' (TableConv2d) looks through 5x5 and is given 6x2x2",
        "the network was given an input of 1x8x8: choose another size",
    ),
    (
        "show os.path:join",
        "no paper says the input of 'os.path:join'",
        "give it: --input 3x224x224, or input=(3, 224, 224)",
    ),
    (
        "show os.path:join --input 3x8x8",
        "os.path:join() fails: TypeError: join() missing 1 required positional argument: 'a'",
        "give options of the right type, or mend the function; --debug shows where",
    ),
    (
        "show lenet5 num_classes=abc",
        "num_classes=abc: a network needs at least one class",
        "give a whole number",
    ),
    (
        "check nopackage:net",
        "cannot import 'nopackage' for the model 'nopackage:net': No module named 'nopackage'",
        "is it installed, or does PYTHONPATH name its folder?",
    ),
    ("check os.path:joi", "unknown model in os.path 'joi'", "did you mean join?"),
    ("frob", "No such command 'frob'", "`foveal --help` shows what it takes"),
    ("predict run", "Missing argument 'files'", "`foveal predict --help` shows what it takes"),
    (
        "data photos run",
        "unexpected run after photos",
        "foveal data takes one path at a time",
    ),
    (
        "data convert photos new",
        "convert needs a source, a destination and a format",
        "foveal data convert SOURCE DESTINATION --format FORMAT, with FORMAT one of boxes_csv, cifar, cityscapes, "
        "coco, csv, digits, folder, idx, ilsvrc, labelme, masks, olivetti, voc, voc_masks, yolo",
    ),
]


@pytest.mark.parametrize(("words", "what", "mend"), SHAPES)
def test_networks_and_shapes(words: str, what: str, mend: str, refused: Callable[..., Any], place: Path) -> None:
    assert not refused(words, what, mend).out


def test_a_module_that_fails_while_it_is_imported(
    refused: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfdone.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    refused(
        "check halfdone:net",
        "cannot import 'halfdone' for the model 'halfdone:net': ZeroDivisionError: division by zero",
        "mend that file; the same command with --debug shows where",
    )


NOTATION = [
    (
        "11-4Conv96 (ReLU) → Norn → FC10",
        "3x227x227",
        [
            "'Norn' is not a layer",
            "  11-4Conv96 (ReLU) → Norn → FC10",
            "                      ^^^^",
            "did you mean Norm?",
        ],
    ),
    (
        "11-4Conv96 → FC10",
        "3x5x5",
        [
            "11-4Conv96 looks at 11 positions; the maps here are 5x5",
            "  11-4Conv96 → FC10",
            "  ^^^^^^^^^^",
            "give a larger input, more padding or fewer poolings",
        ],
    ),
    (
        "[3-1Conv8 → FC10",
        "3x8x8",
        ["this bracket is never closed", "  [3-1Conv8 → FC10", "  ^", "write [A → B]x3"],
    ),
    (
        "FC10 → 3-1Conv8",
        "3x8x8",
        [
            "3-1Conv8 needs maps, and here is a vector of 10",
            "  FC10 → 3-1Conv8",
            "         ^^^^^^^^",
            "put it before the FC",
        ],
    ),
]


@pytest.mark.parametrize(("text", "shape", "lines"), NOTATION)
def test_notation_shows_the_place(text: str, shape: str, lines: list[str], foveal: Callable[..., Any]) -> None:
    result = foveal("build", text, "--input", shape)
    assert result.status == 2
    assert result.err.splitlines() == [f"foveal: {lines[0]}", *lines[1:]]


@pytest.mark.parametrize("words", [("--debug", "show", "vgg15"), ("show", "vgg15", "--debug"), ("frob", "--debug")])
def test_debug_shows_the_traceback(words: tuple[str, ...], foveal: Callable[..., Any]) -> None:
    result = foveal(*words)
    assert result.status == 2
    assert result.err.startswith("Traceback (most recent call last)")


def test_a_fault_of_ours_is_told_apart(foveal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.graph.table.show", lambda *_: 1 / 0)
    result = foveal("show", "vgg16")
    assert result.status == 1
    assert result.err.splitlines() == [
        "foveal: internal error: ZeroDivisionError: division by zero",
        "This is a fault of foveal; the same command with --debug shows where.",
    ]
