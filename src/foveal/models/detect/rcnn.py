"""R-CNN: every window of an image is cut out, brought to a classifier's size, and classified by itself.

R. Girshick, J. Donahue, T. Darrell, J. Malik, «Rich feature hierarchies for accurate object detection and semantic
segmentation», CVPR 2014; appendices by arXiv:1311.2524v5. Three things are learned one after the other: the classifier,
fine-tuned on warped windows (`losses`); then, from the features of one of its layers, a linear support vector machine a
class; and four regressors a class that move a window onto its object (`complete`).

Departures. Machines say a margin, which a sigmoid brings to 0 … 1 (0.5 is the border), so that scores are of the range
of all detectors; no rank changes. Features are scaled by the norm of those of true boxes, the paper's code takes random
windows. The regressors learn from 5,000 windows of a class at most, the first ones: 0.2 GB a class for pool5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.boxes.coding import clip, decode, encode
from foveal.boxes.matching import match, sample
from foveal.boxes.overlap import iou
from foveal.boxes.warping import Shape, warped
from foveal.errors import FovealError
from foveal.graph.taps import taps
from foveal.graph.trace import trace
from foveal.models import create
from foveal.models.detect._found import Detections, Limits, found, found_fixed
from foveal.models.detect._machines import COST, Machine, Regressor
from foveal.proposals.search import Search
from foveal.proposals.selective_search import Mode
from foveal.types import Facts

FACTS = {
    "rcnn": Facts(
        paper="Girshick, Donahue, Darrell, Malik: Rich Feature Hierarchies for Accurate Object Detection",
        year=2014,
        input=(3, 227, 227),
        num_classes=20,
        dataset="VOC 2007",
        parameters=56_954_261,
        published={
            "ap50_voc07": 58.5, "ap50_voc07_without_regression": 54.2, "ap50_voc07_vgg16": 66.0, "ap50_voc10": 53.7,
            "seconds_vgg16": "47 an image on a K40, search left out (Girshick 2015, table 4)",
        },
    ),
}  # fmt: skip

Batches = Callable[[], Iterable[tuple[Tensor, Sequence[dict[str, Tensor]]]]]

_SAMPLED, _OBJECTS = 128, 0.25  # windows of an update, and the share of objects: 32 and 96 (section 2.3)
_NEGATIVE = 0.3  # IoU with the class's boxes below which a window is none of the class, for its machine
_NEAR = 0.6  # IoU above which regressors learn (appendix C)
_NORM = 20.0  # to which features are scaled, on average
_TOGETHER = 256  # windows that go through the classifier at once


class Raw(NamedTuple):
    """What is said of windows: `proposals` of each image, [P_i, 4] in pixels; and of the P windows of all images the
    classifier's logits [P, num_classes + 1], background first, and the features that machines [P, D] and regressors
    [P, E] look at."""

    proposals: list[Tensor]
    logits: Tensor
    features: Tensor
    shifting: Tensor


class RCNN(nn.Module):
    """Images [N, 3, H, W] → `Raw`. backbone: a classifier of num_classes + 1 classes, the first of them background;
    layers: two of its layers, for the machines and for the regressors, of `widths` features. Until `complete` has
    fitted these the classifier's own probabilities are the scores, and windows stay where they are."""

    fitted: Tensor
    scales: Tensor
    weight: Tensor
    bias: Tensor
    shift: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        layers: tuple[str, str],
        widths: tuple[int, int],
        *,
        num_classes: int,
        size: tuple[int, int],
        search: Search,
        limits: Limits,
        context: int,
        shape: Shape,
        cost: float,
    ) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers
        self.num_classes, self.size, self.search, self.limits = num_classes, size, search, limits
        self.context, self.shape, self.cost = context, shape, cost
        self.backbone_input = (3, *size)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))  # no average is made of it
        self.register_buffer("scales", torch.ones(2))
        self.register_buffer("weight", torch.zeros(num_classes, widths[0]))
        self.register_buffer("bias", torch.zeros(num_classes))
        self.register_buffer("shift", torch.zeros(num_classes, widths[1] + 1, 4))

    def forward(self, images: Tensor, proposals: Sequence[Tensor] | None = None) -> Raw:
        windows = self.search.of(images, proposals)
        return Raw(windows, *self.look(images, windows))

    def look(self, images: Tensor, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """The classifier's logits of windows, and their features for machines and regressors, as `Raw` has them."""
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for image, own in zip(images, boxes, strict=True):
            for some in torch.split(own, _TOGETHER):
                parts.append(self._said(warped(image[None], [some], self.size, context=self.context, shape=self.shape)))
        logits, features, shifting = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return logits, features, shifting

    def losses(self, images: Tensor, targets: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """`classes`: the cross-entropy of 128 windows, as equally from all images as may be, up to a quarter of them
        with an IoU of 0.5 or more with an object; all others are background. What was fitted before is void.

        targets: one dictionary an image with `boxes` [K, 4] in pixels, `labels` [K], and the windows as `proposals`
        [P, 4]; images are searched where these are missing. True boxes are windows too.
        """
        self.fitted.zero_()
        chosen, labels = [], []
        for windows, target in zip(self.search.of_targets(images, targets), targets, strict=True):
            boxes = torch.cat((windows, target["boxes"]))
            matching = match(target["boxes"], boxes, 0.5, 0.5)
            objects, others = sample(matching, max(1, _SAMPLED // len(images)), _OBJECTS)
            chosen.append(boxes[torch.cat((objects, others))])
            labels += [target["labels"][matching[objects]] + 1, torch.zeros_like(others)]
        cut = warped(images, chosen, self.size, context=self.context, shape=self.shape)
        return {"classes": F.cross_entropy(self.backbone(cut).float(), torch.cat(labels))}

    def detect(self, images: Tensor, proposals: Sequence[Tensor] | None = None) -> list[Detections]:
        """For each image `boxes` [K, 4] in pixels, `scores` [K] falling, `labels` [K] from 0 on.

        proposals: the windows of each image, [P, 4] in pixels, best first; images are searched where none are given.
        """
        return self.detections(self(images, proposals), images)

    def detections(self, raw: Raw, images: Tensor) -> list[Detections]:
        """The detections that an answer comes to."""
        with torch.autocast(images.device.type, enabled=False):  # margins order boxes: they are not rounded
            boxes, scores = self._judged(torch.cat(raw.proposals), raw, images)
        counts = [len(own) for own in raw.proposals]
        parts = zip(torch.split(boxes, counts), torch.split(scores, counts), strict=True)
        return [found(own, points, self.limits) for own, points in parts]

    def fixed(self, images: Tensor, windows: Tensor) -> dict[str, Tensor]:
        """`detect` in windows [N, P, 4], those without area being none, in a graph that does not depend on the data:
        boxes [N, K, 4], scores [N, K] falling, 0 where nothing is left, labels [N, K]."""
        several = list(windows.unbind())
        boxes, scores = self._judged(windows.flatten(0, 1), Raw(several, *self.look(images, several)), images)
        boxes, scores = (part.view(*windows.shape[:2], *part.shape[1:]) for part in (boxes, scores))
        real = (windows[..., 2:] > windows[..., :2]).all(-1, keepdim=True)
        return dict(found_fixed(boxes, torch.where(real, scores, 0.0), self.limits))

    def _judged(self, windows: Tensor, raw: Raw, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [P, num_classes, 4] and scores [P, num_classes] of all images' windows [P, 4]."""
        fitted = self.fitted > 0
        margins = raw.features * self.scales[0] @ self.weight.T + self.bias
        scores = torch.where(fitted, margins.sigmoid(), raw.logits.softmax(1)[:, 1:])
        constant = torch.cat((raw.shifting * self.scales[1], torch.ones_like(windows[:, :1])), 1)
        moved = decode(torch.einsum("pe,keb->pkb", constant, self.shift), windows[:, None])
        return torch.where(fitted, clip(moved, *images.shape[2:]), windows[:, None]), scores

    @torch.no_grad()
    def complete(self, batches: Batches) -> str:
        """Fit machines and regressors to the training images, and say of how many windows they are made.

        batches: gives the images [N, 3, H, W], as in use, and their targets as `losses` takes them, anew each time: a
        first pass looks at true boxes, a second one at all windows. Of a class's machine the true boxes are positive,
        and negative are windows of an IoU below 0.3 with them all. To be called in evaluation mode.
        """
        machines = self._machines(batches)
        regressors = [Regressor(self.shift.shape[1] - 1) for _ in machines]
        for images, targets in batches():
            windows = self.search.of_targets(images, targets)
            for n, (own, target) in enumerate(zip(windows, targets, strict=True)):
                self._show(images[n : n + 1], torch.cat((target["boxes"], own)), target, machines, regressors)
        for k, (machine, regressor) in enumerate(zip(machines, regressors, strict=True)):
            machine.fit()
            self.weight[k], self.bias[k], self.shift[k] = machine.weight, machine.bias, regressor.fit()
        self.fitted.fill_(True)
        true, hard = (sum(map(len, part)) for part in zip(*((m.positives, m.negatives) for m in machines), strict=True))
        return f"machines of {true:,} true boxes and {hard:,} hard negatives"

    def _machines(self, batches: Batches) -> list[Machine]:
        """The machines with their positives, features scaled to a norm of 20 on average."""
        rows: list[tuple[Tensor, Tensor, Tensor]] = []
        for images, targets in batches():
            boxes = [target["boxes"] for target in targets]
            if any(len(own) for own in boxes):
                _, features, shifting = self.look(images, boxes)
                labels = torch.cat([target["labels"] for target in targets])
                rows.append((labels.cpu(), features.cpu(), shifting.norm(dim=1).cpu()))
        if not rows:
            raise FovealError("no training image has a box", "R-CNN's machines need true boxes: check the labels")
        labels, positives, norms = (torch.cat(part) for part in zip(*rows, strict=True))
        self.scales.copy_(_NORM / torch.stack((positives.norm(dim=1).mean(), norms.mean())).clamp_min(1e-12))
        scaled = positives * self.scales[0].cpu()
        return [Machine(scaled[labels == k], self.cost) for k in range(self.num_classes)]

    def _show(
        self,
        image: Tensor,
        boxes: Tensor,
        target: dict[str, Tensor],
        machines: Sequence[Machine],
        regressors: Sequence[Regressor],
    ) -> None:
        """All windows of an image, [1, 3, H, W], to the machines for which they are background, and those near an
        object to its regressors."""
        _, features, shifting = self.look(image, [boxes])
        features, shifting = (features * self.scales[0]).cpu(), (shifting * self.scales[1]).cpu()
        overlap, labels = iou(target["boxes"][:, None], boxes).cpu(), target["labels"].cpu()  # [T, R], [T]
        for k, machine in enumerate(machines):
            machine.show(features[(overlap[labels == k] < _NEGATIVE).all(0)])
        if not len(labels):
            return
        value, which = overlap.max(0)
        ways = encode(target["boxes"].cpu()[which], boxes.cpu())
        for k, regressor in enumerate(regressors):
            near = (value > _NEAR) & (labels[which] == k)
            regressor.show(shifting[near], ways[near])

    def _said(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output: list[Tensor] = []
        handle = self.backbone.register_forward_hook(lambda module, inputs, scores: output.append(scores))
        try:
            values = taps(self.backbone, set(self.layers))(windows)
        finally:
            handle.remove()
        features, shifting = (values[layer].flatten(1).float() for layer in self.layers)
        return output[0].float(), features, shifting

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The name of each tensor in the classifier → its name here."""
        yield "the classifier's names", {name: f"backbone.{name}" for name in self.backbone.state_dict()}


def rcnn(
    num_classes: int = 20,
    *,
    classifier: str = "alexnet",
    layer: str = "",
    boxes_layer: str = "",
    size: int = 227,
    context: int = 16,
    shape: Shape = "warp",
    cost: float = COST,
    proposals: Mode = "fast",
    windows: int = 2000,
    side: int = 500,
    least_side: int = 20,
    score: float = 0.05,
    overlap: float = 0.3,
    most: int = 100,
) -> RCNN:
    """R-CNN, images [N, 3, H, W] of any size; windows of them come to `size` x `size` pixels.

    classifier: a network of the catalogue, or package.module:function. layer: the one whose output machines look at, by
    default what goes into the last fully connected one; boxes_layer: the regressors' (the paper's is pool5), by default
    the same. context: pixels around a window in what the classifier sees; shape: `warp`, `square` or `tight`, as in
    `foveal.boxes.warping`; cost: of a machine's mistake. Other options as for `fast_rcnn`. Raises FovealError for other
    values, and for a classifier that cannot take the size.
    """
    if not cost > 0:
        raise FovealError(f"cost={cost} of a mistake", "give a number above 0; the paper's is 0.001")
    search = Search(proposals, windows, side, least_side)
    limits = Limits(score, overlap, most, side=0.01)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        copy = create(classifier, num_classes=num_classes + 1).eval()
        first = layer or _before_the_last(copy)
        layers = first, boxes_layer or first
        whole = torch.tensor(((0.0, 0.0, size, size),))
        image = warped(torch.zeros(1, 3, size, size), [whole], (size, size), context=context, shape=shape)
        try:
            values = taps(copy, set(layers))(image)
        except RuntimeError as error:
            raise FovealError(
                f"{classifier} cannot take windows of {size} x {size}: {error}", "set options.size to what it takes"
            ) from error
    widths = tuple(values[name].flatten(1).shape[1] for name in layers)
    return RCNN(
        create(classifier, num_classes=num_classes + 1),
        layers,
        (widths[0], widths[1]),
        num_classes=num_classes,
        size=(size, size),
        search=search,
        limits=limits,
        context=context,
        shape=shape,
        cost=cost,
    )


def _before_the_last(classifier: nn.Module) -> str:
    """The layer whose output the last fully connected one reads."""
    traced: Any = trace(classifier)
    nodes = [n for n in traced.graph.nodes if n.op == "call_module"]
    linear = [n for n in nodes if isinstance(traced.get_submodule(str(n.target)), nn.Linear)]
    if not linear:
        raise FovealError(f"{type(classifier).__name__} has no fully connected layer", "name the layer=… to look at")
    return str(linear[-1].all_input_nodes[0].meta["path"])
