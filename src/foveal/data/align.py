"""Faces brought to one place by their landmarks, as DeepFace's 2-D alignment.

S. Umeyama, «Least-squares estimation of transformation parameters between two point patterns», PAMI 13(4), 1991; used
as in Y. Taigman et al., «DeepFace», CVPR 2014, section 2: scale, rotation and shift that map six detected points onto
their anchors. DeepFace's next step, frontalisation with a 3-D model of a face, is an interface here, `Frontalise`: the
paper's 67 points, its mean shape (from scans of USF's Human-ID database) and the camera fitted to them are not
published, so that no exact copy is possible.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError

Frontalise = Callable[[Tensor, Tensor], Tensor]
"""Image uint8 [C, H, W] and its landmarks (x, y) [K, 2] in pixels → the face as seen from the front, uint8 [C, H, W].

It has to invent what is hidden. A similarity in the plane, as `align`, cannot turn a head out of the plane."""

FIVE = ((0.34, 0.46), (0.66, 0.46), (0.50, 0.64), (0.37, 0.82), (0.63, 0.82))
"""Anchors of five landmarks as shares of width and height: the eyes, the tip of the nose, the corners of the mouth, in
the order of the image from left to right."""


def similarity(points: Tensor, anchors: Tensor, *, scaling: bool = True) -> Tensor:
    """The rotation, scale and shift that bring points (x, y) [K, 2] nearest to anchors [K, 2] in least squares: float64
    [2, 3], to be multiplied by (x, y, 1). Never a reflection (equation 43).

    Raises FovealError for less than two points, for points that coincide, and for numbers that are not finite.
    """
    given, wanted = points.double(), anchors.double()
    if given.shape != wanted.shape or given.ndim != 2 or given.shape[1] != 2 or len(given) < 2:
        raise FovealError(
            f"landmarks of shape {list(points.shape)} for anchors of {list(anchors.shape)}",
            "give two points or more each",
        )
    if not bool(torch.isfinite(given).all()):
        raise FovealError("a landmark is not a finite number", "leave the face out")
    centre, aim = given.mean(0), wanted.mean(0)
    spread = (given - centre).square().sum(1).mean()
    if float(spread) == 0:
        raise FovealError("the landmarks coincide, so they tell neither scale nor angle", "leave the face out")
    covariance = (wanted - aim).T @ (given - centre) / len(given)
    u, singular, v = torch.linalg.svd(covariance)
    signs = torch.ones(2, dtype=torch.float64)
    if float(torch.linalg.det(u) * torch.linalg.det(v)) < 0:
        signs[1] = -1
    rotation = u @ torch.diag(signs) @ v
    scale = (singular * signs).sum() / spread if scaling else torch.ones((), dtype=torch.float64)
    linear = scale * rotation
    return torch.cat((linear, (aim - linear @ centre)[:, None]), 1)


def align(image: Tensor, landmarks: Tensor, size: int = 152, *, anchors: Tensor | None = None) -> Tensor:
    """The face uint8 [C, size, size], its landmarks (x, y) [K, 2], in pixels of the image [C, H, W], at the anchors.

    anchors: where they go, as shares of the side [K, 2]; by default `FIVE`. Bilinear, black beyond the image. Raises
    FovealError as `similarity`.
    """
    aims = torch.tensor(FIVE) if anchors is None else anchors
    there = similarity(landmarks, aims * size)
    whole = torch.cat((there, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)))
    back = torch.linalg.inv(whole)[:2]  # from the face to the image
    middles = torch.arange(size, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    at = torch.stack((x, y, torch.ones_like(x)), 2) @ back.T  # [size, size, 2], pixels from the image's corner
    height, width = image.shape[1:]
    grid = at / torch.tensor([width, height], dtype=torch.float64) * 2 - 1
    found = F.grid_sample(image[None].double(), grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[0].round().clamp(0, 255).to(torch.uint8)
