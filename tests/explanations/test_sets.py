"""Methods that look at a set of images: top patches and neighbours equal a brute-force search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations import explain
from foveal.explanations._index import nearest


class Listed:
    """A set as torch's data sets are: one item at a time, with its label."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], index % 3


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3"])
@torch.no_grad()
def test_top_patches_are_those_of_a_search_through_all(chain: nn.Sequential, layer: str) -> None:
    images = torch.randn(50, 3, 16, 16)
    images[7] = images[31]  # equal values: the earlier image comes first
    found = explain("top_patches", chain, data=images, layer=layer, units=0, count=5, batch_size=8)
    names = [name for name, _ in chain.named_children()]
    maps = chain[: names.index(layer) + 1](images)
    for unit in range(maps.shape[1]):
        best = sorted(((-float(one[unit].max()), i) for i, one in enumerate(maps)))[:5]
        assert found.arrays[f"{layer}.images"][unit].tolist() == [i for _, i in best]
        torch.testing.assert_close(found.arrays[f"{layer}.values"][unit], torch.tensor([-value for value, _ in best]))
        for rank, (value, i) in enumerate(best):
            row, column = found.arrays[f"{layer}.places"][unit, rank].tolist()
            assert float(maps[i, unit, row, column]) == pytest.approx(-value, abs=1e-5)
            if rank == 0:
                alone = explain("deconvnet", chain, images[i], layer=layer, unit=unit, place=[row, column])
                torch.testing.assert_close(found.arrays[f"{layer}.projections"][unit, 0], alone.values)


def test_any_set_and_batch_size_give_the_same(chain: nn.Sequential) -> None:
    images = torch.randn(23, 3, 16, 16)
    found = [
        explain("top_patches", chain, data=data, units=[5, 2], count=3, batch_size=size)
        for data, size in ((images, 23), (Listed(images), 4), (Listed(images), 1))
    ]
    assert set(found[0].pictures) == {"conv1", "conv2", "conv3"}
    for name in ("conv1.images", "conv3.places", "conv3.units"):
        assert torch.equal(found[0].arrays[name], found[1].arrays[name])
        assert torch.equal(found[0].arrays[name], found[2].arrays[name])


def test_projections_may_be_left_out_where_there_are_none(branching: nn.Module) -> None:
    data = torch.randn(6, 3, 20, 20)
    found = explain("top_patches", branching, data=data, layer="left", projections=False, count=2, units=3)
    assert "left.projections" not in found.arrays
    assert found.arrays["left.units"].tolist() == [0, 2, 5]


def brute(features: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    apart = (queries.double()[:, None] - features.double()[None]).norm(dim=2)
    order = apart.sort(dim=1, stable=True)
    return order.values[:, :count], order.indices[:, :count]


@pytest.mark.parametrize("offset", [0.0, 1e3])  # far from zero a product of float32 would lose the distances
@pytest.mark.parametrize("block", [7, 64, 10_000])
def test_nearest_is_a_search_through_all(offset: float, block: int) -> None:
    features = torch.randn(500, 12).add(offset)
    features[100:120] = features[40:60]  # ties: the lower number first
    queries = torch.cat((torch.randn(5, 12).add(offset), features[[40, 499]]))
    distances, numbers = nearest(features, queries, 6, block)
    expected, order = brute(features, queries, 6)
    assert torch.equal(numbers, order)
    torch.testing.assert_close(distances, expected)
    mapped, again = nearest(features.numpy(), queries, 6, block)
    assert torch.equal(again, numbers)
    assert torch.equal(mapped, distances)


def test_neighbours_by_the_last_hidden_layer(chain: nn.Sequential, tmp_path: Path) -> None:
    images, shown = torch.randn(40, 3, 16, 16), torch.randn(2, 3, 16, 16)
    found = explain("neighbours", chain, shown, data=Listed(images), batch_size=16)
    with torch.no_grad():
        hidden = chain[:-1]
        _, expected = brute(hidden(images), hidden(shown), 6)
    assert torch.equal(found.values, expected)
    file = tmp_path / "index.npy"
    for _ in ("written", "read"):
        again = explain("neighbours", chain, shown, data=images, index=str(file))
        assert torch.equal(again.values, expected)
    assert np.load(file).shape == (40, 12)
    with pytest.raises(FovealError, match="is the index of another set or network"):
        explain("neighbours", chain, shown, data=torch.randn(40, 3, 16, 16), index=str(file))
    by_layer = explain("neighbours", chain, images[3], data=images, layer="conv2", count=1)
    assert by_layer.values.tolist() == [[3]]


def test_mistakes_are_said(chain: nn.Sequential) -> None:
    with pytest.raises(FovealError, match="top_patches needs data="):
        explain("top_patches", chain)
    with pytest.raises(FovealError, match="the set of images is empty"):
        explain("top_patches", chain, data=torch.randn(0, 3, 16, 16))
    with pytest.raises(FovealError, match="layer 'conv2' has 8 filters, and no 8"):
        explain("top_patches", chain, data=torch.randn(2, 3, 16, 16), layer="conv2", units=[8])
    with pytest.raises(FovealError, match=r"data=… holds torch\.uint8 images"):
        explain("neighbours", chain, torch.randn(3, 16, 16), data=[torch.zeros(3, 16, 16, dtype=torch.uint8)])
    convolutional = nn.Sequential(nn.Conv2d(3, 2, 16), nn.Flatten())
    with pytest.raises(FovealError, match="has no fully connected layer"):
        explain("neighbours", convolutional, torch.randn(3, 16, 16), data=torch.randn(2, 3, 16, 16))
