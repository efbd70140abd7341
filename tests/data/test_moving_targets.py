"""A mask and boxes go where their image goes, under every transform of ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.data.draws import uniforms
from foveal.data.transforms import LensDistortion, Pad, PadCrop, Photometric, Rotation, parse_transforms, transforms
from foveal.data.transforms.base import BatchTransform
from foveal.errors import FovealError

MOVING = (
    "pad(5)",
    "center_crop((70, 90))",
    "random_crop((70, 90))",
    "corner_crop((70, 90))",
    "pad_crop(12)",
    "flip(0.5)",
    "affine(degrees=20, shift=0.1, scale=0.2, shear=10)",
    "rotation(25)",
    "lens_distortion(0.3, 0.4)",
    "resize(60)",
    "resize(150)",
    "resize_exact(77, 150)",
    "scale_jitter(50, 160)",
    "random_resized_crop(64)",
    "letterbox(110, 90)",
    "zoom_out(2, 0.8, fill=0)",
    "random_view((90, 100), (0.8, 1.2), degrees=15, shear=5)",
)
STILL = ("pca_colour(0.5)", "color_jitter(0.4, 0.4, 0.4)", "colour_cast", "vignette", "grey")
HEIGHT, WIDTH = 96, 120


def blob() -> Tensor:
    """A mask with an ellipse off the centre, bool [96, 120]: it has no edge along which rounding could hide a shift."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return ((x - 50) / 22) ** 2 + ((y - 55) / 15) ** 2 <= 1


def step_of(text: str) -> BatchTransform:
    (step,) = parse_transforms((text,))
    assert isinstance(step, BatchTransform)
    return step


def test_every_transform_is_covered() -> None:
    assert {text.partition("(")[0] for text in (*MOVING, *STILL)} == set(transforms())
    still = {name for name, cls in transforms().items() if issubclass(cls, Photometric)}
    assert still == {text.partition("(")[0] for text in STILL}


@pytest.mark.parametrize("text", MOVING)
def test_mask_and_box_move_with_the_image(text: str) -> None:
    step, mask = step_of(text), blob()
    image = mask.to(torch.uint8).mul(255).expand(1, 3, -1, -1)
    box = tv_tensors.BoundingBoxes(around(mask)[None], format="XYXY", canvas_size=(HEIGHT, WIDTH))  # type: ignore[arg-type]
    seen = 0
    for n in range(24):
        u = uniforms(1, 0, torch.tensor([n]), step.draws)
        moved = step.batch(image, u)[0]
        expected = moved[0] > 127
        found = step.move(tv_tensors.Mask(mask), u)
        assert found.shape == expected.shape and found.dtype == torch.bool
        outline = max(int(expected.sum()) ** 0.5, 1) * 4
        assert int((found != expected).sum()) <= 0.2 * outline, n  # pixels on the outline, by rounding
        boxes = step.move(box, u)
        assert boxes.canvas_size == tuple(expected.shape)
        inside = expected.any() and expected[1:-1, 1:-1].sum() == expected.sum()
        if inside:  # else the frame cuts it
            seen += 1
            tight, loose = around(expected), boxes[0].as_subclass(Tensor)
            assert (loose[:2] <= tight[:2] + 1).all() and (loose[2:] >= tight[2:] - 1).all(), n
            if not text.startswith(("rotation", "affine", "random_view")):  # these turn the box's empty corners too
                assert (loose - tight).abs().max() <= (1.5 if "resize" not in text else 2.5), n
    assert seen >= 4


@pytest.mark.parametrize("text", MOVING)
def test_points_move_with_the_image(text: str) -> None:
    step = step_of(text)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    place = torch.tensor((52.0, 47.0))
    spot = 255 * (-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 30).exp()
    image = spot.round().to(torch.uint8).expand(1, 3, -1, -1)
    points = tv_tensors.KeyPoints(place[None, None], canvas_size=(HEIGHT, WIDTH))
    seen = 0
    for n in range(24):
        u = uniforms(1, 0, torch.tensor([n]), step.draws)
        moved = step.batch(image, u)[0, 0].double()
        found = step.move(points, u)
        assert found.shape == (1, 1, 2) and found.dtype == torch.float32
        assert tuple(found.canvas_size) == tuple(moved.shape)
        edge = torch.cat((moved[:3].flatten(), moved[-3:].flatten(), moved[:, :3].flatten(), moved[:, -3:].flatten()))
        if moved.max() < 100 or edge.max() > 12:  # the frame cuts it
            continue
        seen += 1
        down, across = torch.meshgrid(*(torch.arange(side) + 0.5 for side in moved.shape), indexing="ij")
        centre = torch.stack(((moved * across).sum(), (moved * down).sum())) / moved.sum()
        assert (found[0, 0].as_subclass(Tensor) - centre).abs().max() <= 1, n
    assert seen >= 3


