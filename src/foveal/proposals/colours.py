"""The colour spaces of selective search, each scaled to 0 … 255, which its segmentation's k is meant for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = _TO_XYZ.sum(1)  # D65: where red, green and blue are 1


def converted(image: Floats, space: str) -> Floats:
    """RGB [H, W, 3] with values 0 to 255 → [H, W, C]: rgb, hsv, lab, rgi (red and green shares, intensity), h, i."""
    if space == "rgb":
        return image
    if space == "hsv":
        return _hsv(image)
    if space == "h":
        return _hsv(image)[..., :1]
    if space == "lab":
        return _lab(image)
    intensity: Floats = image.mean(-1, keepdims=True)
    if space == "i":
        return intensity
    total = np.maximum(image.sum(-1, keepdims=True), 1e-9)
    return np.concatenate((255 * image[..., :2] / total, intensity), -1)


def _hsv(image: Floats) -> Floats:
    red, green, blue = np.moveaxis(image, -1, 0)
    value, least = image.max(-1), image.min(-1)
    span = value - least
    safe = np.where(span > 0, span, 1)
    hue = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = np.where(span > 0, hue / 6, 0)
    saturation = np.where(value > 0, span / np.where(value > 0, value, 1), 0)
    return np.stack((255 * hue, 255 * saturation, value), -1)


def _lab(image: Floats) -> Floats:
    """CIE L*a*b* of sRGB: lightness 0 to 100 becomes 0 to 255, a and b are shifted by 128."""
    share = image / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack(((116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128), -1)
