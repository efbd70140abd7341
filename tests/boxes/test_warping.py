"""R-CNN's windows: where each pixel of a result comes from in the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foveal.boxes.warping import warped
from foveal.errors import FovealError


def ramp(height: int = 60, width: int = 80) -> Tensor:
    """Two planes: the column and the row of each pixel's centre, float32 [1, 2, height, width]."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack((columns, rows))[None]


BOX = torch.tensor([[30.0, 20.0, 50.0, 30.0]])  # 20 wide, 10 high


@pytest.mark.parametrize("context", [0, 4])
def test_a_warped_window_fills_all_but_the_context(context: int) -> None:
    size, inner = 20, 20 - 2 * context
    columns, rows = warped(ramp(), [BOX], (size, size), context=context)[0]
    steps = torch.arange(size) + 0.5 - context
    torch.testing.assert_close(columns[0], 30 + steps * 20 / inner)
    torch.testing.assert_close(rows[:, 0], 20 + steps * 10 / inner)


def test_the_paper_shows_sixteen_pixels_of_what_is_beside() -> None:
    box = torch.tensor([[30.0, 20.0, 49.5, 29.75]])  # a tenth and a twentieth of 195 pixels
    columns, rows = warped(ramp(), [box], (227, 227))[0]
    torch.testing.assert_close(columns[0, 16], torch.tensor(30.05))
    torch.testing.assert_close(columns[0, 0], torch.tensor(30 - 1.6 + 0.05))
    torch.testing.assert_close(rows[-17, 0], torch.tensor(29.75 - 0.025))


def test_a_square_keeps_proportions() -> None:
    columns, rows = warped(ramp(), [BOX], (20, 20), context=0, shape="square")[0]
    torch.testing.assert_close(columns[0], 30 + torch.arange(20) + 0.5)
    torch.testing.assert_close(rows[:, 0], 15 + torch.arange(20) + 0.5)  # 10 pixels of the box, 5 above, 5 below


def test_a_tight_square_shows_the_window_and_its_context_alone() -> None:
    for context in (0, 2):
        square, tight = (
            warped(ramp(), [BOX], (20, 20), context=context, shape=shape)[0] for shape in ("square", "tight")
        )
        shown = tight[1, :, 10] != 0
        pixel = 20 / (20 - 2 * context)
        assert int(shown.sum()) == round(10 / pixel) + 2 * context
        torch.testing.assert_close(tight[:, shown], square[:, shown])


def test_what_lies_outside_the_image_is_zero() -> None:
    cut = warped(torch.ones(1, 3, 40, 40), [torch.tensor([[-20.0, 0.0, 20.0, 40.0]])], (20, 20), context=0)[0]
    assert (cut[:, :, :9] == 0).all() and (cut[:, :, 11:] == 1).all()


def test_windows_come_image_by_image() -> None:
    images = torch.cat((torch.zeros(1, 3, 20, 30), torch.ones(1, 3, 20, 30)))
    boxes = torch.tensor([[2.0, 2.0, 18.0, 18.0], [4.0, 4.0, 20.0, 12.0]])
    cut = warped(images, [boxes, boxes[:1]], (8, 8), context=1)
    assert cut.shape == (3, 3, 8, 8) and cut.mean((1, 2, 3)).tolist() == [0, 0, 1]
    assert warped(images, [boxes[:0], boxes[:0]], (8, 8), context=1).shape == (0, 3, 8, 8)


def test_bad_values_are_refused() -> None:
    with pytest.raises(FovealError, match="did you mean square"):
        warped(ramp(), [BOX], (20, 20), context=0, shape="squre")  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="less than half a side"):
        warped(ramp(), [BOX], (20, 20))
