"""What a network sees and why: one method per file, each leaving the network bit for bit as it was."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.explanations._common import Explanation as Explanation

_FRAME = 80  # milliseconds of one picture of a film


def explain(
    method: str, model: nn.Module, image: Tensor | None = None, target: int | None = None, **options: Any
) -> Any:
    """Run an explanation by its name, or `package.module:function`: what the method returns, of ours an `Explanation`.

    `image` is [C, H, W] or [B, C, H, W] as the network takes it, `target` a class number; methods that need none ignore
    them. Raises FovealError («did you mean») for an unknown method or option, and for one that is missing.
    """
    function = catalog.get("explanation", method)
    catalog.check_options(function, options)
    for name, parameter in catalog.options(function).items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty and name not in options:
            raise FovealError(f"{method} needs {name}=…", f"`help(foveal.explanations.{method})` says what it is")
    return function(model, image, target, **options)


def explain_to_file(
    method: str,
    model: nn.Module,
    file: str | PathLike[str],
    image: Tensor | None = None,
    target: int | None = None,
    **options: Any,
) -> Path:
    """Run an explanation and `save` what it found. Raises as `explain` and `save`."""
    found = explain(method, model, image, target, **options)
    if not isinstance(found, Explanation):
        raise FovealError(f"{method} gives a {type(found).__name__}", "call foveal.explain and use what it returns")
    return save(found, file)[0]


def save(found: Explanation, file: str | PathLike[str]) -> list[Path]:
    """Write an explanation's pictures and numbers: the files written, the first picture's first.

    The first drawing goes to `file`, in the format of its suffix (a film as an animated .png or .gif), further ones
    beside it as NAME.WHAT.png; every array as NAME.WHAT.npy. Raises FovealError for a suffix that names no picture
    format, and for a file that cannot be written.
    """
    path = check_suffix(file)
    written = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, (name, picture) in enumerate(found.pictures.items()):
            written.append(path if not number else path.with_name(f"{path.stem}.{name}{path.suffix}"))
            _write(picture, written[-1])
        for name, values in found.arrays.items():
            written.append(path.with_name(f"{path.stem}.{name}.npy"))
            np.save(written[-1], values.detach().cpu().numpy(), allow_pickle=False)
    except OSError as error:
        raise FovealError(f"{path} cannot be written: {error.strerror or error}", "choose another place") from error
    return written


def check_suffix(file: str | PathLike[str]) -> Path:
    """The file's path. FovealError for a suffix that names no picture format."""
    path = Path(file)
    if path.suffix.lower() not in Image.registered_extensions():
        raise FovealError(f"{path}: '{path.suffix}' names no picture format", "call it *.png")
    return path


def _write(picture: Tensor, file: Path) -> None:
    """uint8 [3, H, W], or frames [T, 3, H, W]."""
    if picture.dtype is not torch.uint8 or picture.ndim not in (3, 4):
        raise TypeError(f"a drawing is uint8 [3, H, W], not {picture.dtype} {list(picture.shape)}")
    frames = picture if picture.ndim == 4 else picture[None]
    first, *rest = (Image.fromarray(frame.movedim(0, -1).contiguous().numpy()) for frame in frames)
    if rest:
        first.save(file, save_all=True, append_images=rest, duration=_FRAME, loop=0)
    else:
        first.save(file, optimize=file.suffix.lower() == ".png")
