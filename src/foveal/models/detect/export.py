"""A detector as one graph that does not depend on the data: what ONNX and compilers want."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.models.detect._found import found_fixed


class Exportable(nn.Module):
    """Images [N, 3, H, W] → `boxes` [N, K, 4] in pixels, `scores` [N, K] falling, `labels` int64 [N, K], by name; of a
    detector that is told where to look, images and windows [N, P, 4] in pixels.

    What `detect` finds, padded with scores of 0 to as many as the detector reports at most, and what else it says of
    each box. `foveal.exporting.onnx.write` makes an ONNX file of it.

    model: a detector with `scored(images)`, boxes [N, R, 4] and scores [N, R, C] before suppression, and its `limits`;
    or with `fixed(images)`, or `fixed(images, windows)` and a `search`, a dictionary of tensors whose shapes do not
    depend on the images. Raises FovealError for any other.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not (hasattr(model, "fixed") or hasattr(model, "scored")):
            raise FovealError(
                f"{type(model).__name__} cannot be exported: what it computes depends on the image",
                "export its backbone, or another detector",
            )
        self.model = model

    def windows(self, images: Tensor) -> tuple[Tensor, ...]:
        """What `forward` wants besides images, found in them, uint8 [N, 3, H, W]: float32 [N, P, 4] in pixels, filled
        up with boxes without area; nothing for a detector that finds its windows itself."""
        search: Any = getattr(self.model, "search", None)
        if search is None:
            return ()
        found = [search(image) for image in images]
        return (torch.stack([F.pad(own, (0, 0, 0, search.windows - len(own))) for own in found]),)

    def forward(self, images: Tensor, *windows: Tensor) -> dict[str, Tensor]:
        detector: Any = self.model
        if hasattr(detector, "fixed"):
            answer: dict[str, Tensor] = detector.fixed(images, *windows)
            return answer
        boxes, scores = detector.scored(images)
        return found_fixed(boxes, scores, detector.limits)
