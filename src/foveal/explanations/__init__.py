"""What a network sees and why: one method per file, each leaving the network bit for bit as it was."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError


def explain(
    method: str, model: nn.Module, image: Tensor | None = None, target: int | None = None, **options: Any
) -> Any:
    """Run an explanation by its name, or `package.module:function`: what the method returns.

    `image` is [C, H, W] or [B, C, H, W] as the network takes it, `target` a class number; methods that need none ignore
    them. Raises FovealError («did you mean») for an unknown method or option.
    """
    function = catalog.get("explanation", method)
    catalog.check_options(function, options)
    return function(model, image, target, **options)


def explain_to_file(
    method: str,
    model: nn.Module,
    file: str | PathLike[str],
    image: Tensor | None = None,
    target: int | None = None,
    **options: Any,
) -> Path:
    """Run an explanation whose result is a picture, uint8 [1 or 3, H, W], and save it in the format of `file`'s suffix.

    Raises FovealError for a suffix that names no picture format, and for a file that cannot be written.
    """
    path = Path(file)
    if path.suffix.lower() not in Image.registered_extensions():
        raise FovealError(f"{path}: '{path.suffix}' names no picture format", "call it *.png")
    picture = explain(method, model, image, target, **options)
    if not isinstance(picture, Tensor) or picture.dtype is not torch.uint8 or picture.ndim != 3:
        raise FovealError(f"{method} does not give a picture", "call foveal.explain and use what it returns")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).squeeze(2).contiguous().numpy()).save(path)
    except OSError as error:
        raise FovealError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from error
    return path
