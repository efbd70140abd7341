"""Any-time and budgeted figures of a predictor whose answers are known, and of MSDNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from foveal.data.dataset import ArraySet
from foveal.errors import FovealError
from foveal.models import create
from foveal.protocols.center_crop import center_crop
from foveal.protocols.exits import anytime, budgeted
from foveal.training.recogniser import Recogniser

COUNT, CLASSES = 60, 10


class Stages:
    """Image i, grey level i, is recognised from exit i % 3 on; before, its exits are unsure and wrong."""

    input, classes, costs = (1, 4, 4), tuple(map(str, range(CLASSES))), (10, 30, 90)

    def prepare(self, image: Tensor) -> Tensor:
        return image

    def __call__(self, images: Tensor) -> Tensor:
        return self.exits(images)[-1]

    def exits(self, images: Tensor) -> Tensor:
        number = images[:, 0, 0, 0].long()
        found = torch.full((3, len(images), CLASSES), 0.05)
        for k in range(3):
            known = number % 3 <= k
            top = torch.where(known, number % CLASSES, (number + 1) % CLASSES)
            sure = torch.where(known, 0.9 + number / 1000, 0.2 + number / 1000)
            found[k].scatter_(1, top[:, None], sure[:, None])
        return found


def stages(order: Tensor | None = None) -> ArraySet:
    number = torch.arange(COUNT) if order is None else order
    images = number.to(torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    return ArraySet(images, number % CLASSES, Stages.classes, "test", "stages")


def numbers(pairs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in pairs if not isinstance(value, Tensor)}


def test_the_error_at_every_exit() -> None:
    found = numbers(anytime(Stages(), stages()))
    assert [found[f"exit {k}/macs"] for k in (1, 2, 3)] == [10, 30, 90]
    assert [found[f"exit {k}/top1_error"] for k in (1, 2, 3)] == pytest.approx([200 / 3, 100 / 3, 0])
    assert found["top1_error"] == 0


@pytest.mark.parametrize("share", [0, 0.1, 0.41, 0.5, 0.8, 1])
def test_a_budget_is_met(share: float) -> None:
    found = numbers(budgeted(Stages(), stages(), share=share))
    assert found["macs"] == pytest.approx(10 + 80 * share, abs=80 / COUNT), "to one image an exit"


def test_easy_images_leave_first() -> None:
    costs = numbers(budgeted(Stages(), stages(), points=5))
    assert costs["budget 1/top1_error"] == pytest.approx(200 / 3), "all at the first exit"
    assert costs["budget 5/top1_error"] == 0, "all at the last"
    errors = [costs[f"budget {n}/top1_error"] for n in range(1, 6)]
    assert errors == sorted(errors, reverse=True)
    even = numbers(budgeted(Stages(), stages(), share=(130 / 3 - 10) / 80, points=0))
    assert even["top1_error"] == 0, "a third of the images at each exit, those that it knows"


def test_neither_order_nor_batches_matter() -> None:
    whole = numbers(budgeted(Stages(), stages()))
    order = torch.randperm(COUNT, generator=torch.manual_seed(0))
    assert numbers(budgeted(Stages(), stages(order), batch_size=7)) == pytest.approx(whole)


def test_a_budget_that_is_none() -> None:
    with pytest.raises(FovealError, match=r"share=1\.5, points=10: no budget"):
        numbers(budgeted(Stages(), stages(), share=1.5))


def test_a_network_with_exits(recogniser: Callable[..., Recogniser], noise: Callable[..., ArraySet]) -> None:
    model = create("msdnet", num_classes=7, exits=3).eval()
    predict, dataset = recogniser(model, input=(3, 32, 32)), noise(6, 32, 32)
    found = dict(anytime(predict, dataset))
    assert torch.equal(found["probabilities"], dict(center_crop(predict, dataset))["probabilities"])
    assert [found[f"exit {k}/macs"] for k in (1, 2, 3)] == list(predict.costs)
    assert predict.exits(dataset.images).shape == (3, 6, 7)


def test_a_network_with_one_exit_is_said(recogniser: Callable[..., Recogniser], noise: Callable[..., ArraySet]) -> None:
    with pytest.raises(FovealError, match="Sequential has one exit, at its end"):
        dict(anytime(recogniser(), noise(2)))
