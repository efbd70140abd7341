"""Costs of the exits of an any-time network."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.errors import FovealError
from foveal.graph.exits import exit_costs
from foveal.models import create


class _Two(nn.Module):
    """Two convolutions, each followed by an exit; the second exit reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)
        self.flatten1, self.flatten2 = nn.Flatten(), nn.Flatten()
        self.exit1, self.exit2 = nn.Linear(4 * 6 * 6, 3), nn.Linear(2 * 4 * 4, 3)

    def exits(self, x: Tensor) -> list[Tensor]:
        x = self.conv1(x)
        return [self.exit1(self.flatten1(x)), self.exit2(self.flatten2(self.conv2(x)))]

    def forward(self, x: Tensor) -> Tensor:
        return self.exits(x)[-1]


def test_by_hand() -> None:
    first = 36 * 9 * 4 + 144 * 3
    assert exit_costs(_Two(), (1, 8, 8)) == (first, first + 16 * 36 * 2 + 32 * 3)


def test_the_last_exit_costs_what_torch_counts_for_all() -> None:
    with torch.device("meta"):
        model = create("msdnet", exits=3).eval()
        images = torch.zeros(1, 3, 32, 32)
    costs = exit_costs(model, (3, 32, 32))
    with FlopCounterMode(display=False) as counter:
        model.exits(images)
    assert len(costs) == 3 and list(costs) == sorted(set(costs))
    assert costs[-1] == counter.get_total_flops() // 2


def test_one_exit_is_said() -> None:
    with pytest.raises(FovealError, match="Sequential has one exit"):
        exit_costs(nn.Sequential(nn.Linear(2, 2)), (2,))
