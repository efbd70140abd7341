"""The windows of an image that a detector is to look at, when nobody brings any."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from foveal.errors import FovealError, unknown
from foveal.proposals.selective_search import Mode, selective_search

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as in all recipes of detectors


@dataclass(frozen=True)
class Search:
    """Selective search as R-CNN and Fast R-CNN use it: the best `windows` of an image, none with a side below
    `least_side` pixels. What is longer than `side` pixels is made smaller before, since the search was tuned for VOC's
    images of 500; lengths of windows are those of the image as it is given.
    """

    mode: Mode = "fast"
    windows: int = 2000
    side: int = 500
    least_side: int = 20

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise unknown("mode of selective search", self.mode, get_args(Mode))
        if self.windows < 1 or self.side < 2 or self.least_side < 1:
            raise FovealError(
                f"windows={self.windows}, side={self.side}, least_side={self.least_side}: nothing could be found",
                "give a window or more, and lengths in pixels above 1",
            )

    def __call__(self, image: Tensor) -> Tensor:
        """Windows of an image, uint8 [3, H, W]: float32 [K, 4] (x1, y1, x2, y2 in its pixels), best first, one or more
        and `windows` at most."""
        height, width = image.shape[-2:]
        scale = min(1.0, self.side / max(height, width))
        small = [max(1, round(height * scale)), max(1, round(width * scale))]
        seen = image if scale == 1 else functional.resize(image, small, antialias=True)
        found = selective_search(seen, self.mode, least_side=max(1, round(self.least_side * scale)))[: self.windows]
        return found * torch.tensor((width / small[1], height / small[0]) * 2)

    def of(self, images: Tensor, given: Sequence[Tensor] | None) -> list[Tensor]:
        """The windows of normalised images [N, 3, H, W]: float32 [K, 4] each, on their device.

        They are those `given`, the first `windows` of each image, cut to it; the whole image where that leaves none.
        Where none are given they are searched for, in images that were normalised by ImageNet's mean and deviation.
        Raises FovealError for another number of lists than images, and for something else than boxes.
        """
        height, width = images.shape[2:]
        whole = images.new_tensor(((0, 0, width, height),), dtype=torch.float32)
        if given is None:
            if images.is_meta:  # nothing can be seen there, and as much is to be counted
                return [whole.expand(self.windows, 4) for _ in images]
            return [self(pixels).to(images.device) for pixels in _pixels(images)]
        if len(given) != len(images):
            raise FovealError(f"windows of {len(given)} images are given for {len(images)}", "give a tensor an image")
        windows = []
        for own in given:
            if own.ndim != 2 or own.shape[1] != 4:
                raise FovealError(f"windows of shape {list(own.shape)}", "give x1, y1, x2, y2 in pixels: [K, 4]")
            inside = torch.minimum(own[: self.windows].to(whole).clamp_min(0), whole[:, [2, 3, 2, 3]])
            inside = inside[(inside[:, 2:] > inside[:, :2]).all(1)]
            windows.append(inside if len(inside) else whole)
        return windows

    def of_targets(self, images: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """`of` with the windows that targets hold as `proposals`. FovealError where some hold them and some do not."""
        given = [target["proposals"] for target in targets if "proposals" in target]
        if given and len(given) < len(targets):
            raise FovealError(
                f"{len(given)} of {len(targets)} targets hold proposals", "give them for all images or for none"
            )
        return self.of(images, given or None)


class Remembered:
    """A search that keeps what it found in a folder, a file an image, so that an image is searched once.

    Files are called by what was searched for and the image's pixels: images may be renamed, and settings change.
    """

    def __init__(self, search: Search, folder: str | os.PathLike[str]) -> None:
        self.search, self.folder = search, Path(folder)

    def __call__(self, image: Tensor) -> Tensor:
        """As `Search`. FovealError when a kept file is damaged, or none can be written."""
        file = self.folder / f"{self._key(image)}.npy"
        if file.exists():
            try:
                return torch.from_numpy(np.load(file, allow_pickle=False))
            except (OSError, ValueError, EOFError) as error:
                raise FovealError(f"{file} is damaged", "delete it: the image is searched again") from error
        found = self.search(image)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".new", delete=False) as new:
                np.save(new, found.numpy(), allow_pickle=False)
            Path(new.name).replace(file)
        except OSError as error:
            raise FovealError(f"{file} cannot be written: {error.strerror}", "make room, or mend its rights") from error
        return found

    def _key(self, image: Tensor) -> str:
        digest = hashlib.sha256(repr((astuple(self.search), tuple(image.shape))).encode())
        digest.update(image.numpy().tobytes())
        return digest.hexdigest()[:32]


def _pixels(images: Tensor) -> Tensor:
    """Normalised images as they were before, uint8."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _DEVIATION))
    pixels = (images.detach().float().cpu() * deviation + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8)
