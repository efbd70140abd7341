"""The metrics equal scikit-learn's."""

import math

import numpy as np
import pytest
import sklearn.metrics as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.classification import (
    confusion_matrix,
    cross_entropy,
    most_confused,
    per_class,
    top_k_error,
    top_k_wrong,
)


def _random(seed: int, n: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, classes, generator=generator)
    return scores.softmax(1), torch.randint(classes, (n,), generator=generator)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 200), classes=st.integers(3, 12), k=st.integers(1, 11))
def test_top_k_error_equals_scikit_learn(seed: int, n: int, classes: int, k: int) -> None:
    probabilities, labels = _random(seed, n, classes)
    k = min(k, classes - 1)
    expected = 100 * (1 - oracle.top_k_accuracy_score(labels, probabilities, k=k, labels=range(classes)))
    assert top_k_error(probabilities, labels, k) == pytest.approx(expected, abs=1e-9)


def test_top_k_error_is_zero_with_as_many_guesses_as_classes() -> None:
    probabilities, labels = _random(0, 50, 4)
    assert top_k_error(probabilities, labels, 4) == top_k_error(probabilities, labels, 9) == 0


def test_ties_are_decided_as_argmax_does() -> None:
    scores, labels = torch.zeros(4, 4), torch.arange(4)
    assert top_k_wrong(scores, labels, 1).tolist() == [False, True, True, True]
    assert top_k_wrong(scores, labels, 2).tolist() == [False, False, True, True]
    assert torch.equal(top_k_wrong(scores, labels, 1), scores.argmax(1) != labels)


def test_a_score_that_is_not_a_number_never_wins() -> None:
    scores = torch.tensor([[math.nan, 1.0, 0.0]])
    assert top_k_error(scores, torch.tensor([0])) == 100
    assert top_k_error(scores, torch.tensor([1])) == 0


def test_cross_entropy_equals_scikit_learn_and_stays_finite() -> None:
    probabilities, labels = _random(3, 500, 7)
    expected = oracle.log_loss(labels, probabilities.double() / probabilities.double().sum(1, keepdim=True))
    assert cross_entropy(probabilities, labels) == pytest.approx(expected, rel=1e-5)
    assert 80 < cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) < 90


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 300), classes=st.integers(2, 9))
def test_confusion_and_per_class_table_equal_scikit_learn(seed: int, n: int, classes: int) -> None:
    probabilities, labels = _random(seed, n, classes)
    predicted = probabilities.argmax(1)
    matrix = confusion_matrix(predicted, labels, classes)
    assert np.array_equal(matrix, oracle.confusion_matrix(labels, predicted, labels=range(classes)))
    mine = per_class(matrix)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=np.nan
    )
    np.testing.assert_allclose(mine.precision, precision)
    np.testing.assert_allclose(mine.recall, recall)
    np.testing.assert_allclose(mine.f1, f1)
    assert mine.support.tolist() == support.tolist()


def test_what_cannot_be_computed_is_not_a_number() -> None:
    table = per_class(torch.tensor([[5, 0, 0], [2, 0, 0], [0, 0, 0]]))
    assert math.isnan(table.precision[1])  # never predicted
    assert table.recall[1] == 0
    assert math.isnan(table.recall[2])  # no image
    assert table.f1[1] == 0
    assert math.isnan(table.f1[2])


def test_most_confused_pairs_come_most_frequent_first_and_without_the_diagonal() -> None:
    matrix = torch.tensor([[9, 1, 0], [4, 9, 0], [0, 2, 9]])
    assert most_confused(matrix, 10) == [(1, 0, 4), (2, 1, 2), (0, 1, 1)]
    assert most_confused(matrix, 1) == [(1, 0, 4)]
    assert most_confused(torch.eye(3, dtype=torch.int64), 5) == []
    assert matrix.trace() == 27, "the matrix given is not changed"


def test_labels_beyond_the_classes_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels holds 0\.\.3, beyond 0\.\.2"):
        confusion_matrix(torch.tensor([0, 1]), torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        top_k_error(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="N > 0"):
        top_k_error(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
