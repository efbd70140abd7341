"""The network: its first-layer filters and its architecture table."""

from __future__ import annotations

import torch
from torch import nn

from foveal.errors import FovealError
from foveal.explanations.filters import filters
from foveal.graph.table import Row, Table, show
from foveal.report.html import Html, escape, figure, folded, paragraph, section, table, tag
from foveal.report.pictures import embed_exact

_OPEN_ROWS = 100


def first_layer(model: nn.Module, input: tuple[int, int, int]) -> Html:
    """The filters that meet the pixels; a network without any is said to have none."""
    try:
        grid = filters(model, torch.zeros(input)).picture
    except FovealError as error:
        return section("filters", "First-layer filters", paragraph(f"Not shown: {error.what}.", "note"))
    caption = "Mid-grey is a weight of zero, brighter positive, darker negative; each filter uses the whole range."
    picture = embed_exact(grid, "filters of the first layer")
    return section("filters", "First-layer filters", figure(picture, caption, "filters"))


def layers(network: nn.Module, input: tuple[int, int, int]) -> Table | FovealError:
    """The table of a network's layers, or why there is none."""
    try:
        return show(network, input)
    except FovealError as error:
        return error


def architecture(shown: Table | FovealError, part: str = "") -> Html:
    """One row per layer: what it makes, costs and sees; of a `part` of the network, if it is only that."""
    if isinstance(shown, FovealError):
        return section("architecture", "Architecture", paragraph(f"Not shown: {shown.what}.", "note"))
    size = _times(shown.input)
    said = f"The {part} only, for" if part else "For"
    said += f" one image of {size}: {shown.parameters:,} parameters, {shown.macs:,} multiply-adds."
    noted = any(row.note for row in shown.rows)
    head = ["layer", "kind", "output", "parameters", "multiply-adds", "stride", "receptive field"]
    rows = [_cells(row, noted) for row in shown.rows]
    content = table([*head, "note"] if noted else head, rows, numbers=(2, 3, 4, 5, 6))
    if len(rows) > _OPEN_ROWS:
        content = folded(f"All {len(rows)} rows", content)
    return section("architecture", "Architecture", paragraph(said), content)


def _cells(row: Row, noted: bool) -> list[Html]:
    cells = [
        tag("code", escape(row.name)),
        escape(row.kind),
        escape(_times(row.output)),
        escape(f"{row.parameters:,}" if row.parameters else ""),
        escape(f"{row.macs:,}" if row.macs else ""),
        escape("" if row.stride is None else _sides(row.stride)),
        escape(_sides(row.receptive_field)),
    ]
    return [*cells, escape(row.note)] if noted else cells


def _times(numbers: tuple[int, ...]) -> str:
    return " × ".join(map(str, numbers))


def _sides(numbers: tuple[object, ...]) -> str:
    """One number where all dimensions agree."""
    return " × ".join(map(str, numbers[:1] if len(set(numbers)) == 1 else numbers))
