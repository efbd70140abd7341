"""Losses equal torch's, an objective of the network's own is used, probabilities sum to one."""

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.tasks import classify


class _Own(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"distance": images.sum(), "rubbish": targets.double().sum()}


def test_the_loss_is_the_smoothed_cross_entropy() -> None:
    scores, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    found = classify.losses(nn.Identity(), scores, targets, label_smoothing=0.2)
    smooth = nn.functional.one_hot(targets, 4) * 0.8 + 0.05
    assert found.keys() == {"cross_entropy"}
    torch.testing.assert_close(found["cross_entropy"], -(smooth * scores.log_softmax(1)).sum(1).mean())


def test_half_precision_scores_lose_nothing_in_the_logarithm() -> None:
    scores, targets = torch.randn(64, 10).bfloat16(), torch.randint(10, (64,))
    found = classify.losses(nn.Identity(), scores, targets)["cross_entropy"]
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, nn.functional.cross_entropy(scores.float(), targets))
    assert classify.predict(nn.Identity(), scores).dtype is torch.float32


def test_an_objective_of_the_networks_own_is_used() -> None:
    found = classify.losses(_Own(), torch.ones(2, 3), torch.tensor([1, 2]))
    assert {name: float(value) for name, value in found.items()} == {"distance": 6, "rubbish": 3}
    with pytest.raises(FovealError, match=r"label_smoothing=0\.1: _Own"):
        classify.losses(_Own(), torch.ones(2, 3), torch.tensor([1, 2]), label_smoothing=0.1)


def test_predictions_are_probabilities_and_leave_the_mode_alone() -> None:
    model = nn.Linear(5, 3)
    found = classify.predict(model, torch.randn(7, 5))
    assert found.shape == (7, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(7))
    assert model.training
