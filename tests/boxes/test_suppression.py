"""Suppression keeps what torchvision keeps, to the last index."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from foveal.boxes.suppression import batched_nms, fixed_nms, nms
from foveal.errors import FovealError


def random_boxes(seed: int, count: int, crowds: int, grain: float, spread: float) -> tuple[Tensor, Tensor]:
    """Boxes around `crowds` centres (0: anywhere), coordinates and scores on a grid of `grain` so that many tie."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.rand(max(crowds, 1), 2, generator=random) * 800
    which = torch.randint(max(crowds, 1), (count,), generator=random)
    middle = centres[which] if crowds else torch.rand(count, 2, generator=random) * 800
    middle = middle + torch.randn(count, 2, generator=random) * 8
    sides = 4 * (torch.rand(count, 2, generator=random) * spread).exp()
    boxes = torch.cat((middle - sides, middle + sides), 1)
    scores = torch.rand(count, generator=random)
    return ((boxes / grain).round() * grain, (scores * 50).round() / 50) if grain else (boxes, scores)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1025, 3000),
    crowds=st.sampled_from([0, 0, 3, 40, 300]),
    grain=st.sampled_from([0.0, 1.0, 4.0]),
    spread=st.sampled_from([0.1, 1.5, 4.0]),
    threshold=st.sampled_from([0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.6, 0.75, 0.95, 0.999, 1.0]),
    double=st.booleans(),
)
def test_keep_list_is_torchvisions(  # noqa: PLR0917 (drawn by name)
    seed: int, count: int, crowds: int, grain: float, spread: float, threshold: float, double: bool
) -> None:
    boxes, scores = random_boxes(seed, count, crowds, grain, spread)
    if double:
        boxes, scores = boxes.double(), scores.double()
    assert torch.equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5])
def test_boxes_without_area_or_number(threshold: float) -> None:
    boxes, scores = random_boxes(5, 3000, 200, 2.0, 2.0)
    boxes[::7, 2] = boxes[::7, 0]
    boxes[1::11] = boxes[1::11][:, [2, 3, 0, 1]]
    boxes[3::13, 1] = torch.nan
    boxes[4::17, 2] = torch.inf
    boxes[5::19] *= 1e30
    assert torch.equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


def test_a_long_chain_is_followed_in_order() -> None:
    left = torch.arange(4000.0) * 2
    boxes = torch.stack((left, torch.zeros(4000), left + 10, torch.full((4000,), 10.0)), 1)
    scores = torch.linspace(1, 0, 4000)
    assert torch.equal(nms(boxes, scores, 0.5), ops.nms(boxes, scores, 0.5))
    assert nms(boxes, scores, 0.5).tolist() == list(range(0, 4000, 2))


def test_one_box_covers_all() -> None:
    boxes, scores = random_boxes(1, 4000, 0, 0.0, 1.0)
    boxes[17] = torch.tensor([-1e5, -1e5, 1e5, 1e5])
    for threshold in (0.2, 0.5):
        assert torch.equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), labels=st.integers(1, 30), count=st.sampled_from([0, 1, 50, 2500]))
def test_labels_do_not_meet(seed: int, labels: int, count: int) -> None:
    boxes, scores = random_boxes(seed, count, 20, 1.0, 2.0)
    label = torch.randint(labels, (count,), generator=torch.Generator().manual_seed(seed))
    kept = batched_nms(boxes, scores, label, 0.5)
    expected = [(label == i).nonzero().flatten() for i in range(labels)]
    expected = [members[ops.nms(boxes[members], scores[members], 0.5)] for members in expected]
    assert sorted(kept.tolist()) == sorted(torch.cat(expected).tolist())
    assert (scores[kept].diff() <= 0).all()


def test_a_graph_that_does_not_depend_on_the_data_keeps_the_same_rule() -> None:
    sets = [random_boxes(seed, 300, 12, 0.0, 1.0) for seed in range(4)]
    boxes, scores = torch.stack([b for b, _ in sets]), torch.stack([s for _, s in sets])
    stays = fixed_nms(boxes.view(2, 2, 300, 4), scores.view(2, 2, 300), 0.5, least=0.3)
    assert stays.shape == (2, 2, 300)
    for own, (b, s) in zip(stays.view(4, 300), sets, strict=True):
        above = (s > 0.3).nonzero().flatten()
        assert torch.equal(own.nonzero().flatten(), above[ops.nms(b[above], s[above], 0.5)].sort().values)


def test_fixed_suppression_exports() -> None:
    class Suppress(torch.nn.Module):
        def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
            return fixed_nms(boxes, scores, 0.5)

    first, second = random_boxes(0, 60, 4, 0.0, 1.0), random_boxes(9, 60, 8, 0.0, 1.0)
    program = torch.export.export(Suppress(), first).module()
    for one in (first, second):
        assert torch.equal(program(*one), Suppress()(*one))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_bad_arguments_are_named(threshold: float) -> None:
    boxes, scores = random_boxes(0, 10, 0, 0.0, 1.0)
    with pytest.raises(FovealError, match="an IoU threshold of"):
        nms(boxes, scores, threshold)
    with pytest.raises(FovealError, match=r"boxes \[10, 4\] and scores \[9\]"):
        nms(boxes, scores[:9], 0.5)
