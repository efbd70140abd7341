"""The single-crop protocol on predictors whose answers are known."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.protocols.center_crop import center_crop


class _Set:
    """Images whose every pixel is their number; the label is the number modulo `classes`."""

    def __init__(self, n: int, classes: int, side: int = 4) -> None:
        self.n, self.count, self.side = n, classes, side

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return torch.full((1, self.side, self.side), i, dtype=torch.uint8), i % self.count

    def name(self, i: int) -> str:
        return f"image {i}"


@dataclass
class _Knows:
    """Reads the label from the pixels and is `shift` classes off."""

    count: int
    shift: int = 0
    input: tuple[int, int, int] = (1, 4, 4)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.count)))

    def prepare(self, image: Tensor) -> Tensor:
        return image

    def __call__(self, images: Tensor) -> Tensor:
        assert images.dtype is torch.uint8
        assert images.shape[1:] == self.input
        predicted = (images[:, 0, 0, 0].long() + self.shift) % self.count
        return 0.9 * torch.nn.functional.one_hot(predicted, self.count) + 0.1 / self.count


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_perfect_and_shifted_predictors(batch_size: int) -> None:
    found = dict(center_crop(_Knows(8), _Set(20, 8), batch_size=batch_size))
    assert list(found) == ["probabilities", "labels", "top1_error", "top5_error", "cross_entropy"]
    assert found["labels"].tolist() == [i % 8 for i in range(20)]
    assert torch.equal(found["probabilities"].argmax(1), found["labels"])
    assert found["top1_error"] == found["top5_error"] == 0
    assert found["cross_entropy"] == pytest.approx(-torch.tensor(0.9 + 0.1 / 8).log().item(), rel=1e-5)
    shifted = dict(center_crop(_Knows(8, shift=1), _Set(20, 8), batch_size=batch_size))
    assert shifted["top1_error"] == 100


@pytest.mark.parametrize("classes", [2, 5])
def test_no_top_5_where_it_says_nothing(classes: int) -> None:
    assert "top5_error" not in dict(center_crop(_Knows(classes), _Set(10, classes)))


def test_the_centre_is_cut_out() -> None:
    class Corner(_Set):
        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            image = torch.zeros(1, 6, 8, dtype=torch.uint8)
            image[:, 1:5, 2:6] = i
            return image, i % 3

    assert dict(center_crop(_Knows(3), Corner(9, 3)))["top1_error"] == 0


def test_too_small_an_image_is_named_and_an_empty_set_refused() -> None:
    with pytest.raises(FovealError, match=r"image 0: prepared it is 1x3x3, but the network sees 1x4x4"):
        dict(center_crop(_Knows(3), _Set(5, 3, side=3)))
    with pytest.raises(FovealError, match="no image"):
        dict(center_crop(_Knows(3), _Set(0, 3)))
