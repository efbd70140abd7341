"""OverFeat's localiser and detector: at every place and scale a class and a box, and boxes that agree are merged.

P. Sermanet, D. Eigen, X. Zhang, M. Mathieu, R. Fergus, Y. LeCun, «OverFeat: integrated recognition, localization and
detection using convolutional networks», ICLR 2014, sections 4 and 5. The classifier slides over the image at several
scales, with its last pooling at each offset; on the same maps a second network of 4096 and 1024 units says where the
edges of the object are. Training is the classifier's first; the regressor's then, by squared errors, on the windows
that overlap an object by half or more, at all scales, with everything else frozen:

    foveal train overfeat_accurate_imagenet data=DIR
    foveal train overfeat_localisation_imagenet data=BOXES weights=RUN

Without `freeze=classifier` both learn at once. The detector differs in its background class, whose examples are the
most offending windows of each image.

The paper's last layer of the regressor is one for each class, and then one for all proves better (31.3 % of
localisation error against 44.1 %): so `per_class` is false unless asked for.

What the paper leaves open. Edges are told in the window's own measure, -1 and 1 being its edges, and the overlap is
taken as IoU. Boxes are merged class by class; for matchScore see `boxes.merge`. A merged box has the sum S of its
windows' probabilities, reported as S / (1 + S), which has the same order and stays below 1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from foveal.boxes.coding import clip, to_centre
from foveal.boxes.merge import fixed_merge, merge
from foveal.errors import FovealError, unknown
from foveal.layers.sliding import SlidingLinear
from foveal.models.detect._found import Detections, Limits, best_fixed, candidates_fixed, found, found_fixed
from foveal.models.detect._references import joined
from foveal.models.detect._windows import Windows, class_loss, classifier, matched, slid
from foveal.types import Facts

Joining = Literal["merge", "suppress"]

SCALES = (1.0, 389 / 461, 317 / 461, 245 / 461)
"""Of an input of 461 pixels: the short sides of scales 4 to 1 of the paper's table 5. The paper localises with four
scales, about 1.4 apart, and does not say which."""
_CANDIDATES = 500  # boxes of a class in an image that are merged: the work grows with their square
_PAPER = "Sermanet et al.: OverFeat: Integrated Recognition, Localization and Detection using Convolutional Networks"
FACTS = {
    "overfeat_localiser": Facts(
        paper=_PAPER,
        year=2014,
        input=(3, 461, 461),
        parameters=253_717_612,
        published={
            "localisation_error_test": 29.9,  # ILSVRC 2013, the winner
            "localisation_error_val": 30.0,  # four scales; 31.5 with two, 40 with one central view
            "localisation_error_val_one_regressor": 31.3,
            "localisation_error_val_one_regressor_a_class": 44.1,
        },
    ),
    "overfeat_detector": Facts(
        paper=_PAPER,
        year=2014,
        input=(3, 461, 461),
        num_classes=200,
        dataset="ILSVRC 2013 detection",
        parameters=250_444_109,
        published={"map": 24.3, "map_competition": 19.4},
    ),
}


class Raw(NamedTuple):
    """What the networks say of A windows: logits [N, A, classes], background first if there is one; edges
    [N, A, 1 or num_classes, 4], left, top, right, bottom, from -1 to 1 where they are the window's; the windows
    themselves, float32 [A, 4] in pixels, and the number of the scale of each, int64 [A]."""

    logits: Tensor
    edges: Tensor
    windows: Tensor
    scales: Tensor


class OverFeat(nn.Module):
    """Images [N, 3, H, W] → `Raw`. chain: a classifier of windows of `side` pixels, with background as class 0 or none.

    hidden: units of the regressor's two layers; classes: of each image and scale the best so many are looked for;
    threshold: match score up to which boxes are merged.
    """

    def __init__(
        self,
        chain: nn.Sequential,
        side: int,
        num_classes: int,
        *,
        background: bool,
        hidden: Sequence[int],
        per_class: bool,
        windows: tuple[Sequence[float], int],
        classes: int,
        joining: Joining,
        threshold: float,
        limits: Limits,
    ) -> None:
        super().__init__()
        if joining not in ("merge", "suppress"):
            raise unknown("joining", str(joining), ("merge", "suppress"))
        if classes < 1 or threshold < 0 or len(hidden) != 2 or min(hidden) < 1:
            raise FovealError(
                f"classes={classes}, threshold={threshold}, hidden={tuple(hidden)}",
                "give a class or more, a match score from 0 on, and two layers' units",
            )
        self.backbone, self.classifier, stride = slid(chain, side)
        self.regressor = _regressor(self.classifier, hidden, num_classes if per_class else 1)
        self.windows = Windows(windows[0], side, stride, windows[1])
        self.num_classes, self.background, self.limits = num_classes, background, limits
        self.classes, self.joining, self.threshold = classes, joining, threshold

    def forward(self, images: Tensor) -> Raw:
        maps = [self.backbone(level) for level in self.windows(images)]
        logits = [self.classifier(map) for map in maps]
        edges = [self.regressor(map) for map in maps]
        said = joined(edges, edges[0].shape[1])
        return Raw(
            joined(logits, logits[0].shape[1]), said.view(*said.shape[:2], -1, 4), *self.windows.boxes(logits, images)
        )

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Over windows that overlap an object by half or more: `classes`, cross-entropy, with background also of three
        times as many others, the most offending; `boxes`, the squared errors of the four edges.

        targets: one dictionary an image with `boxes` [K, 4] and `labels` [K]. An object that no window overlaps by half
        is not learned: choose scales that fit.
        """
        raw = self(images)
        matching, labels = matched(raw.windows, targets, self.background)
        image, window = (matching >= 0).nonzero(as_tuple=True)
        each = [target["boxes"][row[row >= 0]] for row, target in zip(matching, targets, strict=True)]
        own = labels[image, window] - int(self.background) if raw.edges.shape[2] > 1 else torch.zeros_like(image)
        view = to_centre(raw.windows[window])
        wanted = (torch.cat(each) - view[:, :2].repeat(1, 2)) / view[:, 2:].repeat(1, 2) * 2
        apart = (raw.edges[image, window, own] - wanted).square().sum()
        return {
            "classes": class_loss(raw.logits, matching, labels, self.background),
            "boxes": apart / max(1, len(image)),
        }

    def decode(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Boxes float32 [N, A, 4], or [N, A, num_classes, 4] of each class its own, which may leave the image, and
        probabilities of the classes [N, A, num_classes]."""
        view = to_centre(raw.windows)[:, None]
        boxes = view[..., :2].repeat(1, 1, 2) + raw.edges * view[..., 2:].repeat(1, 1, 2) / 2
        scores = raw.logits.softmax(-1)[..., int(self.background) :]
        return (boxes if boxes.shape[2] > 1 else boxes[:, :, 0]), scores

    def detect(self, images: Tensor) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on."""
        pairs = zip(*self._looked_for(images), strict=True)
        if self.joining == "suppress":
            return [found(own, points, self.limits) for own, points in pairs]
        return [_merged(own, points, self.limits, self.threshold) for own, points in pairs]

    def fixed(self, images: Tensor) -> Detections:
        """`detect` in a graph that does not depend on the data, for export: `boxes` [N, K, 4], `scores` [N, K] falling,
        0 where less is found, and `labels` [N, K]. Of a class the same candidates are merged, 500 at most."""
        boxes, scores = self._looked_for(images)
        if self.joining == "suppress":
            return found_fixed(boxes, scores, self.limits)
        candidates = candidates_fixed(boxes, scores, self.limits)
        best = best_fixed(*fixed_merge(*candidates, self.threshold, self.limits.score), self.limits)
        return best | {"scores": best["scores"] / (1 + best["scores"])}

    def _looked_for(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes within the image, and the scores that they are joined by, 0 for classes that are not looked for."""
        raw = self(images)
        boxes, scores = self.decode(raw)
        return clip(boxes, *images.shape[2:]), self._named(scores, raw.scales)

    def _named(self, scores: Tensor, scales: Tensor) -> Tensor:
        """The scores [N, A, classes], 0 for classes that are not among the best of their image and scale: C_s."""
        if self.classes >= self.num_classes:
            return scores
        most = scores.new_zeros(len(scores), len(self.windows.scales), self.num_classes)
        most = most.scatter_reduce(1, scales[:, None].expand_as(scores), scores, "amax")
        named = torch.zeros_like(most).scatter(2, most.topk(self.classes, dim=2).indices, 1.0)
        return scores * named[:, scales]

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The classifier's name of each tensor → its name here."""
        parts = {"backbone": self.backbone, "classifier": self.classifier}
        yield "the classifier's names", {key: f"{at}.{key}" for at, part in parts.items() for key in part.state_dict()}


def overfeat_localiser(
    num_classes: int = 1000,
    *,
    trunk: str = "overfeat_accurate",
    side: int = 0,
    scales: Sequence[float] = SCALES,
    border: int = 0,
    hidden: Sequence[int] = (4096, 1024),
    per_class: bool = False,
    classes: int = 5,
    joining: Joining = "merge",
    threshold: float = 0.5,
    score: float = 0.0,
    most: int = 100,
) -> OverFeat:
    """OverFeat's localiser: images [N, 3, H, W] with an object of one of the classes each → boxes, classes, scores.

    trunk: a chain of the catalogue, or all but the last layer of a classifier in the lectures' notation for windows of
    `side` pixels. scales: shares of the image's size; border: how many pixels windows reach beyond. hidden: the
    regressor's two layers; per_class: a last layer for each class. Of each scale the best `classes` are looked for;
    boxes of windows above `score` (the best 500 of a class) are merged up to a match score of `threshold`, or with
    joining=suppress dropped where they overlap a better one (IoU above 0.3), and `most` reported. Raises FovealError
    for other values.
    """
    chain, side = classifier(trunk, side, num_classes)
    return OverFeat(
        chain,
        side,
        num_classes,
        background=False,
        hidden=hidden,
        per_class=per_class,
        windows=(scales, border),
        classes=classes,
        joining=joining,
        threshold=threshold,
        limits=Limits(score, 0.3, most, candidates=_CANDIDATES),
    )


def overfeat_detector(
    num_classes: int = 200,
    *,
    trunk: str = "overfeat_accurate",
    side: int = 0,
    scales: Sequence[float] = SCALES,
    border: int = 0,
    hidden: Sequence[int] = (4096, 1024),
    per_class: bool = False,
    classes: int = 200,
    joining: Joining = "merge",
    threshold: float = 0.5,
    score: float = 0.2,
    most: int = 200,
) -> OverFeat:
    """OverFeat's detector: any number of objects an image, and a background class; else as `overfeat_localiser`."""
    chain, side = classifier(trunk, side, num_classes + 1)
    return OverFeat(
        chain,
        side,
        num_classes,
        background=True,
        hidden=hidden,
        per_class=per_class,
        windows=(scales, border),
        classes=classes,
        joining=joining,
        threshold=threshold,
        limits=Limits(score, 0.3, most, candidates=_CANDIDATES),
    )


def _regressor(classifier: nn.Sequential, hidden: Sequence[int], regressors: int) -> nn.Sequential:
    """Section 4.1: two hidden layers on what the classifier's first layer sees, and four edges for each regressor; they
    begin at those of the window."""
    first = classifier[0]
    assert isinstance(first, SlidingLinear)
    channels, grid, dilation = first.in_channels, first.kernel_size, first.dilation
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, units in enumerate((*hidden, 4 * regressors), 1):
        linear = nn.Linear(channels * grid[0] * grid[1], units)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers[f"fc{number}"] = SlidingLinear(linear, channels, grid, dilation)
        layers[f"relu{number}"] = nn.ReLU()
        channels, grid, dilation = units, (1, 1), (1, 1)
    del layers["relu3"]
    last = layers["fc3"]
    assert isinstance(last, SlidingLinear)
    nn.init.normal_(last.weight, std=0.01)
    with torch.no_grad():
        last.bias.copy_(torch.tensor((-1.0, -1.0, 1.0, 1.0)).repeat(regressors))
    return nn.Sequential(layers)


def _merged(boxes: Tensor, scores: Tensor, limits: Limits, threshold: float) -> Detections:
    """Section 4.3 for one image: boxes [A, 4] or [A, C, 4] and scores [A, C] → detections, class by class."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for label, points in enumerate(scores.unbind(1)):
        value, row = points.topk(min(limits.candidates, len(points)))
        row = row[value > limits.score]
        if not len(row):
            continue
        together = merge(boxes[row] if boxes.ndim == 2 else boxes[row, label], points[row], threshold)
        parts.append((together.boxes, together.scores, torch.full_like(together.counts, label)))
    if not parts:
        none = boxes.new_zeros(0)
        return {"boxes": none.view(0, 4), "scores": none, "labels": none.long()}
    found_boxes, total, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    best = total.argsort(descending=True, stable=True)[: limits.most]
    return {"boxes": found_boxes[best], "scores": total[best] / (1 + total[best]), "labels": labels[best]}
