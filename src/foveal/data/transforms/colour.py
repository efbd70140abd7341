"""Changes of colour and light."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from foveal.data.transforms.base import Photometric, at_most
from foveal.errors import FovealError

# Principal components of the RGB values of ImageNet's training pixels in 0..1: eigenvalues, and one column of
# eigenvectors each. The numbers in common use, published with Facebook's fb.resnet.torch (datasets/imagenet.lua).
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class PcaColour(Photometric):
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


class ColorJitter(Photometric):
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


class ColourCast(Photometric):
    """Add a whole number to red, to green and to blue: each is changed with chance `p`, by up to `most` either way.

    Deep Image (Wu, Yan, Shan, Dang and Sun 2015, data augmentation): red, green or blue casts, or all at once. By 20
    either way there are 41³ - 1 = 68,920 changes, the number that the paper counts.
    """

    draws = 6

    def __init__(self, most: int = 20, p: float = 0.5) -> None:
        super().__init__()
        if most != int(most) or not 1 <= most <= 255 or not 0 <= p <= 1:
            raise FovealError(f"colour_cast(most={most}, p={p})", "most is a whole number of 1 to 255, p a chance")
        self.most, self.p = int(most), p

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, 3, H, W]."""
        if images.shape[1] != 3:
            raise FovealError(f"{self} needs colour images, not {images.shape[1]} channels", "leave it out")
        shift = (at_most(u[:, 3:], 2 * self.most) - self.most) * (u[:, :3] < self.p)  # int64 [B, 3]
        return images.to(torch.int16).add_(shift[:, :, None, None]).clamp_(0, 255).to(torch.uint8)


class Vignette(Photometric):
    """Darken the border, as a lens does: fully at the corners, not at all within some distance of the centre.

    The light at the corners falls by a share drawn evenly from 0 to `strength`, and the fall begins at a share of the
    half diagonal drawn evenly from `start` to 1; between the two it follows 3t² - 2t³. Deep Image (2015) varies the
    same two, the area and the loss of brightness; ranges and curve are ours.
    """

    draws = 2

    def __init__(self, strength: float = 0.8, start: float = 0.1) -> None:
        super().__init__()
        if not (0 < strength <= 1 and 0 <= start < 1):
            raise FovealError(f"vignette(strength={strength}, start={start})", "give shares, strength above 0")
        self.strength, self.start = strength, start

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        height, width = images.shape[-2:]
        y = (torch.arange(height, dtype=torch.float64) + 0.5 - height / 2).view(-1, 1)
        x = torch.arange(width, dtype=torch.float64) + 0.5 - width / 2
        radius = 2 * (x * x + y * y).sqrt() / math.hypot(height, width)  # [H, W], 1 at the corners
        loss, begin = self.strength * u[:, 0].double(), self.start + (1 - self.start) * u[:, 1].double()
        t = ((radius - begin.view(-1, 1, 1)) / (1 - begin).view(-1, 1, 1)).clamp_(0, 1)
        light = 1 - loss.view(-1, 1, 1) * t * t * (3 - 2 * t)  # [B, H, W]
        return images.float().mul_(light[:, None].float()).round_().to(torch.uint8)


class Grey(Photometric):
    """Colours become grey (ITU-R 601 luma), in as many channels as before; with chance `p`, or always.

    For comparisons with colour, as in Chatfield et al. (BMVC 2014). A network of one channel needs no transform: its
    recipe says input=1,height,width.
    """

    def __init__(self, p: float = 1) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise FovealError(f"grey(p={p})", "a chance lies between 0 and 1")
        self.p = p
        self.draws = 0 if p == 1 else 1  # when it draws nothing it may stand in prepare too

    def batch(self, images: Tensor, u: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        if images.shape[1] == 1:
            return images
        grey: Tensor = functional.rgb_to_grayscale(images, num_output_channels=3)
        return torch.where(u[:, 0].view(-1, 1, 1, 1) < self.p, grey, images) if self.draws else grey


def _normals(u: float, v: float) -> tuple[float, float]:
    """Two normal numbers from two even ones in [0, 1) (Box and Muller 1958)."""
    radius = math.sqrt(-2 * math.log(1 - u))
    return radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)
