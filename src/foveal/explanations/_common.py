"""What the methods share: their result, images and targets as given, layers by name, a network left as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from foveal.errors import FovealError, unknown
from foveal.graph.taps import taps

Progress = Callable[[int, int], None]
"""Told (steps done, all steps) while a long method works."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Explanation(NamedTuple):
    """What a method found: raw numbers by name, the most telling first, and drawings of them.

    A drawing is uint8 [3, H, W], or [T, 3, H, W] for a film. `text` says in a line or two what is to be seen.
    """

    arrays: Mapping[str, Tensor]
    pictures: Mapping[str, Tensor]
    text: str = ""

    @property
    def values(self) -> Tensor:
        """The first of the arrays."""
        return next(iter(self.arrays.values()))

    @property
    def picture(self) -> Tensor:
        """The first of the drawings."""
        return next(iter(self.pictures.values()))


def batch(image: Tensor | None, method: str) -> Tensor:
    """Images as given, [C, H, W] or [B, C, H, W], as a detached batch [B, C, H, W]. FovealError for anything else."""
    if image is None:
        raise FovealError(f"{method} explains an image, and none was given", "give one, as the network takes it")
    images = image.detach()[None] if image.ndim == 3 else image.detach()
    if images.ndim != 4 or not images.is_floating_point() or not len(images):
        kind = f"{str(image.dtype).removeprefix('torch.')} {list(image.shape)}"
        raise FovealError(f"{method} takes an image as the network does, not {kind}", "give normalised float [C, H, W]")
    return images


def single(image: Tensor | None, method: str) -> Tensor:
    """The one image given, as [1, C, H, W]. FovealError for several."""
    images = batch(image, method)
    if len(images) > 1:
        raise FovealError(
            f"{method} explains one image at a time, and {len(images)} were given", "give them one by one"
        )
    return images


def scores(model: Callable[[Tensor], Any], images: Tensor) -> Tensor:
    """The network's scores [B, classes] in float32. FovealError where the network cannot take the images."""
    return _scores(_run(model, images))


def _run(model: Callable[[Tensor], Any], images: Tensor) -> Any:
    try:
        return model(images)
    except (RuntimeError, ValueError, IndexError) as error:
        size = "x".join(map(str, images.shape[1:]))
        first = str(error).partition("\n")[0]
        raise FovealError(f"the network cannot take an image of {size}: {first}", "give one of its size") from error


def _scores(found: Any) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 2:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise FovealError(f"the network gives {shape}, not scores [B, classes]", "explain its classifier")
    return found.float()


def targets(found: Tensor, target: int | None) -> Tensor:
    """The class to explain of each image, int64 [B]: the one given, else the most probable of scores [B, classes]."""
    if target is None:
        return found.detach().argmax(1)
    if not 0 <= target < found.shape[1]:
        raise FovealError(f"target={target}: the network has {found.shape[1]} classes", "count from 0")
    return torch.full((len(found),), target, device=found.device)


def named(number: int, classes: Sequence[str] | None) -> str:
    """A class by its name where names are known."""
    return classes[number] if classes and number < len(classes) else f"class {number}"


def layer_of(model: nn.Module, name: str | None) -> str:
    """The path of a layer: `name` if there is such a layer, without one the last convolution in order of definition.

    Raises FovealError for another name («did you mean»), and for a network without convolutions.
    """
    paths = [path for path, _ in model.named_modules() if path]
    if name is not None:
        if name not in paths:
            raise unknown("layer", name, paths)
        return name
    last: list[str] = [p for p, module in model.named_modules() if p and isinstance(module, _CONVOLUTIONS)]
    if not last:
        raise FovealError(f"{type(model).__name__} has no convolution to look at", "name the layer=…")
    return last[-1]


def outputs(model: nn.Module, layers: Sequence[str], images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The scores [B, classes], and the maps [B, C, h, w] of some layers by name, from one run.

    Raises FovealError for a layer that gives no maps, and as `scores`.
    """
    heard = taps(nn.Sequential(model), ["0", *(f"0.{layer}" for layer in layers)])  # so that the model is a layer, too
    found = _run(heard, images)
    for layer in layers:
        if found[f"0.{layer}"].ndim != 4:
            shape = list(found[f"0.{layer}"].shape[1:])
            raise FovealError(f"layer '{layer}' gives {shape}, no maps", "choose a convolution or a layer behind one")
    return _scores(found["0"]), {layer: found[f"0.{layer}"] for layer in layers}


def image_gradient(model: Callable[[Tensor], Any], images: Tensor, target: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """d score / d image [B, C, H, W] of each image's class, with the scores and the classes. Nothing else gets one."""
    with torch.enable_grad():
        leaf = images.clone().requires_grad_()
        found = scores(model, leaf)
        chosen = targets(found, target)
        picked = found.gather(1, chosen[:, None]).sum()
        if not picked.requires_grad:
            raise FovealError("the scores do not depend on the image by any gradient", "explain another network")
        (gradient,) = torch.autograd.grad(picked, leaf)
    return gradient, found.detach(), chosen
