"""What is reported of boxes and scores: the best that suppression leaves, however many there were."""

from __future__ import annotations

import pytest
import torch

from foveal.boxes.suppression import batched_nms
from foveal.models.detect._found import Limits, found, found_fixed


@pytest.mark.parametrize("crowds", [2, 40, 600])
def test_the_best_are_those_of_all(crowds: int) -> None:
    random = torch.Generator().manual_seed(crowds)
    centre = torch.rand(crowds, 2, generator=random).repeat(1200 // crowds, 1) * 300
    low = centre + torch.randn(1200, 2, generator=random) * 3
    boxes = torch.cat((low, low + 30 + torch.rand(1200, 2, generator=random) * 8), 1)
    scores = torch.rand(1200, 3, generator=random)
    limits = Limits(0.3, 0.5, 20)

    value, label = scores.t().flatten(), torch.arange(3).repeat_interleave(1200)
    over = (value > 0.3).nonzero().flatten()
    every = boxes.repeat(3, 1)[over]
    kept = batched_nms(every, value[over], label[over], 0.5)[:20]
    ours = found(boxes, scores, limits)
    assert torch.equal(ours["scores"], value[over][kept])

    fixed = found_fixed(boxes[None], scores[None], limits)
    assert torch.equal(fixed["scores"][0, : len(kept)], ours["scores"])
    assert not fixed["scores"][0, len(kept) :].any()
