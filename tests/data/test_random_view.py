"""A random view: one fetch of pixels that agrees with its mask, its boxes, and the same steps one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from foveal.data.transforms import RandomView, parse_transforms
from foveal.errors import FovealError
from foveal.types import IGNORED

MIDDLE = [0.5, 0.5, 0.5, 0.5, 0.5, 0.99]  # no angle, the centre, no mirror


def noise(height: int = 40, width: int = 56) -> Tensor:
    smooth = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(smooth, (height, width), mode="bilinear") * 255).byte()


def mask_of(values: Tensor) -> tv_tensors.Mask:
    return tv_tensors.Mask(values)


def test_a_view_of_everything_is_the_image() -> None:
    image, view = noise(), RandomView((40, 56), scale=(1, 1), flip=0)
    u = torch.rand(1, 6)
    assert torch.equal(view.batch(image, u), image)
    mask = mask_of(torch.randint(0, 5, (40, 56), dtype=torch.uint8))
    assert torch.equal(view.move(mask, u).as_subclass(Tensor), mask.as_subclass(Tensor))
    mirrored = RandomView((40, 56), scale=(1, 1), flip=1)
    assert torch.equal(mirrored.batch(image, u), image.flip(-1))
    assert torch.equal(mirrored.move(mask, u).as_subclass(Tensor), mask.as_subclass(Tensor).flip(-1))


@pytest.mark.parametrize(("degrees", "shear", "factor"), [(20, 0, 1.0), (0, 15, 1.0), (12, 8, 1.5)])
def test_it_moves_as_torchvision_does(degrees: float, shear: float, factor: float) -> None:
    image = noise()
    view = RandomView((40, 56), scale=(factor, factor), degrees=degrees, shear=shear, flip=0)
    row = torch.tensor([[0.5, 1 - 2**-24, 1 - 2**-24, 0.5, 0.5, 0.9]])
    expected = functional.affine(
        image, degrees, [0, 0], factor, [shear, 0.0], interpolation=functional.InterpolationMode.BILINEAR
    )
    apart = (view.batch(image, row).int() - expected.int()).abs()[..., 8:-8, 8:-8]
    assert int(apart.max()) <= 1


def test_windows_lie_anywhere_within() -> None:
    columns = torch.arange(56, dtype=torch.uint8).expand(1, 1, 40, 56)
    view = RandomView((10, 16), scale=(1, 1), flip=0)
    rows = torch.tensor([MIDDLE, MIDDLE])
    rows[:, 4] = torch.tensor([0.0, 1.0])
    first, last = view.batch(columns.expand(2, 1, 40, 56), rows)
    assert first[0, 0].tolist() == list(range(16)) and last[0, 0].tolist() == list(range(40, 56))


def test_a_smaller_image_lies_within_the_window() -> None:
    image, view = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), RandomView((20, 24), scale=(1, 1))
    view.outside = IGNORED
    u = torch.rand(1, 6)
    found = view.batch(image, u)[0, 0]
    mask = view.move(mask_of(torch.ones(8, 8, dtype=torch.uint8)), u)
    assert int((mask == 1).sum()) == 64 and int((mask == IGNORED).sum()) == 20 * 24 - 64
    assert ((found > 100) == (mask == 1)).float().mean() > 0.9


def test_mask_and_boxes_go_where_their_image_goes() -> None:
    image = torch.zeros(1, 3, 60, 80, dtype=torch.uint8)
    image[..., 20:40, 30:60] = 255
    mask = mask_of((image[0, 0] > 0).byte())
    box = tv_tensors.BoundingBoxes([[30.0, 20.0, 60.0, 40.0]], format="XYXY", canvas_size=(60, 80))
    view = RandomView((90, 120), scale=(0.5, 2), degrees=25, shear=10)
    for seed in range(20):
        u = torch.rand(1, 6, generator=torch.Generator().manual_seed(seed))
        bright = view.batch(image, u)[0, 0] > 127
        moved = view.move(mask, u).as_subclass(Tensor) == 1
        assert (bright == moved).float().mean() > 0.99
        found = functional.clamp_bounding_boxes(view.move(box, u)).as_subclass(Tensor)[0]
        if moved.any():
            rows, columns = moved.nonzero().unbind(1)
            seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (found - seen).abs().max() <= 2.5


def test_one_image_is_the_same_in_any_batch() -> None:
    images, u = noise().expand(3, -1, -1, -1), torch.rand(3, 6)
    view = RandomView((30, 30), degrees=10, fill=7)
    together = view.batch(images, u)
    for n in range(3):
        assert torch.equal(view.batch(images[n : n + 1], u[n : n + 1])[0], together[n])


def test_recipes_name_it() -> None:
    (view,) = parse_transforms(("random_view((30, 40), scale=(0.5, 2), degrees=5)",))
    assert isinstance(view, RandomView) and view.size == (30, 40) and view.degrees == 5
    for options in ({"scale": (2, 1)}, {"degrees": -1}, {"flip": 2}):
        with pytest.raises(FovealError, match="random_view"):
            RandomView(10, **options)
