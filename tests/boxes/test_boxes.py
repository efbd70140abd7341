"""Overlap, coding, reference boxes, matching, sampling, pooling, merging against torchvision and worked cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops
from torchvision.models.detection import _utils as peer
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from foveal.boxes import anchors, coding, matching, merge, overlap, pooling
from foveal.errors import FovealError


def boxes(seed: int, count: int, side: float = 100) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=random, dtype=torch.float64) * side
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=random, dtype=torch.float64) * side), 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_overlaps_are_torchvisions(seed: int) -> None:
    a, b = boxes(seed, 7), boxes(seed + 1, 5)
    for ours, theirs in (
        (overlap.iou, ops.box_iou),
        (overlap.giou, ops.generalized_box_iou),
        (overlap.diou, ops.distance_box_iou),
        (overlap.ciou, ops.complete_box_iou),
    ):
        assert torch.allclose(ours(a[:, None], b), theirs(a, b), atol=1e-6)
        assert torch.allclose(ours(a[:5], b), theirs(a[:5], b).diagonal(), atol=1e-6)
    assert torch.allclose(overlap.area(a), ops.box_area(a))


def test_overlap_of_worked_boxes() -> None:
    a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10])
    assert overlap.iou(a, b) == pytest.approx(50 / 150)
    assert overlap.ioa(a, b) == pytest.approx(0.5)
    assert overlap.giou(a, b) == pytest.approx(1 / 3)  # the enclosing box holds nothing else
    assert overlap.diou(a, b) == pytest.approx(1 / 3 - 25 / (15**2 + 10**2))


def test_boxes_without_area_overlap_nothing_and_give_gradients() -> None:
    a = torch.tensor([[3.0, 3, 3, 9], [5, 5, 2, 2]], requires_grad=True)
    for function in (overlap.iou, overlap.ioa, overlap.giou, overlap.diou, overlap.ciou):
        value = function(a[:, None], torch.tensor([[3.0, 3, 3, 9], [0, 0, 9, 9]]))
        (gradient,) = torch.autograd.grad(value.sum(), a)
        assert value.isfinite().all() and gradient.isfinite().all(), function.__name__


@pytest.mark.parametrize("function", [overlap.giou, overlap.diou, overlap.ciou])
def test_gradients_of_losses(function: object) -> None:
    a, b = boxes(3, 4).requires_grad_(), boxes(4, 4)
    assert callable(function)
    if function is not overlap.ciou:  # its α is a constant in the gradient
        assert torch.autograd.gradcheck(lambda x: function(x, b), (a,))
    ours = torch.autograd.grad((1 - function(a, b)).sum(), a)[0]
    peers = {
        overlap.giou: ops.generalized_box_iou_loss, overlap.diou: ops.distance_box_iou_loss,
        overlap.ciou: ops.complete_box_iou_loss,
    }  # fmt: skip
    theirs = torch.autograd.grad(peers[function](a, b, reduction="sum", eps=1e-12), a)[0]  # type: ignore[index]
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1, 1, 1), coding.RCNN_WEIGHTS, coding.SSD_WEIGHTS])
def test_coding_is_torchvisions_and_returns(weights: tuple[float, ...]) -> None:
    coder = peer.BoxCoder(weights)
    a, b = boxes(0, 50), boxes(1, 50)
    deltas = coding.encode(a, b, weights)
    assert torch.allclose(deltas, coder.encode_single(a, b))
    assert torch.allclose(coding.decode(deltas, b, weights), a)
    wild = torch.randn(50, 4, dtype=torch.float64) * 30
    assert torch.allclose(coding.decode(wild, b, weights), coder.decode_single(wild, b))
    assert torch.equal(coding.clip(a * 3 - 100, 90, 80), ops.clip_boxes_to_image(a * 3 - 100, (90, 80)))


def test_yolo_coding_returns() -> None:
    box = torch.tensor([[40.0, 60, 90, 100]])
    cell, prior = torch.tensor([[2.0, 2.0]]), torch.tensor([[30.0, 61.0]])
    code = coding.encode_cell(box, cell, 32, prior)
    assert code[0, :2].tolist() == [65 / 32 - 2, 80 / 32 - 2]
    raw = torch.cat((code[:, :2].logit(), code[:, 2:]), 1)
    assert torch.allclose(coding.decode_cell(raw, cell, 32, prior), box, atol=1e-4)


def test_anchors_are_torchvisions() -> None:
    sizes, ratios = (128, 256, 512), (0.5, 1.0, 2.0)
    maps = torch.zeros(1, 8, 5, 7)
    theirs = AnchorGenerator((sizes,), (ratios,))(ImageList(torch.zeros(1, 3, 80, 112), [(80, 112)]), [maps])[0]
    ours = anchors.anchors(5, 7, (16, 16), anchors.shapes(sizes, ratios))
    assert torch.equal(ours, theirs)
    with pytest.raises(FovealError, match="above 0"):
        anchors.shapes((0,), (1,))


@pytest.mark.parametrize(("made", "count", "size"), [(anchors.ssd300(), 8732, 300), (anchors.ssd512(), 24564, 512)])
def test_default_boxes_are_torchvisions(made: anchors.DefaultBoxes, count: int, size: int) -> None:
    assert made(clip=True).shape == (count, 4)
    scales = [side / size for side in made.sides]
    generator = DefaultBoxGenerator([list(r) for r in made.ratios], scales=scales, steps=list(made.steps))
    images = ImageList(torch.zeros(1, 3, size, size), [(size, size)])
    theirs = generator(images, [torch.zeros(1, 1, side, side) for side in made.maps])[0]
    assert torch.allclose(made(clip=True), theirs, atol=1e-2)
    assert made.counts[0] == 4 and made.counts[1] == 6


def test_thresholds_with_low_quality_matches_are_torchvisions() -> None:
    truth, references = boxes(0, 6), boxes(1, 200)
    for low, high, best in ((0.3, 0.7, True), (0.5, 0.5, False), (0.1, 0.5, False)):
        matcher = peer.Matcher(high, low, allow_low_quality_matches=best)
        theirs = matcher(ops.box_iou(truth, references))
        assert torch.equal(matching.match(truth, references, low, high, best_of_each=best), theirs)
    nothing = matching.match(truth[:0], references, 0.3, 0.7)
    assert (nothing == matching.BACKGROUND).all() and len(nothing) == 200


def test_every_box_finds_a_prior() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 52, 52]])
    references = torch.tensor([[0.0, 0, 10, 10], [0, 0, 8, 8], [40, 40, 60, 60], [100, 100, 120, 120]])
    found = matching.match_priors(truth, references)
    assert found.tolist() == [0, 1, 2, matching.BACKGROUND]  # both first boxes want reference 0; the equal one gets it
    assert matching.match_priors(truth[:0], references).tolist() == [matching.BACKGROUND] * 4


def test_yolo_matching() -> None:
    truth = torch.tensor([[0.0, 0, 64, 64], [400, 400, 448, 448], [440, 0, 456, 10]])
    assert matching.match_cells(truth, 7, 7, 64).tolist() == [0, 6 * 7 + 6, 6]
    priors = torch.tensor(anchors.YOLOV3_PRIORS).view(-1, 2).float()
    assert matching.match_shapes(truth, priors).tolist() == [4, 4, 0]


def test_samples_are_balanced() -> None:
    found = torch.cat((torch.zeros(30), torch.full((500,), -1.0), torch.full((70,), -2.0))).long()
    first, second = matching.sample(found, 256, 0.5, torch.Generator().manual_seed(0))
    assert len(first) == 30 and len(second) == 226
    assert (found[first] >= 0).all() and (found[second] == -1).all() and len(second.unique()) == 226
    assert len(matching.sample(found, 40, 0.25)[0]) == 10


def test_hard_negatives_are_the_worst() -> None:
    found = torch.tensor([[0, -1, -1, -1, -1, -2, -1], [-1, -1, -1, -1, -1, -1, -1]])
    losses = torch.tensor([[9.0, 1, 5, 2, 4, 8, 3], [1, 2, 3, 4, 5, 6, 7]])
    assert matching.hard_negatives(losses, found, 3).long().tolist() == [[0, 0, 1, 0, 1, 0, 1], [0] * 7]


def test_pooling_is_torchvisions() -> None:
    features = torch.randn(2, 3, 20, 30)
    regions = [boxes(0, 4).float(), boxes(1, 6).float()]
    assert torch.equal(pooling.roi_align(features, regions, (7, 7), 8.0), ops.roi_align(features, regions, 7, 1 / 8, 2))
    assert torch.equal(pooling.roi_max_pool(features, regions, (6, 6), 8.0), ops.roi_pool(features, regions, 6, 1 / 8))


@pytest.mark.parametrize("fixed", [True, False])
def test_pyramid_is_torchvisions(fixed: bool) -> None:
    pyramid = {str(i): torch.randn(2, 3, 256 // 2**i, 320 // 2**i) for i in range(2, 6)}
    regions = [boxes(i, 40, side=400).float() for i in range(2)]
    regions[0][0] = torch.tensor([0.0, 0, 224, 224])
    theirs = ops.MultiScaleRoIAlign(["2", "3", "4", "5"], 7, 2)(pyramid, regions, [(256, 320)] * 2)
    ours = pooling.pyramid_align(list(pyramid.values()), regions, (7, 7), (4, 8, 16, 32), fixed=fixed)
    assert pooling.pyramid_level(regions[0][:1]).tolist() == [4]
    assert torch.allclose(ours, theirs)


def test_merging_averages_what_agrees() -> None:
    near = torch.tensor([[10.0, 10, 50, 50], [12, 10, 52, 50], [11, 13, 51, 53]])
    far = torch.tensor([[200.0, 200, 240, 260]])
    found = merge.merge(torch.cat((near, far)), torch.tensor([0.5, 0.4, 0.3, 0.9]))
    assert torch.allclose(found.boxes, torch.cat((near.mean(0, keepdim=True), far)))
    assert found.scores.tolist() == pytest.approx([1.2, 0.9]) and found.counts.tolist() == [3, 1]
    assert merge.match_score(near[0], near[0]) == 0
    assert (
        merge.match_score(near[0], near[1])
        < merge.match_score(near[0], near[0] + 20)
        < merge.match_score(near[0], far[0])
    )
    assert len(merge.merge(near[:0], torch.zeros(0)).boxes) == 0


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 40),
    grain=st.sampled_from([0.0, 8.0]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0, 4.0]),
)
def test_a_graph_that_does_not_depend_on_the_data_merges_the_same(
    seed: int, count: int, grain: float, threshold: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    all_ = boxes(seed, 6 * count).view(2, 3, count, 4).float()
    all_ = (all_ / grain).round() * grain if grain else all_  # so that many tie, and some have no area
    scores = torch.rand(2, 3, count, generator=random)
    scores[0, 1] = 0
    found, sums = merge.fixed_merge(all_, scores, threshold, least=0.4)
    for own, points, ours, total in zip(*(part.flatten(0, 1) for part in (all_, scores, found, sums)), strict=True):
        wanted = merge.merge(own[points > 0.4], points[points > 0.4], threshold)
        torch.testing.assert_close(total[: len(wanted.scores)], wanted.scores, rtol=0, atol=0)
        assert not total[len(wanted.scores) :].any()
        torch.testing.assert_close(ours[: len(wanted.boxes)], wanted.boxes, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 4), (3, 5), (0, 4)])
def test_boxes_and_scores_that_do_not_fit_are_not_merged(shape: tuple[int, int]) -> None:
    with pytest.raises(FovealError, match=r"give \[\.\.\., N, 4\] and \[\.\.\., N\], N from 1 on"):
        merge.fixed_merge(torch.zeros(shape), torch.zeros(shape[0] // 3 * 3))