def around(mask: Tensor) -> Tensor:
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=torch.float32)


@pytest.mark.parametrize("text", STILL)
def test_colours_change_and_targets_stay(text: str) -> None:
    step, mask = step_of(text), tv_tensors.Mask(blob())
    box = tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYWH", canvas_size=(HEIGHT, WIDTH))  # type: ignore[arg-type]
    u = torch.full((1, step.draws), 0.3)
    assert step.move(mask, u) is mask and step.move(box, u) is box


def test_a_sample_moves_as_one_the_v2_way() -> None:
    mask = blob()
    image = tv_tensors.Image(mask.to(torch.uint8).mul(255).expand(3, -1, -1))
    torch.manual_seed(0)
    augment = v2.Compose([Rotation(20), LensDistortion(), PadCrop(8)])
    for _ in range(5):
        moved, moved_mask, label = augment(image, tv_tensors.Mask(mask), 7)
        assert label == 7 and isinstance(moved_mask, tv_tensors.Mask)
        assert ((moved[0] > 127) != moved_mask).float().mean() < 0.01


def test_instance_masks_and_integer_labels_keep_shape_and_type() -> None:
    labels = torch.arange(HEIGHT * WIDTH).view(HEIGHT, WIDTH) % 21
    for text in MOVING:
        step = step_of(text)
        u = torch.full((1, step.draws), 0.4)
        one = step.move(tv_tensors.Mask(labels), u)
        three = step.move(tv_tensors.Mask(labels.expand(3, -1, -1)), u)
        assert one.dtype == three.dtype == torch.int64 and three.shape == (3, *one.shape), text
        assert torch.equal(three[2].as_subclass(Tensor), one.as_subclass(Tensor)), text
        assert set(one.unique().tolist()) <= set(range(21)), text


@pytest.mark.parametrize("step", [Pad(4), PadCrop(30), Rotation(45)])
def test_what_comes_from_outside_is_marked(step: BatchTransform) -> None:
    u = torch.full((1, step.draws), 0.99)
    labels = tv_tensors.Mask(torch.full((HEIGHT, WIDTH), 3, dtype=torch.uint8))
    assert set(step.move(labels, u).unique().tolist()) == {0, 3}
    step.outside = 255
    assert set(step.move(labels, u).unique().tolist()) == {3, 255}


@pytest.mark.parametrize("name", ["XYXY", "XYWH", "CXCYWH"])
def test_a_lens_gives_boxes_back_in_their_format(name: str) -> None:
    corners = tv_tensors.BoundingBoxes([[20, 30, 50, 60], [0, 0, 120, 96]], format="XYXY", canvas_size=(HEIGHT, WIDTH))  # type: ignore[arg-type]
    boxes = functional.convert_bounding_box_format(corners, new_format=name)
    step = LensDistortion(0.3)
    for u in uniforms(0, 0, torch.arange(8), 2)[:, None]:
        expected = functional.convert_bounding_box_format(step.move(corners, u), new_format=name)
        moved = step.move(boxes, u)
        assert moved.format.name == name and moved.dtype == corners.dtype
        assert (moved - expected).abs().max() <= 1
        whole = functional.convert_bounding_box_format(moved, new_format="XYXY")[1]
        assert whole.tolist() == [0, 0, 120, 96]  # the picture fills its frame under every lens


def test_a_lens_refuses_turned_boxes() -> None:
    boxes = tv_tensors.BoundingBoxes([[20.0, 30, 50, 60, 12]], format="XYWHR", canvas_size=(HEIGHT, WIDTH))  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="format XYWHR"):
        LensDistortion().move(boxes, torch.full((1, 2), 0.4))


def test_a_transform_without_a_warp_says_so() -> None:
    class Mirror(BatchTransform):
        pass

    with pytest.raises(FovealError, match="cannot move a Mask"):
        Mirror()(tv_tensors.Mask(torch.zeros(4, 4)))
