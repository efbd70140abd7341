"""Transforms of uint8 images that work on whole batches; recipes name them in lower case (`pad_crop(4)`)."""

from foveal.data.transforms.base import BatchTransform, Photometric
from foveal.data.transforms.colour import ColorJitter, ColourCast, Grey, PcaColour, Vignette
from foveal.data.transforms.geometry import Affine, CenterCrop, CornerCrop, Flip, Pad, PadCrop, RandomCrop, Rotation
from foveal.data.transforms.lens import LensDistortion
from foveal.data.transforms.parse import parse_transforms, transforms
from foveal.data.transforms.sizes import Letterbox, RandomResizedCrop, Resize, ResizeExact, ScaleJitter, ZoomOut
from foveal.data.transforms.view import RandomView

__all__ = [
    "Affine",
    "BatchTransform",
    "CenterCrop",
    "ColorJitter",
    "ColourCast",
    "CornerCrop",
    "Flip",
    "Grey",
    "LensDistortion",
    "Letterbox",
    "Pad",
    "PadCrop",
    "PcaColour",
    "Photometric",
    "RandomCrop",
    "RandomResizedCrop",
    "RandomView",
    "Resize",
    "ResizeExact",
    "Rotation",
    "ScaleJitter",
    "Vignette",
    "ZoomOut",
    "parse_transforms",
    "transforms",
]
