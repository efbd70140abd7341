"""Verification and its distances, against scikit-learn and against what can be counted by hand."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from sklearn.metrics import roc_auc_score

from foveal.classical.linear import fit_linear
from foveal.errors import FovealError
from foveal.metrics.similarity import learn
from foveal.metrics.verification import accuracy_by_fold, best_threshold, roc


def test_the_area_is_scikit_learns_with_ties_too() -> None:
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(400, generator=generator) < 0.4
    distances = (torch.randn(400, generator=generator) - same.float()).mul(4).round()
    found = roc(distances, same)
    assert found.area == pytest.approx(roc_auc_score(same.numpy(), -distances.numpy()), abs=1e-12)
    assert found.false_accepts[0] == 0 and found.false_accepts[-1] == found.true_accepts[-1] == 1
    assert 0 < found.equal_error < 0.5
    false, true = found.points(9)
    assert len(false) == 9 and (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1) and false == sorted(false)


def test_perfect_and_inverted() -> None:
    same = torch.tensor([True, True, False, False])
    perfect = roc(torch.tensor([0.1, 0.2, 0.7, 0.9]), same)
    assert (perfect.area, perfect.equal_error, perfect.true_accept_at(0)) == (1, 0, 1)
    assert roc(torch.tensor([0.7, 0.9, 0.1, 0.2]), same).area == 0
    with pytest.raises(FovealError, match="of different ones"):
        roc(torch.rand(3), torch.ones(3, dtype=torch.bool))


def test_the_threshold_is_the_best_of_all() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        distances = torch.randint(0, 8, (15,), generator=generator).double()
        same = torch.rand(15, generator=generator) < 0.5
        tried = [float(((distances <= t / 2 - 1) == same).sum()) for t in range(20)]
        threshold = best_threshold(distances, same)
        assert float(((distances <= threshold) == same).sum()) == max(tried)


def test_accuracy_and_standard_error_over_folds() -> None:
    distances = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 0.2])
    same = torch.tensor([True, False] * 3)
    found = accuracy_by_fold(distances, same, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert found.folds == (100, 100, 50)  # on folds 1 and 2 the threshold is 0.5, above 0.2
    assert found.standard_error == pytest.approx(statistics.stdev(found.folds) / math.sqrt(3))
    with pytest.raises(FovealError, match="all pairs are of one fold"):
        accuracy_by_fold(distances, same, torch.zeros(6))


@pytest.mark.parametrize("name", ["chi_square", "siamese"])
def test_a_learned_metric_finds_the_feature_that_tells(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.rand(2, 300, 5, generator=generator)
    same = torch.arange(300) % 2 == 0
    right[same, 2] = left[same, 2]  # only feature 2 is of the identity
    metric = learn(name, left, right, same)
    assert metric.weights is not None and int(metric.weights.argmax()) == 2
    assert roc(metric(left, right), same).area > 0.95
    term = (left - right).abs() if name == "siamese" else (left - right) ** 2 / (left + right)
    torch.testing.assert_close(metric(left, right), term.double() @ metric.weights, rtol=1e-5, atol=1e-6)


def test_metrics_that_are_refused() -> None:
    rows, same = torch.randn(4, 3), torch.tensor([True, False, True, False])
    with pytest.raises(FovealError, match="at least 0"):
        learn("chi_square", rows, rows, same)
    with pytest.raises(FovealError, match="euclidean"):
        learn("euclidian", rows, rows, same)
    assert float(learn("cosine", rows, rows, same)(rows, 3 * rows).abs().max()) < 1e-6


@pytest.mark.parametrize("loss", ["hinge", "ranking", "logistic"])
@pytest.mark.parametrize("classes", [2, 4])
def test_linear_classifiers_separate_what_is_separable(loss: str, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % classes
    rows = torch.nn.functional.one_hot(labels, 6).float() + 0.1 * torch.randn(60, 6, generator=generator)
    found = fit_linear(rows, labels, loss, strength=10)
    assert found.weights.shape == (classes, 6)
    scores = found(rows)
    for label in range(classes):  # what a ranking promises: each class's images before the others
        assert scores[labels == label, label].min() > scores[labels != label, label].max()
    if loss != "ranking":
        assert scores.argmax(1).equal(labels)
