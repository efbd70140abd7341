"""Calibration equals scikit-learn's reliability curve and the worked definition."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from foveal.metrics.calibration import calibration


def test_bins_equal_scikit_learns_curve_and_their_mean_gap() -> None:
    generator = torch.Generator().manual_seed(1)
    probabilities = (3 * torch.randn(3000, 5, generator=generator, dtype=torch.float64)).softmax(1)
    labels = torch.multinomial(probabilities**0.6, 1, generator=generator)[:, 0]  # overconfident on purpose
    found = calibration(probabilities, labels, bins=10)
    confidence, predicted = probabilities.max(1)
    right = predicted == labels
    accuracy, mean_confidence = calibration_curve(right.numpy(), confidence.numpy(), n_bins=10)
    filled = found.counts > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], mean_confidence)
    expected = sum(
        abs(float(right[inside].double().mean() - confidence[inside].mean())) * int(inside.sum())
        for low in range(10)
        if (inside := (confidence > low / 10) & (confidence <= (low + 1) / 10)).any()
    )
    assert found.ece == pytest.approx(expected / 3000)
    assert found.ece > 0.05
    assert int(found.counts.sum()) == 3000


def test_worked_example() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [1.0, 0.0]])
    found = calibration(probabilities, torch.tensor([0, 1, 1, 0]), bins=5)
    assert found.counts.tolist() == [0, 0, 1, 0, 3]
    # the last bin: confidence (0.9 + 0.9 + 1.0) / 3, accuracy 2/3; the third: 0.55 and 1
    assert found.ece == pytest.approx((0.45 * 1 + (2.8 / 3 - 2 / 3) * 3) / 4)
    assert torch.isnan(found.accuracy[0])


def test_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="softmax"):
        calibration(torch.tensor([[2.0, -1.0]]), torch.tensor([0]))
