"""The architecture table of any network: what each layer makes, costs and sees, as the lectures print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.count import counts
from foveal.graph.receptive_field import fields
from foveal.graph.shapes import LayerShape, shapes
from foveal.graph.shapes import text as size_text
from foveal.graph.windows import Size, window
from foveal.notation import step_of

_HEADS = "what follows on these layers, the detector's backbone; so are further multiply-adds"
_WIDTH = 100
_HEADINGS = ("layer", "kind", "output", "parameters", "multiply-adds", "stride", "field", "note")
_LEFT = (0, 1, 7)  # columns of words; the others are numbers


@dataclass(frozen=True)
class Row:
    """One executed layer or join. `stride` and `receptive_field` are in image positions, one per dimension.

    `stride` is None for vectors; `note` says where a stride does not divide ("54.25 → 54"): the rest is cut off,
    or, with ceil_mode, padded.
    """

    name: str
    kind: str
    output: Size
    parameters: int
    macs: int
    stride: tuple[Fraction, ...] | None
    receptive_field: Size
    note: str


@dataclass(frozen=True)
class Table:
    """The rows of a network and its totals for one image of shape `input`; `str` is plain text for a terminal.

    `parameters` counts the whole model: layers without a row as well, of which `rest` says where they are. Rows and
    multiply-adds of a detector are those of its backbone.
    """

    rows: tuple[Row, ...]
    parameters: int
    macs: int
    input: Size
    rest: str = "layers that forward does not use"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; strides that are fractions become floats."""
        return {
            "input": list(self.input),
            "parameters": self.parameters,
            "macs": self.macs,
            "layers": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "output": list(row.output),
                    "parameters": row.parameters,
                    "macs": row.macs,
                    "stride": None if row.stride is None else [_number(s) for s in row.stride],
                    "receptive_field": list(row.receptive_field),
                    "note": row.note,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        body = [("input", "", size_text(self.input), "", "", "", "", ""), *map(_cells, self.rows)]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.macs:,}", "", "", "")
        lines, footnotes = _aligned([_HEADINGS, *body, total])
        rule = "─" * max(map(len, lines))
        unused = self.parameters - sum(row.parameters for row in self.rows)
        if unused:
            footnotes.append(f"{unused:,} of the parameters are in {self.rest}")
        if footnotes:
            footnotes.insert(0, "")
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *footnotes])


def table(model: nn.Module, input: Size) -> list[Row]:
    """One row per executed layer and join of any traceable network, for one image of shape `input` = (C, H, W).

    Raises FovealError for an unknown layer, and for a network that cannot be traced or cannot take the input.
    """
    return list(_table(model, input).rows)


def show(model_or_name: nn.Module | str, input: Size | None = None) -> Table:
    """The table of a network, or of a model by its name in the catalogue or `package.module:function`.

    A model by name takes no memory: it is made on the meta device. `input` = (C, H, W) is by default the published one;
    for a network it must be given.
    """
    if isinstance(model_or_name, nn.Module):
        if input is None:
            raise FovealError("the size of the image is not known", "give it: show(model, input=(3, 224, 224))")
        return _table(model_or_name, input)
    facts = catalog.facts(model_or_name)
    builder = catalog.get("model", model_or_name)
    if input is None and facts is None:
        raise FovealError(
            f"no paper says the input of '{model_or_name}'", "give it: --input 3x224x224, or input=(3, 224, 224)"
        )
    with torch.device("meta"):
        model = catalog.made(model_or_name, builder)
    return _table(model, input or (facts.input if facts else ()))


def _table(model: nn.Module, input: Size) -> Table:
    if callable(getattr(model, "detect", None)):  # what follows on a detector's trunk depends on what it finds
        parameters = sum(p.numel() for p in model.parameters())
        own: Size = getattr(model, "backbone_input", input)  # R-CNN's sees windows
        return replace(_table(model.get_submodule("backbone"), own), parameters=parameters, rest=_HEADS)
    layers = shapes(model, input)
    counted = counts(model, layers)
    seen = fields(layers, input)
    rows = []
    for layer, numbers in zip(layers, counted.layers, strict=True):
        field = seen[layer.path]
        stride = field.stride if len(layer.output) > 1 else None
        note = _note(layer)
        rows.append(
            Row(layer.path, _kind(layer), layer.output, numbers.parameters, numbers.macs, stride, field.size, note)
        )
    return Table(tuple(rows), counted.parameters, counted.macs, input)


def _kind(layer: LayerShape) -> str:
    """The word of the notation where there is one, and else the class."""
    step = step_of(layer.module) if layer.module is not None else None
    return str(step) if step is not None else layer.kind


def _note(layer: LayerShape) -> str:
    seen = window(layer.module) if layer.module is not None else None
    if seen is None or seen.transposed:
        return ""
    exact = seen.positions(layer.inputs[0][1:])
    pairs = dict.fromkeys(zip(exact, layer.output[1:], strict=True))  # equal sides are said once
    return ", ".join(f"{size:.4g} → {whole}" for size, whole in pairs if size % 1)


def _number(stride: Fraction) -> int | float:
    return int(stride) if stride.denominator == 1 else float(stride)


def _cells(row: Row) -> tuple[str, ...]:
    stride = "" if row.stride is None else _sides(row.stride)
    return (
        row.name,
        row.kind,
        size_text(row.output),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
        stride,
        _sides(row.receptive_field),
        row.note,
    )


def _sides(numbers: Sequence[int | Fraction]) -> str:
    """One number where all dimensions agree."""
    return "x".join(map(str, numbers[:1] if len(set(numbers)) == 1 else numbers))


def _aligned(rows: list[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """The lines of the table; and its notes, as lines of their own where they do not fit into the width."""
    footnotes: list[str] = []
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    elif sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) - 2 > _WIDTH:
        footnotes = [f"{row[0]}: the stride does not divide, {row[-1]}" for row in rows[1:] if row[-1]]
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, range(len(row)), strict=True)
        lines.append("  ".join(c.ljust(w) if i in _LEFT else c.rjust(w) for c, w, i in cells).rstrip())
    return lines, footnotes
