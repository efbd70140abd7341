"""The table: its rows, its totals and its looks."""

from __future__ import annotations

import json
import time

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.table import Row, show, table
from foveal.graph.windows import window
from foveal.notation import parse

LENET = "5-1Conv6 (Tanh) → 2-2AvgPool → 5-1Conv16 (Tanh) → 2-2AvgPool → FC10"


def test_it_looks_like_this() -> None:
    assert str(show(parse(LENET, (1, 32, 32)), (1, 33, 32))) == (
        """\
layer    kind          output  parameters  multiply-adds  stride  field  note
──────────────────────────────────────────────────────────────────────────────────
input                 1x33x32
conv1    5-1Conv6     6x29x28         156        121,800       1      5
tanh1    Tanh         6x29x28                                  1      5
pool1    2-2AvgPool   6x14x14                                  2      6  14.5 → 14
conv2    5-1Conv16   16x10x10       2,416        240,000       2     14
tanh2    Tanh        16x10x10                                  2     14
pool2    2-2AvgPool    16x5x5                                  4     16
flatten  Flatten          400                                        32
fc3      FC10              10       4,010          4,000             32
──────────────────────────────────────────────────────────────────────────────────
total                               6,582        365,800"""
    )


def test_strides_that_do_not_divide_are_noted() -> None:
    with torch.device("meta"):
        alexnet = parse("11-4Conv96 → 3-2MaxPool → 3-2MaxPool (Ceil)", (3, 224, 224))
    notes = [row.note for row in table(alexnet, (3, 224, 224))]
    assert notes == ["54.25 → 54", "26.5 → 26", "12.5 → 13"]
    assert not any(row.note for row in table(alexnet, (3, 227, 227)))


def test_rows_of_a_branching_network_and_unused_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.wide, self.auxiliary = (
                nn.Conv2d(1, 1, 3, padding=1),
                nn.Conv2d(1, 1, (1, 5), (1, 1), (0, 2)),
                nn.Linear(1, 2),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) + self.wide(x)

    shown = show(Net(), (1, 8, 8))
    assert shown.rows[1] == Row("wide", "Conv2d", (1, 8, 8), 6, 320, (1, 1), (1, 5), "")
    assert shown.rows[2] == Row("add", "add", (1, 8, 8), 0, 0, (1, 1), (3, 5), "")
    assert str(shown).endswith("4 of the parameters are in layers that forward does not use")
    assert "1x5" in str(shown)


def test_json() -> None:
    found = show(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Upsample(scale_factor=4), nn.Flatten()), (3, 9, 9)).as_json()
    assert json.loads(json.dumps(found)) == found
    assert (found["parameters"], found["macs"], found["input"]) == (112, 1728, [3, 9, 9])
    assert [layer["stride"] for layer in found["layers"]] == [[2, 2], [0.5, 0.5], None]
    assert found["layers"][0]["kind"] == "3-2Conv4"


@pytest.mark.parametrize("name", ["vgg16", "resnet152"])
def test_big_networks_take_a_moment_and_fit_the_terminal(name: str) -> None:
    start = time.perf_counter()
    shown = show(name)
    assert time.perf_counter() - start < 10  # about a second where the machine is idle
    lines = str(shown).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].split()[:3] == ["layer", "kind", "output"]
    assert f"{shown.parameters:,}" in next(line for line in lines if line.startswith("total"))


def test_wide_notes_go_below() -> None:
    deep = nn.Sequential()
    at = deep
    for _ in range(20):
        at.append(nn.Sequential())
        at = at[0]  # type: ignore[assignment]
    at.append(nn.Conv2d(3, 2048, 3, 2))
    text = str(show(deep, (3, 224, 224)))
    assert max(map(len, text.splitlines())) <= 110
    assert text.endswith(f"{'0.' * 20}0: the stride does not divide, 111.5 → 111")


def test_what_is_missing_is_said() -> None:
    with pytest.raises(FovealError, match="size of the image"):
        show(nn.ReLU())
    with pytest.raises(FovealError, match="unknown model 'resnet1O1'") as caught:
        show("resnet1O1")
    assert "resnet101" in caught.value.mend
    with pytest.raises(FovealError, match="no paper says the input"):
        show("torch.nn:ReLU")
    assert show("torch.nn:ReLU", (1, 4, 4)).parameters == 0


def test_an_adaptive_window_needs_a_size_that_divides() -> None:
    pool = nn.AdaptiveAvgPool2d((7, None))
    assert window(pool) is None
    found = window(pool, (14, 9))
    assert found is not None
    assert (found.kernel, found.stride) == ((2, 1), (2, 1))
    with pytest.raises(FovealError, match=r"layer 'pool' .* cuts 15x9 into 7x9 uneven windows"):
        window(pool, (15, 9), path="pool")
