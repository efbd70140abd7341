"""What a network sees and why: one method per file, each leaving the network bit for bit as it was."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from foveal import catalog


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
