"""A detector as one graph that does not depend on the data: what ONNX and compilers want."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.models.detect._found import found_fixed


class Exportable(nn.Module):
    """Images [N, 3, H, W] → `boxes` [N, K, 4] in pixels, `scores` [N, K] falling, `labels` int64 [N, K], by name.

    What `detect` finds, padded with scores of 0 to as many as the detector reports at most, and what else it says of
    each box. `foveal.exporting.onnx.write` makes an ONNX file of it.

    model: a detector with `scored(images)`, boxes [N, R, 4] and scores [N, R, C] before suppression, and its `limits`;
    or with `fixed(images)`, a dictionary of tensors whose shapes do not depend on the images. Raises FovealError for
    any other.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not (hasattr(model, "fixed") or hasattr(model, "scored")):
            raise FovealError(
                f"{type(model).__name__} cannot be exported: what it computes depends on the image",
                "export its backbone, or another detector",
            )
        self.model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        detector: Any = self.model
        if hasattr(detector, "fixed"):
            answer: dict[str, Tensor] = detector.fixed(images)
            return answer
        boxes, scores = detector.scored(images)
        return found_fixed(boxes, scores, detector.limits)
