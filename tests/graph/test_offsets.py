"""Pooling at offsets, against the paper's own procedure and its table 5."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.offsets import pooled_at_offsets
from foveal.graph.shapes import shapes
from foveal.models import create
from foveal.protocols.overfeat import SCALES

UNPOOLED = ((17, 17), (20, 23), (23, 29), (29, 35), (32, 38), (35, 44))
SCORES = ((3, 3), (6, 9), (9, 15), (15, 21), (18, 24), (21, 30))


def test_table_5() -> None:
    with torch.device("meta"):
        network = convolutionalize(create("overfeat_accurate").eval(), (3, 221, 221))
    closer = pooled_at_offsets(network, (3, 221, 221))
    for size, unpooled, scores in zip(SCALES, UNPOOLED, SCORES, strict=True):
        rows = {row.path: row for row in shapes(closer, (3, *size))}
        assert rows["pool6"].inputs[0] == (1024, *unpooled)
        assert list(rows.values())[-1].output == (1000, *scores)


def interleaved(features: nn.Module, pool: nn.Module, classifier: nn.Module, images: Tensor) -> Tensor:
    """The paper's procedure: pool from each offset, classify, and put the scores where they belong."""
    maps = features(images)
    scores = {(i, j): classifier(pool(maps[:, :, i:, j:])) for i in range(3) for j in range(3)}
    count, classes, h, w = scores[0, 0].shape
    whole = scores[0, 0].new_empty(count, classes, 3 * h, 3 * w)
    for (i, j), part in scores.items():
        whole[:, :, i::3, j::3] = part
    return whole


@pytest.mark.parametrize("size", [(41, 41), (47, 53)])
def test_the_papers_procedure(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU())
    pool, classifier = nn.MaxPool2d(3, 3), nn.Sequential(nn.Flatten(), nn.Linear(6 * 25, 8), nn.ReLU(), nn.Linear(8, 5))
    model = nn.Sequential(*features, pool, *classifier).double().eval()
    side = 2 * 14 + 3  # 15 unpooled, 5 pooled positions
    network = convolutionalize(model, (3, side, side))
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    with torch.inference_mode():
        expected = interleaved(network[:2], network[2], network[3:], images)
        found = pooled_at_offsets(network, (3, side, side))(images)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_no_stride_is_said() -> None:
    network = convolutionalize(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)), (3, 4, 4))
    with pytest.raises(FovealError, match="no offsets"):
        pooled_at_offsets(network, (3, 4, 4))
