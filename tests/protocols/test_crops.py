"""Ten crops and crops on a grid are what evaluating each crop by itself gives."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from foveal.data.dataset import ArraySet
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.protocols.center_crop import center_crop
from foveal.protocols.dense import multi_scale
from foveal.protocols.multi_crop import multi_crop, multi_crop_dense
from foveal.protocols.ten_crop import ten_crop
from foveal.training.recogniser import Recogniser

Make = Callable[..., Recogniser]
Noise = Callable[..., ArraySet]


def single(predict: Recogniser, dataset: ArraySet, cut: Callable[[Tensor], Tensor]) -> Tensor:
    """The probabilities of one crop of each image, by the single-crop protocol."""
    shown = ArraySet(cut(dataset.images), dataset.labels, dataset.classes, "test", "crops")
    found = dict(center_crop(predict, shown))["probabilities"]
    assert isinstance(found, Tensor)
    return found


def test_ten_crops_are_ten_single_evaluations(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(), noise(9, 20, 24)
    places = [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    explicit = [
        single(predict, dataset, lambda x, t=t, w=w, f=flip: x[:, :, t : t + 16, w : w + 16].flip([-1] * f))
        for t, w in places
        for flip in (0, 1)
    ]
    assert len({tuple(p[0].tolist()) for p in explicit}) == 10, "the network tells the crops apart"
    found = dict(ten_crop(predict, dataset, batch_size=32))
    torch.testing.assert_close(found["probabilities"], torch.stack(explicit).mean(0))
    assert torch.equal(found["labels"], dataset.labels)
    five = dict(ten_crop(predict, dataset, flip=False))
    torch.testing.assert_close(five["probabilities"], torch.stack(explicit[::2]).mean(0))


@pytest.mark.parametrize("batch_size", [1, 10, 13, 1000])
def test_the_batch_size_changes_nothing(recogniser: Make, noise: Noise, batch_size: int) -> None:
    predict, dataset = recogniser(), noise(5)
    torch.testing.assert_close(
        dict(ten_crop(predict, dataset, batch_size=batch_size))["probabilities"],
        dict(ten_crop(predict, dataset))["probabilities"],
    )


def test_ten_crops_of_a_rescaled_image(recogniser: Make, noise: Noise) -> None:
    whole = noise(6, 16, 16)
    predict = recogniser()
    plain, mirror = (single(predict, whole, lambda x, f=f: x.flip([-1] * f)) for f in (0, 1))
    torch.testing.assert_close(dict(ten_crop(predict, whole))["probabilities"], (plain + mirror) / 2)
    larger = torch.stack([predict.scaled(image, 20) for image in whole.images])
    scaled = ArraySet(larger, whole.labels, whole.classes, "test", "larger")
    torch.testing.assert_close(
        dict(ten_crop(predict, whole, scale=20))["probabilities"], dict(ten_crop(predict, scaled))["probabilities"]
    )


def test_the_grid_and_its_scales(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(), noise(4, 16, 20)
    assert predict.sides == (16, 16)
    explicit = []
    for side in (16, 18):  # S - 2 is smaller than the input
        for image in dataset.images:
            whole = predict.scaled(image, side)
            down, right = whole.shape[1] - 16, whole.shape[2] - 16
            crops = [whole[:, t : t + 16, w : w + 16] for t in (0, down // 2, down) for w in (0, right // 2, right)]
            explicit.append(predict(torch.stack([*crops, *(crop.flip(-1) for crop in crops)])).mean(0))
    expected = torch.stack(explicit).unflatten(0, (2, 4)).mean(0)
    cropped = dict(multi_crop(predict, dataset, grid=3))
    torch.testing.assert_close(cropped["probabilities"], expected)
    both = dict(multi_crop_dense(predict, dataset, grid=3))
    slid = dict(multi_scale(predict, dataset))
    torch.testing.assert_close(both["probabilities"], (cropped["probabilities"] + slid["probabilities"]) / 2)
    one = dict(multi_crop(predict, dataset, grid=1, scales=(), flip=False))
    torch.testing.assert_close(one["probabilities"], dict(center_crop(predict, dataset))["probabilities"])


def test_what_cannot_be_asked(recogniser: Make, noise: Noise) -> None:
    predict, dataset = recogniser(), noise(2)
    with pytest.raises(FovealError, match="15 pixels are fewer than the network's 16"):
        dict(ten_crop(predict, dataset, scale=15))
    with pytest.raises(FovealError, match="are no sizes"):
        dict(multi_crop(predict, dataset, scales=16))
    with pytest.raises(FovealError, match="grid=0"):
        dict(multi_crop(predict, dataset, grid=0))
    with pytest.raises(FovealError, match="batch_size=0"):
        dict(ten_crop(predict, dataset, batch_size=0))
    with pytest.raises(FovealError, match=r"prepared it is 3x12x30, but the network sees 3x16x16"):
        dict(ten_crop(predict, noise(1, 12, 30)))
    with pytest.raises(FovealError, match="no image"):
        dict(ten_crop(predict, noise(0)))


class _Counts(nn.Module):
    """A foreign transform that says when two threads are in it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.most = 0, 0

    def forward(self, image: Tensor) -> Tensor:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.002)
        self.inside -= 1
        return image


def test_foreign_transforms_run_one_at_a_time(recogniser: Make, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, dataset = recogniser(), noise(40, 16, 16)
    foreign = _Counts()
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    predict = Recogniser(
        predict.model, predict.recipe, predict.classes, predict.placement, Pipeline((foreign,), (), predict.input)
    )
    dict(ten_crop(predict, dataset, batch_size=200))
    dict(ten_crop(predict, dataset, scale=20, batch_size=200))
    assert foreign.most == 1
