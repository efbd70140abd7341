"""The drawn graph: every layer in one box, boxes apart, edges downwards, blocks where there are many, a sound file."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.models import create
from foveal.report import network_graph
from foveal.report.layered import layered
from foveal.report.sketch import Sketch


def model(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    facts = catalog.facts(name)
    assert facts is not None
    with torch.device("meta"):
        return create(name), facts.input


def test_a_chain() -> None:
    boxes = network_graph.boxes(*model("lenet5"))
    assert [box.name for box in boxes] == ["input", "C1", "S2", "C3", "S4", "C5", "F6", "output"]
    assert boxes[1].words == ("5-1Conv6, ScaledTanh",) or boxes[1].words[0].startswith("5-1Conv6")
    assert boxes[-1].output == (10,) and boxes[-1].sources == ("F6",)


def test_residuals_join_and_identities_are_edges() -> None:
    network, input = model("resnet18")
    boxes = {box.name: box for box in network_graph.boxes(network, input)}
    assert boxes["conv2_1.add"].sources == ("conv2_1.conv2", "pool1")
    assert boxes["conv3_1.add"].sources == ("conv3_1.conv2", "conv3_1.shortcut.conv")
    assert boxes["conv1"].words == ("7-2-3Conv64, BN, ReLU",)
    assert not any("shortcut" in name and "conv3" not in name and ".conv" not in name for name in boxes)
    assert boxes["fc"].output == shapes(network, input)[-1].output


def test_many_boxes_are_drawn_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_graph, "_MOST", 10)
    boxes = {box.name: box for box in network_graph.boxes(*model("googlenet"))}
    assert boxes["inception3a"].kind == "block" and boxes["inception3b"].sources == ("inception3a",)
    assert boxes["inception3a"].output == (256, 28, 28)
    assert len(boxes) < 25


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_boxes_are_apart_and_edges_lead_down(name: str) -> None:
    boxes = network_graph.boxes(*model(name))
    sizes: dict[object, tuple[float, float]] = {box.name: (100.0 + 7 * i % 60, 50.0) for i, box in enumerate(boxes)}
    sources: dict[object, tuple[str, ...]] = {box.name: box.sources for box in boxes}
    plan = layered(sizes, sources, columns=1)
    for (a, (xa, ya)), (b, (xb, yb)) in itertools.combinations(plan.places.items(), 2):
        apart_x = abs(xa - xb) >= (sizes[a][0] + sizes[b][0]) / 2
        assert apart_x or abs(ya - yb) >= (sizes[a][1] + sizes[b][1]) / 2, (a, b)
    assert set(plan.edges) == {(source, node) for node, before in sources.items() for source in before}
    for points in plan.edges.values():
        assert all(lower[1] >= upper[1] for upper, lower in itertools.pairwise(points))
    assert all(0 <= x <= plan.width and 0 <= y <= plan.height for x, y in plan.places.values())


def test_a_circle_has_no_ranks() -> None:
    with pytest.raises(ValueError, match="circle"):
        layered({"a": (1, 1), "b": (1, 1)}, {"a": ["b"], "b": ["a"]})


def test_the_files(tmp_path: Path) -> None:
    sketch = network_graph.network_graph(*model("lenet5"), title="a < b & c")
    root = ElementTree.parse(sketch.save(tmp_path / "new" / "graph.svg")).getroot()
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b & c", "C3", "16x10x10", "fully connected"} <= set(words)
    assert Image.open(sketch.save(tmp_path / "graph.png")).width == round(2 * sketch.width)
    with pytest.raises(FovealError, match=r"written as \.svg or \.png"):
        sketch.save(tmp_path / "graph.pdf")
    with pytest.raises(FovealError, match="pixels"):
        Sketch(20_000, 20_000).save(tmp_path / "large.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match="cannot be written"):
        sketch.save(tmp_path / "file" / "graph.svg")


def test_a_block_with_several_ways_out_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_graph, "_MOST", 10)
    names = {box.name for box in network_graph.boxes(*model("msdnet"))}
    assert {"layer0.scale1", "layer0.scale2", "layer1.scale3", "layer24"} <= names and "layer0" not in names
