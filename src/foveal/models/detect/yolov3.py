"""YOLOv3: one look at three scales, boxes relative to cells and prior shapes, every class a question of its own.

J. Redmon, A. Farhadi, «YOLOv3: an incremental improvement» (2018). Darknet-53 (table 1) and predictions at strides of
32, 16 and 8; layers are registered in the order of the authors' yolov3.cfg.

The objective is section 2.1's with the cfg's and code's constants: squared errors of log sides, cross-entropies of
offsets, each weighted by 2 minus the box's share of the image; predictions that overlap any object by an IoU above
`ignore` (0.7 in the cfg, 0.5 in the text) count for nothing unless they are responsible.

The authors' yolov3.weights load into `yolov3()` by `load_weights`: mean=0 std=1, and their classes are COCO's 80.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.anchors import YOLOV3_PRIORS, cells
from foveal.boxes.coding import clip, decode_cell, encode_cell
from foveal.boxes.matching import match_cells, match_shapes
from foveal.boxes.overlap import iou
from foveal.errors import FovealError
from foveal.layers.alignment import ResizeLike
from foveal.models.detect._found import Detections, Limits, found
from foveal.models.detect._references import by_place
from foveal.types import Facts

FACTS = {
    "yolov3": Facts(
        paper="Redmon, Farhadi: YOLOv3: An Incremental Improvement",
        year=2018,
        input=(3, 416, 416),
        num_classes=80,
        dataset="COCO",
        parameters=61_949_149,
        published={"ap50_320": 51.5, "ap50_416": 55.3, "ap50_608": 57.9, "ap_608": 33.0},
    ),
}

_BLOCKS = (1, 2, 8, 8, 4)  # residual blocks behind each halving
_STRIDES = (32, 16, 8)
_SHAPES = 3  # priors a scale


class Level(NamedTuple):
    """What is said at one stride: raw [N, R, 5 + classes] (offsets and sides, objectness, classes, before any
    nonlinearity), for cells [R, 2] and priors [R, 2] in pixels; rows and columns of the grid."""

    raw: Tensor
    cells: Tensor
    priors: Tensor
    stride: int
    grid: tuple[int, int]


class Residual(nn.Module):
    """A 1x1 convolution to half the maps, a 3x3 one back, and the shortcut: [N, C, H, W] → the same shape."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.conv1 = _unit(maps, maps // 2, 1)
        self.conv2 = _unit(maps // 2, maps, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))  # type: ignore[no-any-return]


class Darknet(nn.Module):
    """Images [N, 3, H, W] → predictions [N, outputs, h, w] at strides of 32, 16 and 8. width: maps of the first layer,
    32 in the paper; all others are in proportion."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        trunk: OrderedDict[str, nn.Module] = OrderedDict(conv1=_unit(3, width, 3))
        maps = width
        for stage, count in enumerate(_BLOCKS, 1):
            trunk[f"down{stage}"] = _unit(maps, 2 * maps, 3, stride=2)
            maps *= 2
            trunk |= {f"block{stage}_{number}": Residual(maps) for number in range(1, count + 1)}
        self.order = tuple(trunk)
        for name, layer in trunk.items():
            self.add_module(name, layer)
        inputs = maps
        for scale in range(3):
            if scale:
                self.add_module(f"route{scale + 1}", _unit(maps // 2, maps // 4, 1))
                self.add_module(f"up{scale + 1}", ResizeLike("nearest"))
                maps //= 2
                inputs = maps // 2 + maps
            self.add_module(f"neck{scale + 1}", _neck(inputs, maps))
            self.add_module(f"conv{scale + 1}_6", _unit(maps // 2, maps, 3))
            self.add_module(f"output{scale + 1}", nn.Conv2d(maps, outputs, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x, maps = images, []
        for name in self.order:
            x = self.get_submodule(name)(x)
            if name in ("block3_8", "block4_8"):
                maps.append(x)
        outputs = []
        for scale in range(1, 4):
            if scale > 1:
                fine = maps[3 - scale]
                brought = self.get_submodule(f"up{scale}")(self.get_submodule(f"route{scale}")(x), fine)
                x = torch.cat((brought, fine), 1)
            x = self.get_submodule(f"neck{scale}")(x)
            outputs.append(self.get_submodule(f"output{scale}")(self.get_submodule(f"conv{scale}_6")(x)))
        return tuple(outputs)


class YOLOv3(nn.Module):
    """Images [N, 3, H, W] → a `Level` for each of the strides 32, 16 and 8."""

    priors: Tensor

    def __init__(
        self, backbone: Darknet, priors: Sequence[Sequence[Sequence[float]]], num_classes: int, limits: Limits
    ) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.limits, self.ignore = backbone, num_classes, limits, 0.7
        self.register_buffer("priors", torch.tensor(priors, dtype=torch.float32).flip(0), persistent=False)

    def forward(self, images: Tensor) -> list[Level]:
        levels = []
        for map, priors, stride in zip(self.backbone(images), self.priors, _STRIDES, strict=True):
            rows, columns = map.shape[2:]
            places = cells(rows, columns).to(map.device).repeat_interleave(_SHAPES, 0)
            raw = by_place(map, 5 + self.num_classes).float()
            levels.append(Level(raw, places, priors.repeat(rows * columns, 1), stride, (rows, columns)))
        return levels

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`offsets`, `sides`, `objectness` and `classes`, each summed over an image and averaged over the batch.

        The prior whose shape is most like an object's, of all nine, is responsible for it in the cell of its centre.
        targets: one dictionary an image with `boxes` [K, 4] in pixels and `labels` [K].
        """
        levels = self(images)
        image = torch.tensor(images.shape[2:]).prod()
        total = {
            name: images.new_zeros((), dtype=torch.float32) for name in ("offsets", "sides", "objectness", "classes")
        }
        for number, target in enumerate(targets):
            best = match_shapes(target["boxes"], self.priors.flatten(0, 1))
            for scale, level in enumerate(levels):
                mine = (best // _SHAPES == scale).nonzero().flatten()
                cell = match_cells(target["boxes"][mine], level.grid[0], level.grid[1], level.stride)
                place = cell * _SHAPES + best[mine] % _SHAPES
                terms = self._terms(level._replace(raw=level.raw[number]), target, mine, place, float(image))
                total = {name: total[name] + terms[name] for name in total}
        return {name: term / len(targets) for name, term in total.items()}

    def _terms(
        self, level: Level, target: dict[str, Tensor], mine: Tensor, place: Tensor, image: float
    ) -> dict[str, Tensor]:
        """The four sums of one image, [R, …], at one stride; objects `mine` belong to the predictions at `place`."""
        raw, truth = level.raw, target["boxes"]
        own, box = raw[place], truth[mine]
        wanted = encode_cell(box, level.cells[place], level.stride, level.priors[place])
        weight = 2 - (box[:, 2:] - box[:, :2]).prod(1, keepdim=True) / image
        offsets = F.binary_cross_entropy_with_logits(own[:, :2], wanted[:, :2].clamp(0, 1), weight, reduction="sum")
        sides = 0.5 * (weight * (own[:, 2:4] - wanted[:, 2:]).square()).sum()
        is_object = torch.zeros_like(raw[:, 4])
        is_object[place] = 1
        counted = torch.ones_like(is_object)
        if len(truth):
            with torch.no_grad():
                boxes = decode_cell(raw[:, :4], level.cells, level.stride, level.priors)
                counted[iou(truth[:, None], boxes).amax(0) > self.ignore] = 0
        counted[place] = 1
        classes = F.one_hot(target["labels"][mine], self.num_classes).to(own)
        return {
            "offsets": offsets,
            "sides": sides,
            "objectness": F.binary_cross_entropy_with_logits(raw[:, 4], is_object, counted, reduction="sum"),
            "classes": F.binary_cross_entropy_with_logits(own[:, 5:], classes, reduction="sum"),
        }

    def scored(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes within the image, float32 [N, R, 4], and objectness times class probability [N, R, num_classes]."""
        levels = self(images)
        boxes = [decode_cell(one.raw[..., :4], one.cells, one.stride, one.priors) for one in levels]
        raw = torch.cat([one.raw for one in levels], 1)
        return clip(torch.cat(boxes, 1), *images.shape[2:]), raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        return [found(boxes, scores, self.limits) for boxes, scores in zip(*self.scored(images), strict=True)]


def yolov3(
    num_classes: int = 80,
    *,
    width: int = 32,
    priors: Sequence[Sequence[Sequence[float]]] = YOLOV3_PRIORS,
    score: float = 0.05,
    overlap: float = 0.45,
    most: int = 100,
) -> YOLOv3:
    """YOLOv3 on Darknet-53, images [N, 3, H, W] in 0 … 1 with sides that 32 divides; the paper's are 320, 416, 608.

    width: maps of the first layer, others in proportion. priors: three shapes (width, height in pixels) for each of the
    strides 8, 16 and 32. Reported are boxes above `score`, without those that overlap a better one of their class by
    more than `overlap`, `most` of an image. Raises FovealError for other priors and an odd width.
    """
    if width < 2 or width % 2:
        raise FovealError(f"width={width}", "give an even number of maps, 32 for the paper's network")
    if [len(scale) for scale in priors] != [_SHAPES] * 3 or any(len(shape) != 2 for scale in priors for shape in scale):
        raise FovealError(
            "priors must be three shapes for each of three strides", "give ((w, h), (w, h), (w, h)) thrice"
        )
    backbone = Darknet(width, _SHAPES * (5 + num_classes))
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.1, nonlinearity="leaky_relu")
            if layer.bias is not None:  # of the predictions
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
    return YOLOv3(backbone, priors, num_classes, Limits(score, overlap, most, candidates=400))


def _unit(channels: int, maps: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, maps, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(maps), leaky=nn.LeakyReLU(0.1)))


def _neck(channels: int, maps: int) -> nn.Sequential:
    """Five convolutions, 1x1 and 3x3 in turn."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, 6):
        outputs = maps // 2 if number % 2 else maps
        layers[f"conv{number}"] = _unit(channels, outputs, 1 if number % 2 else 3)
        channels = outputs
    return nn.Sequential(layers)
