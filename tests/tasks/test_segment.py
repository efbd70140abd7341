"""Segmentation: losses over the pixels that count, and the figures of Long, Shelhamer and Darrell 2015, section 4."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.nn.functional import cross_entropy

from foveal.errors import FovealError
from foveal.metrics import segmentation
from foveal.tasks import segment, task
from foveal.training.objective import median_frequency
from foveal.types import IGNORED


class _Scores(nn.Module):
    """A network that answers with given scores."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores


def test_the_loss_is_the_mean_over_the_pixels_that_count() -> None:
    torch.manual_seed(0)
    scores, masks = torch.randn(2, 3, 5, 7), torch.randint(0, 3, (2, 5, 7), dtype=torch.uint8)
    masks[0, :2] = IGNORED
    weights = torch.tensor([0.5, 1, 4])
    for weight in (None, weights):
        found = segment.losses(_Scores(scores), torch.empty(2, 3, 5, 7), masks, class_weights=weight)["cross_entropy"]
        expected = cross_entropy(scores, masks.long(), weight, ignore_index=IGNORED)
        assert float(found.detach()) == pytest.approx(float(expected), rel=1e-6)
    nothing = torch.full_like(masks, IGNORED)
    assert float(segment.losses(_Scores(scores), torch.empty(2, 3, 5, 7), nothing)["cross_entropy"]) == 0


def test_scores_of_valid_convolutions_belong_to_the_centre() -> None:
    masks = torch.arange(70, dtype=torch.uint8).reshape(1, 7, 10)
    assert torch.equal(segment.central(masks, (3, 4)), masks[:, 2:5, 3:7])
    with pytest.raises(FovealError, match="9x10 scores for masks of 7x10"):
        segment.central(masks, (9, 10))


def test_figures_follow_the_paper() -> None:
    """Against scikit-learn's matrix and the paper's sums, written out."""
    torch.manual_seed(1)
    truth = torch.randint(0, 4, (40, 50), dtype=torch.uint8)
    found = torch.where(torch.rand(40, 50) < 0.6, truth, torch.randint(0, 5, (40, 50), dtype=torch.uint8))
    counted = torch.rand(40, 50) < 0.9
    truth[~counted] = IGNORED
    n = segmentation.pixel_confusion(found, truth, 5)
    assert n.tolist() == confusion_matrix(truth[counted], found[counted], labels=range(5)).tolist()
    t, there = n.sum(1).double(), range(4)  # class 4 has no pixel in the truth
    ious = [float(n[i, i]) / float(t[i] + n[:, i].sum() - n[i, i]) for i in there]
    assert segmentation.pixel_accuracy(n) == pytest.approx(100 * float(n.trace()) / float(t.sum()))
    assert segmentation.mean_accuracy(n) == pytest.approx(100 * sum(float(n[i, i] / t[i]) for i in there) / 4)
    assert segmentation.mean_iu(n) == pytest.approx(100 * sum(ious) / 4)
    weighted = 100 * sum(float(t[i]) * ious[i] for i in there) / float(t.sum())
    assert segmentation.frequency_weighted_iu(n) == pytest.approx(weighted)
    with pytest.raises(FovealError, match="a mask of class 4, but there are 3 classes"):
        segmentation.pixel_confusion(found, truth, 3)


def test_rare_classes_weigh_more() -> None:
    """f = (3/4, 1/4 · of the one mask it is in …): by hand."""

    class Masks:
        classes = ("a", "b", "never")

        def __len__(self) -> int:
            return 2

        def target(self, i: int) -> torch.Tensor:
            return torch.tensor([[0, 0], [0, 1]] if i == 0 else [[0, 0], [255, 0]], dtype=torch.uint8)

    shares = torch.tensor([6 / 7, 1 / 4])  # of a: 6 of 7 counted pixels; of b: 1 of the 4 where it occurs
    weights = median_frequency(Masks())  # type: ignore[arg-type]
    assert weights.tolist() == pytest.approx([*(shares.median() / shares).tolist(), 0])


def test_a_network_of_another_form_is_refused() -> None:
    with pytest.raises(FovealError, match=r"gives scores of shape \[1, 3\] for 3 classes and an input of 3x8x8"):
        task("segment").check(nn.Linear(2, 2), (1, 3), 3, (3, 8, 8))
    assert task("segment").rank({"mean_iu": 60.0}) == (40.0,) and task("segment").best(40.0) == 60.0
