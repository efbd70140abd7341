"""Receptive fields as a table and drawn on an image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from foveal.errors import FovealError
from foveal.graph.effective_field import effective_field
from foveal.graph.shapes import shapes
from foveal.notation import parse
from foveal.report.receptive_fields import draw_fields, field_rows, fields_text

INPUT = (3, 32, 32)
TEXT = "3-1-1Conv4 (ReLU) → 2-2MaxPool → 3-1-1Conv4 (ReLU) → 2-2MaxPool → FC10"


def test_rows_and_cells() -> None:
    rows = {row["name"]: row for row in field_rows(shapes(parse(TEXT, INPUT), INPUT), INPUT)}
    row = {"name": "conv2", "output": [4, 16, 16], "size": [8, 8], "stride": [2, 2], "start": [-3, -3]}
    assert rows["conv2"] == {**row, "centre": [0.5, 0.5]}
    assert rows["fc3"]["stride"] is None
    cells = fields_text([rows["conv2"], rows["fc3"]])
    assert cells[0] == ("conv2", "4x16x16", "8", "2", "-3", "0.5") and cells[1][3] == ""


def test_the_drawing_on_an_image_with_the_effective_field() -> None:
    torch.manual_seed(0)
    model = parse(TEXT, INPUT)
    layers = shapes(model, INPUT)
    image = torch.randint(0, 256, INPUT, dtype=torch.uint8)
    plain = draw_fields(layers, INPUT)
    assert plain.svg().count("<image") == 0 and "pool2   10x10, stride 4" in plain.svg()
    drawn = draw_fields(layers, INPUT, image=image, chosen=["conv1", "conv2"], effective=effective_field(model, INPUT))
    text = drawn.svg()
    assert text.count("<image") == 2 and "conv2   8x8, stride 2" in text and "95 % of the gradient of pool2" in text
    assert drawn.width > plain.width
    pixels = drawn.image().convert("L")
    assert pixels.getextrema()[0] < 60  # something is drawn


def test_what_cannot_be_is_said() -> None:
    layers = shapes(parse(TEXT, INPUT), INPUT)
    for chosen, what in (
        (["conv9"], "unknown map 'conv9'"),
        (["fc3"], "unknown map 'fc3'"),
        (["conv1"] * 9, "9 fields"),
    ):
        with pytest.raises(FovealError, match=what):
            draw_fields(layers, INPUT, chosen=chosen)
    with pytest.raises(FovealError, match="cannot be drawn"):
        draw_fields(shapes(nn.Conv1d(1, 1, 3), (1, 9)), (1, 9))
    with pytest.raises(FovealError, match="no layer of the network is a map"):
        draw_fields(shapes(nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), (1, 3, 3)), (1, 3, 3))
