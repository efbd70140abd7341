"""A detector as one graph that does not depend on the data: what ONNX and compilers want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.models.detect._found import Limits, found_fixed


class Exportable(nn.Module):
    """Images [N, 3, H, W] → boxes [N, most, 4] in pixels, scores [N, most] falling, labels int64 [N, most].

    model: a single-shot detector; `most` is its own. What `detect` finds, padded with scores of 0. Of each class only
    the best `candidates` boxes above the threshold count, so give more than a class has in an image, before
    suppression, or as many as the detector itself looks at (400 for SSD); the graph has as many steps.

    Raises FovealError for a two-stage detector, whose number of proposals is the image's. To export:

        torch.onnx.export(Exportable(model.eval()), (images,), "model.onnx", dynamo=True)
    """

    def __init__(self, model: nn.Module, candidates: int = 200) -> None:
        super().__init__()
        scored: Callable[[Tensor], tuple[Tensor, Tensor]] | None = getattr(model, "scored", None)
        if scored is None:
            raise FovealError(
                f"{type(model).__name__} cannot be exported: its number of proposals depends on the image",
                "export its backbone, or a single-shot detector (ssd300, ssd512, ssd_resnet)",
            )
        self.model, self.candidates = model, candidates

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        detector: Any = self.model
        boxes, scores = detector.scored(images)
        limits: Limits = detector.limits
        return found_fixed(boxes, scores, limits, min(self.candidates, boxes.shape[1]))
