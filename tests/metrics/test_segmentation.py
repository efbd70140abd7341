"""Figures of masks against scikit-learn, the formulas of Long et al., and distances counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.segmentation import (
    boundary_scores,
    class_ious,
    frequency_weighted_iu,
    mean_accuracy,
    mean_iu,
    pixel_accuracy,
    pixel_confusion,
)
from foveal.types import IGNORED


def masks(seed: int = 0, classes: int = 5) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    truth = torch.from_numpy(random.integers(0, classes, (6, 7), dtype=np.uint8)).repeat_interleave(5, 0)
    found = torch.where(
        torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) < 0.3, truth.flip(0), truth
    )
    truth[:3] = IGNORED
    return found, truth


def test_figures_are_scikit_learns() -> None:
    found, truth = masks()
    counted = truth != IGNORED
    f, t = found[counted].numpy(), truth[counted].numpy()
    confusion = pixel_confusion(found, truth, 5)
    assert np.array_equal(confusion.numpy(), confusion_matrix(t, f, labels=range(5)))
    assert pixel_accuracy(confusion) == pytest.approx(100 * accuracy_score(t, f))
    assert mean_accuracy(confusion) == pytest.approx(100 * balanced_accuracy_score(t, f))
    assert mean_iu(confusion) == pytest.approx(100 * jaccard_score(t, f, average="macro"))
    assert frequency_weighted_iu(confusion) == pytest.approx(100 * jaccard_score(t, f, average="weighted"))


def test_parts_add_up() -> None:
    found, truth = masks()
    halves = pixel_confusion(found[:15], truth[:15], 5) + pixel_confusion(found[15:], truth[15:], 5)
    assert torch.equal(halves, pixel_confusion(found, truth, 5))


def test_a_class_without_a_true_pixel_is_left_out() -> None:
    confusion = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert class_ious(confusion).isnan().tolist() == [False, False, True]
    assert mean_iu(confusion) == pytest.approx(100 * (3 / 4 + 4 / 5) / 2)


def one_by_one(found: Tensor, truth: Tensor, label: int, radius: float) -> float:
    """The definition, pixel by pixel."""

    def edge(mask: Tensor) -> list[tuple[int, int]]:
        height, width = mask.shape
        rows = []
        for y in range(height):
            for x in range(width):
                near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                inside = [int(mask[p]) for p in near if 0 <= p[0] < height and 0 <= p[1] < width]
                if int(mask[y, x]) == label and any(value not in (label, IGNORED) for value in inside):
                    rows.append((y, x))
        return rows

    ours, theirs = edge(torch.where(truth == IGNORED, truth, found)), edge(truth)
    if not ours and not theirs:
        return math.nan
    shares = [
        sum(any(math.dist(p, q) <= radius for q in b) for p in a) / max(len(a), 1)
        for a, b in ((ours, theirs), (theirs, ours))
    ]
    return 100 * 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_boundaries_are_as_defined(seed: int) -> None:
    found, truth = masks(seed)
    scores = boundary_scores(found, truth, 6, 0.05)
    radius = 0.05 * math.hypot(*truth.shape)
    expected = [one_by_one(found, truth, label, radius) for label in range(6)]
    assert scores.tolist() == pytest.approx(expected, nan_ok=True)


def test_boundaries_within_the_tolerance() -> None:
    truth = torch.zeros(100, 100, dtype=torch.uint8)
    truth[:, 50:] = 1
    moved = truth.roll(1, 1)
    moved[:, 0] = 0
    assert boundary_scores(moved, truth, 2, 0.0075).tolist() == [100, 100]
    assert boundary_scores(
        truth.roll(5, 1).where(torch.arange(100) > 4, torch.zeros(())).byte(), truth, 2
    ).tolist() == [0, 0]
    assert boundary_scores(torch.zeros_like(truth), truth, 3).nan_to_num(nan=-1).tolist() == [0, 0, -1]
    with pytest.raises(FovealError, match="tolerance"):
        boundary_scores(truth, truth, 2, 0)
