"""Graph segmentation as its definition says, selective search, sliding windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.localisation import proposal_recall
from foveal.proposals.colours import converted
from foveal.proposals.segmentation import _edges, _Forest, segment
from foveal.proposals.selective_search import selective_search
from foveal.proposals.windows import sliding_windows


def plain(values: NDArray[np.float64], k: float) -> list[set[int]]:
    """The algorithm of the paper, edge by edge, with sets."""
    first, second, weight = _edges(values)
    region = {n: {n} for n in range(values.shape[0] * values.shape[1])}
    inner = {id(nodes): 0.0 for nodes in region.values()}
    for a, b, w in zip(first.tolist(), second.tolist(), weight.tolist(), strict=True):
        one, other = region[a], region[b]
        if one is other or any(w > inner[id(r)] + k / len(r) for r in (one, other)):
            continue
        one |= other
        inner[id(one)] = w
        for node in other:
            region[node] = one
    return [nodes for n, nodes in region.items() if n == min(nodes)]


@pytest.mark.parametrize(("seed", "k"), [(0, 30.0), (1, 300.0), (2, 2000.0)])
def test_thinning_changes_nothing(seed: int, k: float) -> None:
    photo = load_sample_images().images[seed % 2].astype(np.float64)
    values = photo[100 + 9 * seed : 260 + 9 * seed : 2, 50:230:2]  # 28,000 edges: two runs
    forest = _Forest(values.shape[0] * values.shape[1], k)
    forest.grow(*_edges(values))
    roots = forest.roots()
    assert sorted(map(sorted, plain(values, k))) == sorted(
        np.flatnonzero(roots == r).tolist() for r in np.unique(roots)
    )


def test_flat_areas_are_regions() -> None:
    image = np.zeros((60, 80, 3))
    image[10:40, 20:50] = (255, 0, 0)
    image[45:55, 60:75] = (0, 255, 0)
    numbers = segment(image, 100.0, sigma=0.1)
    assert numbers.max() == 2 and numbers[0, 0] == 0 and numbers[20, 30] == 1 and numbers[50, 70] == 2
    assert (numbers == 1).sum() == 900
    assert segment(image, 100.0, sigma=0.1, least=200).max() == 1  # the small one joins


def test_colour_spaces() -> None:
    colours = np.array([[[255.0, 0, 0], [0, 255, 0], [255, 255, 255], [0, 0, 0], [128, 128, 128]]])
    hsv = converted(colours, "hsv")[0]
    assert hsv[0].tolist() == [0, 255, 255] and hsv[1].tolist() == pytest.approx([85, 255, 255]) and hsv[4, 1] == 0
    lab = converted(colours, "lab")[0]
    assert lab[2].tolist() == pytest.approx([255, 128, 128], abs=0.01) and lab[3, 0] == pytest.approx(0)
    assert lab[0].tolist() == pytest.approx([53.24 * 2.55, 80.09 + 128, 67.20 + 128], abs=0.1)
    assert converted(colours, "rgi")[0, 0].tolist() == [255, 0, 85] and converted(colours, "i").shape == (1, 5, 1)


def scene() -> tuple[Tensor, Tensor]:
    """Six things of two colours each on a photograph's sky; their boxes."""
    random = np.random.RandomState(3)
    image = np.full((200, 260, 3), (150, 180, 210), np.uint8) + random.randint(0, 8, (200, 260, 3)).astype(np.uint8)
    boxes = [(20, 20, 70, 60), (100, 15, 140, 90), (170, 20, 240, 60), (15, 110, 80, 180), (110, 120, 150, 160)]
    for n, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = (200 - 30 * n, 40 * n, 30)
        image[(y1 + y2) // 2 : y2, x1:x2] = (180 - 30 * n, 40 * n + 20, 90)
    return torch.from_numpy(image).permute(2, 0, 1), torch.tensor(boxes).float()


def test_windows_hold_the_objects() -> None:
    image, boxes = scene()
    windows = selective_search(image, "single")
    assert proposal_recall([windows], [boxes], (len(windows),), threshold=0.8)[len(windows)] == 1
    assert len(windows) == len(windows.unique(dim=0)) and (windows[:, 2:] - windows[:, :2]).min() >= 20
    assert [0, 0, 260, 200] in windows.tolist()
    assert torch.equal(windows, selective_search(image, "single"))
    assert not torch.equal(windows, selective_search(image, "single", seed=1))
    more = selective_search(image, "fast")
    assert len(more) > len(windows)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(FovealError, match="no mode 'best'"):
        selective_search(torch.zeros(3, 30, 30, dtype=torch.uint8), "best")  # type: ignore[arg-type]
    with pytest.raises(FovealError, match=r"torch.float32 \[3, 30, 30\]"):
        selective_search(torch.zeros(3, 30, 30))
    with pytest.raises(FovealError, match="0 x 30 pixels"):
        sliding_windows(30, 0)


def test_one_colour_gives_one_window() -> None:
    assert selective_search(torch.zeros(3, 40, 50, dtype=torch.uint8), "single").tolist() == [[0, 0, 50, 40]]


def test_sliding_windows_cover_the_image() -> None:
    windows = sliding_windows(100, 150, (40, 300), (1,), step=0.5)
    assert windows[0].tolist() == [0, 0, 150, 100]  # the large one, cut
    rest = windows[1:]
    assert ((rest[:, 2:] - rest[:, :2]) - 40).abs().max() < 1e-4 and rest.min() == 0
    assert rest[:, 2].max() == 150 and rest[:, 3].max() == 100
    assert len(rest) == 4 * 7 or len(rest) == 4 * 6
