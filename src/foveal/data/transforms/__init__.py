"""Transforms of uint8 images that work on whole batches; recipes name them in lower case (`pad_crop(4)`)."""

from foveal.data.transforms.base import BatchTransform
from foveal.data.transforms.colour import ColorJitter, PcaColour
from foveal.data.transforms.geometry import Affine, CenterCrop, Flip, Pad, PadCrop, RandomCrop
from foveal.data.transforms.parse import parse_transforms, transforms
from foveal.data.transforms.sizes import RandomResizedCrop, Resize, ResizeExact, ScaleJitter

__all__ = [
    "Affine",
    "BatchTransform",
    "CenterCrop",
    "ColorJitter",
    "Flip",
    "Pad",
    "PadCrop",
    "PcaColour",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "ResizeExact",
    "ScaleJitter",
    "parse_transforms",
    "transforms",
]
