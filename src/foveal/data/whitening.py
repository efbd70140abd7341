"""Global contrast normalisation of each image, then ZCA whitening by what the training images have in common.

As maxout networks see CIFAR (I. Goodfellow et al., «Maxout networks», ICML 2013, section 4.2), and network in network
after them; the constants are those of their program, pylearn2. The idea of whitening so is A. Krizhevsky's («Learning
multiple layers of features from tiny images», 2009, appendix A).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from foveal.errors import FovealError

LENGTH = 55.0  # of an image's vector of pixels
RIDGE = 0.1  # added to the covariance's eigenvalues
LARGEST = 3 * 64 * 64  # values of an image: the matrix has their square


@dataclass(frozen=True)
class Whitening:
    """mean float32 [C, H, W] of the contrast-normalised training images; matrix float32 [D, D] with D = C · H · W."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] on the device of the matrix → float32 of the same shape, always in full precision.

        FovealError for images of another size than that of training.
        """
        if images.shape[1:] != self.mean.shape:
            sizes = ["x".join(map(str, shape)) for shape in (self.mean.shape, images.shape[1:])]
            raise FovealError(
                f"what whitens images of {sizes[0]} cannot whiten those of {sizes[1]}",
                "show the network its own input size; for other sizes it must be trained with whiten=false",
            )
        if not torch.is_autocast_enabled(images.device.type):
            return self._whitened(images)
        with torch.autocast(images.device.type, enabled=False):
            return self._whitened(images)

    def _whitened(self, images: Tensor) -> Tensor:
        return ((contrast_normalised(images) - self.mean.flatten()) @ self.matrix).view(images.shape)

    def to(self, device: torch.device) -> Whitening:
        """The same on a device."""
        return Whitening(self.mean.to(device), self.matrix.to(device))


def contrast_normalised(images: Tensor) -> Tensor:
    """Each image's vector less its mean, brought to a length of 55: [B, C, H, W] → float32 [B, C · H · W].

    An image of one colour is all zeros.
    """
    rows = images.flatten(1).float()
    rows = rows - rows.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    return rows * (LENGTH / torch.where(length < 1e-8, 1.0, length))


def fit(batches: Iterable[Tensor]) -> Whitening:
    """The whitening of training images, uint8 [B, C, H, W] batch by batch: (Σ + 0.1)^(-1/2) with their covariance Σ,
    computed in float64. FovealError for images of more than 12,288 values."""
    count, total, products, shape = 0, torch.zeros(()), torch.zeros(()), torch.Size()
    for images in batches:
        shape = images.shape[1:]
        if shape.numel() > LARGEST:
            raise FovealError(
                f"whitening images of {'x'.join(map(str, shape))} takes a matrix of {shape.numel():,} squared",
                f"choose an input of at most {LARGEST:,} values, or whiten=false",
            )
        rows = contrast_normalised(images).double()
        count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
    mean = total / count
    covariance = products / count - mean[:, None] * mean
    values, vectors = torch.linalg.eigh(covariance)
    matrix = (vectors / (values.clamp(min=0) + RIDGE).sqrt()) @ vectors.T
    return Whitening(mean.float().view(shape), matrix.float().contiguous())
