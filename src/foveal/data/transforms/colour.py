"""Changes of colour and light."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from foveal.data.transforms.base import BatchTransform
from foveal.errors import FovealError

# Principal components of the RGB values of ImageNet's training pixels in 0..1: eigenvalues, and one column of
# eigenvectors each. The numbers in common use, published with Facebook's fb.resnet.torch (datasets/imagenet.lua).
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class PcaColour(BatchTransform):
    """Shift each image's colour along the principal components of ImageNet's RGB values.

    AlexNet (Krizhevsky, Sutskever and Hinton 2012, section 4.1): to every pixel is added [p1, p2, p3][α1 λ1, α2 λ2,
    α3 λ3]ᵀ with αi ~ N(0, strength²), drawn once an image. Results are rounded and kept within 0 to 255.
    """

    draws = 4  # Box and Muller make normal numbers in pairs

    def __init__(self, strength: float = 0.1) -> None:
        super().__init__()
        if strength < 0:
            raise FovealError(f"pca_colour({strength})", "give a standard deviation, 0.1 in the paper")
        self.strength = strength

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, 3, H, W]."""
        if images.shape[1] != 3:
            raise FovealError(f"{self} needs colour images, not {images.shape[1]} channels", "leave it out")
        shift = torch.tensor([self.shift(row) for row in u.tolist()])  # [B, 3]
        return images.float().add_(shift[:, :, None, None]).round_().clamp_(0, 255).to(torch.uint8)

    def shift(self, row: list[float]) -> list[float]:
        """What is added to red, green and blue (0 to 255), from four numbers in [0, 1)."""
        alphas = [self.strength * normal for normal in (*_normals(row[0], row[1]), *_normals(row[2], row[3]))]
        weights = [255 * alpha * value for alpha, value in zip(alphas[:3], EIGENVALUES, strict=True)]
        return [sum(p * weight for p, weight in zip(vector, weights, strict=True)) for vector in EIGENVECTORS]


class ColorJitter(BatchTransform):
    """Brightness, contrast and saturation times random factors, one after the other in random order.

    Each factor is even in 1 ± the number given (not below 0), as in torchvision's ColorJitter, whose functions do the
    work; Howard, "Some improvements on deep convolutional neural network based image classification" (2013).
    """

    draws = 4
    _orders = tuple(itertools.permutations(range(3)))

    def __init__(self, brightness: float = 0, contrast: float = 0, saturation: float = 0) -> None:
        super().__init__()
        if min(brightness, contrast, saturation) < 0:
            raise FovealError(f"color_jitter({brightness}, {contrast}, {saturation})", "give shares, not negative")
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return torch.stack([self._jittered(image, row) for image, row in zip(images, u.tolist(), strict=True)])

    def _jittered(self, image: Tensor, row: list[float]) -> Tensor:
        steps = (
            (functional.adjust_brightness, self.brightness),
            (functional.adjust_contrast, self.contrast),
            (functional.adjust_saturation, self.saturation),
        )
        for place in self._orders[int(row[3] * len(self._orders))]:
            adjust, most = steps[place]
            if most:
                low, high = max(0.0, 1 - most), 1 + most
                image = adjust(image, low + (high - low) * row[place])
        return image


def _normals(u: float, v: float) -> tuple[float, float]:
    """Two normal numbers from two even ones in [0, 1) (Box and Muller 1958)."""
    radius = math.sqrt(-2 * math.log(1 - u))
    return radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)
