"""Fabrics: the grid's edges, sparse and doubling variants, and what is left after pruning."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foveal.contracts import check_model
from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.graph.receptive_field import receptive_field
from foveal.graph.shapes import shapes
from foveal.layers.fabric import Fabric, Trellis
from foveal.layers.fabric_pruning import prune, pruning_curve, without
from foveal.layers.table_conv import TableConv2d
from foveal.models.classify.fabric import FACTS, fabric


def small(**options: object) -> Fabric:
    torch.manual_seed(0)
    return fabric(4, **{"layers": 3, "channels": 6, "input": (3, 8, 8), **options})  # type: ignore[arg-type]


def test_edges_of_the_papers_network() -> None:
    with torch.device("meta"):
        trellis = fabric().trellis
    facts = FACTS["fabric"]
    # Down in the first layer, 3 · 6 - 2 in each further one, down in the last.
    assert len(trellis.edges()) == 5 + 7 * 16 + 5
    assert facts.parameters == 122 * 9 * 128**2 + 9 * 3 * 128 + 48 * 2 * 128 + 129 * 10
    inner = 8 * 6 * 3 * 9 * 128**2  # every node with three edges
    assert round(inner, -5) == facts.published["parameters_without_borders"]


def test_scales_halve_down_to_one_pixel() -> None:
    outputs = {layer.path: layer.output for layer in shapes(small(doubling=True), (3, 8, 8))}
    for layer in (1, 2, 3):
        sizes = [outputs[f"trellis.node{layer}_{scale}.relu"] for scale in range(4)]
        assert sizes == [(6, 8, 8), (12, 4, 4), (24, 2, 2), (48, 1, 1)]


@pytest.mark.parametrize("doubling", [False, True])
def test_sparse_edges_join_three_neighbours(doubling: bool) -> None:
    trellis = small(connectivity="sparse", doubling=doubling).trellis
    assert all(isinstance(edge.conv, TableConv2d) for edge in trellis.edges())
    same = trellis.get_submodule("node2_1.same")
    assert isinstance(same, TableConv2d)
    assert same.table[:2] == ((0, 1), (0, 1, 2))
    for name, source in (("finer", 0), ("coarser", 2)):
        edge = trellis.get_submodule(f"node2_1.{name}")
        assert isinstance(edge, TableConv2d)
        assert {i for row in edge.table for i in row} == set(range(trellis.maps[source]))  # every map is read


def test_sparse_convolutions_are_dense_ones_with_zeros() -> None:
    torch.manual_seed(0)
    table = [(0, 1), (0, 1, 2), (1, 2), (2,)]
    x = torch.randn(2, 3, 4, 4)
    down, up = TableConv2d(3, table, 3, 2, 1), TableConv2d(3, table, 3, 2, 1, transposed=True, bias=False)
    torch.testing.assert_close(down(x), F.conv2d(x, down.dense_weight(), down.bias, 2, 1))
    spread = torch.zeros(2, 3, 8, 8)
    spread[:, :, ::2, ::2] = x  # zeros between the positions, then the mirrored kernel
    torch.testing.assert_close(up(x), F.conv2d(spread, up.dense_weight().flip(2, 3), padding=1))
    assert shapes(nn.Sequential(up), (3, 4, 4))[0].output == (4, 8, 8)
    assert count(nn.Sequential(up), (3, 4, 4)).macs == 16 * 8 * 9
    assert receptive_field(nn.Sequential(up), (3, 4, 4))["0"].size == (2, 2)


@pytest.mark.parametrize("connectivity", ["dense", "sparse"])
def test_contract_in_full(connectivity: str) -> None:
    def make(num_classes: int = 4) -> Fabric:
        return fabric(num_classes, layers=2, channels=4, connectivity=connectivity, input=(3, 8, 8))  # type: ignore[arg-type]

    report = check_model(make, (3, 8, 8), num_classes=4)
    assert report.passed, report.text()


def test_pruning_takes_the_weakest_and_keeps_a_path() -> None:
    model, images = small(), torch.rand(2, 3, 8, 8)
    edges = model.trellis.edges()
    for rank, edge in enumerate(edges):
        nn.init.constant_(edge.conv.get_parameter("weight"), 1 + rank)
    weakest = next(edge for edge in edges if edge.path == "node2_3.same")
    nn.init.zeros_(weakest.conv.get_parameter("weight"))
    found = prune(model.eval(), 1 - 1 / len(edges))
    assert found.removed == ("node2_3.same",)
    assert (found.kept, found.total) == (len(edges) - 1, len(edges))
    torch.testing.assert_close(found.model(images), model(images))  # its weights were zero
    assert len(model.trellis.edges()) == len(edges)
    least = prune(model, 1e-6)
    assert least.kept >= 3  # three scales down at least
    assert least.model(images).shape == (2, 4)
    assert least.parameters == sum(p.numel() for p in least.model.parameters()) < found.parameters
    with pytest.raises(FovealError, match="keep=0"):
        prune(model, 0)


def test_pruning_leaves_nothing_unread() -> None:
    model = small()
    found = prune(model, 0.4)
    assert found.kept <= 0.4 * found.total
    scores = found.model(torch.rand(2, 3, 8, 8))
    scores.sum().backward()
    assert all(p.grad is not None for p in found.model.parameters())
    again = without(model, found.removed)
    again.load_state_dict(found.model.state_dict())


def test_pruning_curve_reports_the_error_of_each_share() -> None:
    model = small()
    points = list(pruning_curve(model, (1.0, 0.5), lambda pruned: float(len(pruned.trellis.edges()))))
    assert [found.kept for found, _ in points] == [error for _, error in points]
    assert points[0][0].removed == ()


def test_mistakes_name_the_way_out() -> None:
    with pytest.raises(FovealError, match="a fabric for images of 30x30"):
        fabric(input=(3, 30, 30))
    with pytest.raises(FovealError, match="did you mean sparse"):
        small(connectivity="spars")
    with pytest.raises(FovealError, match="each is 1 or more"):
        Trellis(3, 4, 0, 8)
    with pytest.raises(FovealError, match=r"no edge 'node9_9\.same'"):
        without(small(), ["node9_9.same"])
    with pytest.raises(FovealError, match="has no input"):
        without(small(), ["node1_1.down"])
