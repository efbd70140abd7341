"""YOLO: one look at the whole image, one answer for each cell of a 7x7 grid. And Fast YOLO, with fewer layers.

J. Redmon, S. Divvala, R. Girshick, A. Farhadi, «You only look once: unified, real-time object detection», CVPR 2016.
Each cell predicts two boxes with a confidence each, and one set of class probabilities for both: no anchors, and no
background class. Figure 3 and sections 2 to 2.3; equation 3 is the objective.

Fast YOLO's nine convolutions and its two layers before the last are those of the authors' configuration; the paper
says only how many there are. Departures: He's initialisation, since nothing here is downloaded unasked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from foveal.boxes.anchors import cells
from foveal.boxes.coding import clip, to_centre, to_corners
from foveal.boxes.matching import match_cells
from foveal.boxes.overlap import iou
from foveal.errors import FovealError
from foveal.models.detect._found import Detections, Limits, found
from foveal.types import Facts

_PAPER = "Redmon, Divvala, Girshick, Farhadi: You Only Look Once: Unified, Real-Time Object Detection"
_SIDE, _STRIDE = 448, 64  # of the image, of a cell, in pixels
_GRID, _BOXES = 7, 2  # S and B
_COORD, _NOOBJ = 5.0, 0.5  # λ of equation 3

FACTS = {
    "yolov1": Facts(
        paper=_PAPER,
        year=2016,
        input=(3, _SIDE, _SIDE),
        num_classes=20,
        dataset="VOC 2007",
        parameters=271_703_550,
        published={"ap50_voc0712": 63.4, "frames_per_second_titan_x": 45},
    ),
    "fast_yolo": Facts(
        paper=_PAPER,
        year=2016,
        input=(3, _SIDE, _SIDE),
        num_classes=20,
        dataset="VOC 2007",
        parameters=45_089_374,
        published={"ap50_voc0712": 52.7, "frames_per_second_titan_x": 155},
    ),
}

# (kernel, maps) of convolutions; "pool" halves; a third number is the stride
_YOLO: tuple[tuple[int, ...] | str, ...] = (
    (7, 64, 2), "pool", (3, 192), "pool",
    (1, 128), (3, 256), (1, 256), (3, 512), "pool",
    *((1, 256), (3, 512)) * 4, (1, 512), (3, 1024), "pool",
    *((1, 512), (3, 1024)) * 2, (3, 1024), (3, 1024, 2),
    (3, 1024), (3, 1024),
)  # fmt: skip
_FAST: tuple[tuple[int, ...] | str, ...] = (
    (3, 16), "pool", (3, 32), "pool", (3, 64), "pool", (3, 128), "pool", (3, 256), "pool", (3, 512), "pool",
    (3, 1024), (3, 1024), (3, 1024),
)  # fmt: skip


class Cells(NamedTuple):
    """What is said of the 49 cells: classes [N, 49, num_classes]; confidence [N, 49, 2]; and boxes [N, 49, 2, 4]:
    offsets in the cell, 0 to 1, and the roots of width and height as shares of the image."""

    classes: Tensor
    confidence: Tensor
    boxes: Tensor


class YOLOv1(nn.Module):
    """Images [N, 3, 448, 448] → `Cells`. The answers are linear, and learned by squared errors."""

    cells: Tensor

    def __init__(self, backbone: nn.Sequential, head: nn.Sequential, num_classes: int, limits: Limits) -> None:
        super().__init__()
        self.backbone, self.head, self.num_classes, self.limits = backbone, head, num_classes, limits
        self.register_buffer("cells", cells(_GRID, _GRID)[:, None], persistent=False)  # [49, 1, 2]

    def forward(self, images: Tensor) -> Cells:
        if tuple(images.shape[2:]) != (_SIDE, _SIDE):
            size = "x".join(map(str, images.shape[2:]))
            raise FovealError(f"YOLO takes images of {_SIDE}x{_SIDE}, not {size}", "add resize_exact(448, 448)")
        answer = self.head(self.backbone(images)).float().unflatten(1, (_GRID**2, -1))
        classes, confidence, boxes = answer.split([self.num_classes, _BOXES, 4 * _BOXES], dim=2)
        return Cells(classes, confidence, boxes.unflatten(2, (_BOXES, 4)))

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The four kinds of squared errors of equation 3, summed over an image and averaged over the batch: `boxes`
        (times 5), `object` and `background` (times 0.5) confidence, `classes`.

        The box of a cell that overlaps the object most is responsible for it; its confidence is to be that overlap. Of
        objects that share a cell the first one counts. targets: `boxes` [K, 4] in pixels and `labels` [K] an image.
        """
        answer = self(images)
        names = ("boxes", "object", "background", "classes")
        total = dict.fromkeys(names, answer.classes.new_zeros(()))
        for number, target in enumerate(targets):
            cell, first = _first_of_each(match_cells(target["boxes"], _GRID, _GRID, _STRIDE))
            truth, labels = target["boxes"][first], target["labels"][first]
            said = answer.boxes[number, cell]  # [K, 2, 4]
            with torch.no_grad():
                overlap = iou(self._corners(said, self.cells[cell]), truth[:, None])  # [K, 2]
                best, which = overlap.max(1)
            place = to_centre(truth)
            wanted = torch.cat((place[:, :2] / _STRIDE - self.cells[cell, 0], (place[:, 2:] / _SIDE).sqrt()), 1)
            confidence = answer.confidence[number]
            responsible = torch.zeros_like(confidence, dtype=torch.bool)
            responsible[cell, which] = True
            own = said[torch.arange(len(cell), device=cell.device), which]
            hot = nn.functional.one_hot(labels, self.num_classes)
            terms = (
                _COORD * (own - wanted).square().sum(),
                (confidence[cell, which] - best).square().sum(),
                _NOOBJ * (confidence.square() * ~responsible).sum(),
                (answer.classes[number, cell] - hot).square().sum(),
            )
            total = {name: total[name] + term for name, term in zip(names, terms, strict=True)}
        return {name: term / len(targets) for name, term in total.items()}

    def scored(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes within the image, float32 [N, 98, 4], and class-specific confidences [N, 98, num_classes] (eq. 1)."""
        answer = self(images)
        boxes = clip(self._corners(answer.boxes, self.cells), _SIDE, _SIDE).flatten(1, 2)
        return boxes, (answer.confidence[..., None] * answer.classes[:, :, None]).flatten(1, 2)

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return [found(boxes, scores, self.limits) for boxes, scores in zip(*self.scored(images), strict=True)]

    def _corners(self, boxes: Tensor, places: Tensor) -> Tensor:
        """Boxes as said [..., 2, 4] of the cells at `places` [..., 1, 2], in pixels."""
        return to_corners(torch.cat(((boxes[..., :2] + places) * _STRIDE, boxes[..., 2:].square() * _SIDE), -1))


def yolov1(
    num_classes: int = 20, *, width: float = 1.0, score: float = 0.05, overlap: float = 0.5, most: int = 98
) -> YOLOv1:
    """YOLO, 24 convolutions and two fully connected layers, images [N, 3, 448, 448] → 98 boxes.

    width: all layers have this share of the paper's. Reported are boxes above `score`, without those that overlap a
    better one of their class by more than `overlap`, `most` of an image.
    """
    return _network(_YOLO, (4096,), num_classes, width, Limits(score, overlap, most))


def fast_yolo(
    num_classes: int = 20, *, width: float = 1.0, score: float = 0.05, overlap: float = 0.5, most: int = 98
) -> YOLOv1:
    """Fast YOLO, nine convolutions, images [N, 3, 448, 448] → 98 boxes; options as for `yolov1`."""
    return _network(_FAST, (256, 4096), num_classes, width, Limits(score, overlap, most))


def _network(
    steps: Sequence[tuple[int, ...] | str], hidden: Sequence[int], num_classes: int, width: float, limits: Limits
) -> YOLOv1:
    if not 0 < width <= 4:
        raise FovealError(f"width={width}", "give a share of the paper's widths, such as 0.25")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    maps, number, pools = 3, 0, 0
    for step in steps:
        if isinstance(step, str):
            pools += 1
            layers[f"pool{pools}"] = nn.MaxPool2d(2, 2)
            continue
        number += 1
        kernel, outputs, stride = step[0], max(1, round(step[1] * width)), (*step, 1)[2]
        layers[f"conv{number}"] = nn.Conv2d(maps, outputs, kernel, stride, kernel // 2)
        layers[f"leaky{number}"] = nn.LeakyReLU(0.1)
        maps = outputs
    head: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = maps * _GRID**2
    for place, size in enumerate(hidden, number + 1):
        outputs = max(1, round(size * width))
        head |= {f"fc{place}": nn.Linear(inputs, outputs), f"leaky{place}": nn.LeakyReLU(0.1)}
        inputs = outputs
    head["drop"] = nn.Dropout(0.5)
    head["answer"] = nn.Linear(inputs, _GRID**2 * (num_classes + 5 * _BOXES))
    for layer in (*layers.values(), *head.values()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0.1, nonlinearity="leaky_relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    nn.init.normal_(head["answer"].weight, std=0.01)  # type: ignore[arg-type]  # a Linear's
    return YOLOv1(nn.Sequential(layers), nn.Sequential(head), num_classes, limits)


def _first_of_each(cell: Tensor) -> tuple[Tensor, Tensor]:
    """The cells that hold objects, each once, and the first object of each."""
    chosen, inverse = torch.unique(cell, return_inverse=True)
    order = torch.arange(len(cell), device=cell.device)
    first = torch.full_like(chosen, len(cell)).scatter_reduce(0, inverse, order, "amin")
    return chosen, first
