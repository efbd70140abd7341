"""Detection measured on whole images: a case by hand, images of several sizes, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.protocols.detections import detections
from foveal.protocols.localisation import localisation

BOX = [10.0, 10.0, 30.0, 30.0]


class Told:
    """A detector that says what it was told for each grey level, in pixels of the original."""

    classes = ("a", "b")

    def __init__(self, *answers: list[tuple[list[float], float, int]]) -> None:
        self.answers = answers

    @staticmethod
    def prepare(image: Tensor) -> Tensor:
        return image[:, :8, :8]

    def located(self, prepared: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        found = []
        for image, (height, width) in zip(prepared, sizes, strict=True):
            assert height >= 40 and width >= 40  # the original's, not the prepared image's
            boxes, scores, labels = zip(*self.answers[int(image[0, 0, 0])], strict=True)
            found.append({"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(labels)})
        return found


def scenes(*targets: dict[str, Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Images of different sizes whose grey level is their number."""
    return [(torch.full((3, 40 + i, 50), i, dtype=torch.uint8), target) for i, target in enumerate(targets)]


def objects(*labels: int, difficult: bool = False) -> dict[str, Tensor]:
    count = len(labels)
    flags = torch.full((count,), difficult)
    return {"boxes": torch.tensor([BOX] * count).reshape(-1, 4), "labels": torch.tensor(labels), "difficult": flags}


FAR = [40.0, 35.0, 48.0, 39.0]
DETECTOR = Told(
    [(BOX, 0.9, 0), (FAR, 0.8, 0)],  # right, then wrong
    [(BOX, 0.7, 0)],  # right, with class b beside it that nobody finds
    [(FAR, 0.95, 1), (BOX, 0.6, 1)],  # a difficult object: neither; wrong before it
)
SET = scenes(objects(0), objects(0, 1), objects(1, difficult=True))


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_case_by_hand(batch_size: int) -> None:
    """Class a: right, wrong, right of 2: area 1/2 · 1 + 1/2 · 2/3. Class b: one object, not found."""
    found = dict(detections(DETECTOR, SET, batch_size=batch_size))
    assert found["class_ap50"].tolist() == pytest.approx([100 * 5 / 6, 0.0])
    assert found["ap50"] == pytest.approx(100 * 5 / 12)
    assert len(found["found"]) == len(found["truth"]) == 3
    assert found["truth"][2].ignored.tolist() == [True]


def test_localisation_counts_images() -> None:
    found = dict(localisation(DETECTOR, SET))
    assert found["localisation_error"] == 0.0
    assert found["top1_localisation_error"] == pytest.approx(100 / 3)


def test_nothing_to_find_is_refused() -> None:
    with pytest.raises(FovealError, match="no image to evaluate on"):
        next(detections(DETECTOR, []))
    with pytest.raises(FovealError, match="none of the 1 images has a box to be found"):
        next(detections(DETECTOR, scenes(objects(0, difficult=True))))
