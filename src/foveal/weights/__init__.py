"""Weights: files read safely and written atomically, matched to a network by name, by known names, or by order."""

from foveal.weights.download import Published, check_preparation, imagenet, published
from foveal.weights.files import Checkpoint, read_weights, save_weights
from foveal.weights.match import Matching, Pair, load_weights

__all__ = [
    "Checkpoint",
    "Matching",
    "Pair",
    "Published",
    "check_preparation",
    "imagenet",
    "load_weights",
    "published",
    "read_weights",
    "save_weights",
]
