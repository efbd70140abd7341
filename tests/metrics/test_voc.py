"""VOC's average precision, its curves and kinds of mistakes, in cases worked by hand; localisation; proposals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.metrics.boxes import Found, Truth
from foveal.metrics.localisation import average_best_overlap, localisation_error, proposal_recall
from foveal.metrics.voc import mistakes, voc


def box(x: float, side: float = 10) -> list[float]:
    return [x, 0, x + side, side]


def found(*rows: tuple[float, float, int]) -> Found:
    """(x, score, class) of boxes of 10 pixels."""
    boxes = torch.tensor([box(x) for x, _, _ in rows]).view(-1, 4)
    return Found(boxes, torch.tensor([s for _, s, _ in rows]), torch.tensor([k for _, _, k in rows], dtype=torch.int64))


def truth(*rows: tuple[float, int, bool]) -> Truth:
    """(x, class, difficult)."""
    boxes = torch.tensor([box(x) for x, _, _ in rows]).view(-1, 4)
    return Truth(boxes, torch.tensor([k for _, k, _ in rows], dtype=torch.int64), torch.tensor([d for *_, d in rows]))


SAID = [
    found((0, 0.9, 0), (1, 0.8, 0), (100, 0.7, 0), (300, 0.6, 0)),
    found((0, 0.95, 0), (50, 0.5, 0), (200, 0.4, 1)),
]
THERE = [truth((0, 0, False), (100, 0, True), (200, 0, False)), truth((50, 0, False), (200, 1, False))]
# Class 0 by falling score: .95 wrong, .9 right, .8 duplicate, .7 difficult (neither), .6 wrong, .5 right; 3 are wanted.


def test_a_case_worked_by_hand() -> None:
    mean, (first, second) = voc(SAID, THERE, 2)
    assert first.wanted == 3 and first.scores.tolist() == pytest.approx([0.95, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert first.precision.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 3, 1 / 4, 2 / 5])
    assert first.recall.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3])
    assert first.ap == pytest.approx(1 / 3 * 1 / 2 + 1 / 3 * 2 / 5)  # 0.3
    assert second.ap == pytest.approx(1)
    assert mean == pytest.approx((0.3 + 1) / 2)


def test_eleven_points_worked_by_hand() -> None:
    _, (first, second) = voc(SAID, THERE, 2, method="11_point")
    assert first.ap == pytest.approx((4 * 0.5 + 3 * 0.4) / 11)  # recalls 0 to 0.3, 0.4 to 0.6, then nothing
    assert second.ap == pytest.approx(1)


def test_the_threshold_itself_is_right() -> None:
    said, there = [found((0, 1, 0))], [Truth(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([0]))]
    assert voc(said, there, 1)[0] == 1  # IoU is 0.5
    assert voc(said, there, 1, threshold=0.51)[0] == 0


def test_classes_without_boxes_do_not_count() -> None:
    mean, curves = voc(SAID, THERE, 3)
    assert math.isnan(curves[2].ap) and mean == pytest.approx(0.65)
    nothing = [Truth(torch.zeros(0, 4), torch.zeros(0).long())] * 2
    assert math.isnan(voc(SAID, nothing, 2)[0])
    assert voc([found()] * 2, THERE, 2)[0] == 0


def test_kinds_of_mistakes() -> None:
    said = [found((0, 0.9, 0), (1, 0.8, 0), (106, 0.7, 0), (200, 0.6, 1), (400, 0.5, 0), (500, 0.01, 0))]
    there = [truth((0, 0, False), (100, 0, False), (200, 0, False))]
    assert mistakes(said, there, least_score=0.1) == {
        "localisation": 1, "confusion": 1, "background": 1, "duplicate": 1, "missed": 2}  # fmt: skip
    assert mistakes(said, there)["background"] == 2


def test_five_guesses() -> None:
    wrong = [(300.0 + 20 * i, 0.9 - i / 10, 0) for i in range(5)]
    there = [truth((0, 0, False))]
    assert localisation_error([found(*wrong[:4], (1, 0.1, 0))], there) == 0
    assert localisation_error([found(*wrong, (1, 0.1, 0))], there) == 100  # the sixth
    assert localisation_error([found((1, 0.1, 1))], there) == 100  # another class
    assert localisation_error([found((6, 0.1, 0))], there) == 100  # elsewhere
    with pytest.raises(FovealError, match="answers for 1 images, truth of 2"):
        localisation_error([found()], there * 2)


def test_recall_of_proposals() -> None:
    windows = [torch.tensor([box(300), box(1), box(101)]), torch.zeros(0, 4)]
    boxes: list[Tensor] = [torch.tensor([box(0), box(100), box(200)]), torch.tensor([box(0)])]
    assert proposal_recall(windows, boxes, (1, 2, 3)) == {1: 0, 2: 0.25, 3: 0.5}
    assert average_best_overlap(windows, boxes) == pytest.approx((90 / 110 * 2) / 4)
