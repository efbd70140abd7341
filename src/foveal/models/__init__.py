"""Networks, one file a paper. `create` makes one by its name."""

from __future__ import annotations

from typing import Any

from torch import nn

from foveal import catalog
from foveal.errors import FovealError
from foveal.layers.layout import channels_last


def create(name: str, num_classes: int | None = None, **options: Any) -> nn.Module:
    """The network called `name`, freshly initialised from torch's random state, in training mode.

    `name` is one of the catalogue (`foveal models`) or `package.module:function`; `num_classes` None keeps the
    function's own number; `options` are its keyword options. The weights of its 2-D convolutions lie with channels
    last, which is faster on CPUs; `.to(memory_format=torch.contiguous_format)` lays them out as torch does. Under `with
    torch.device("meta")` it costs no memory. Raises FovealError for an unknown name or option («did you mean»), for
    fewer than one class, and for a function that returns something else than a module.
    """
    builder = catalog.get("model", name)
    if num_classes is not None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise FovealError(f"num_classes={num_classes}: a network needs at least one class", "give a whole number")
        if "num_classes" not in catalog.options(builder):
            raise FovealError(
                f"{name} has no option num_classes, so it cannot be made for {num_classes} classes",
                "give the function the option, and the network's last layer so many outputs",
            )
        options["num_classes"] = num_classes
    catalog.check_options(builder, options)
    model = catalog.made(name, builder, **options)
    if not isinstance(model, nn.Module):
        raise FovealError(
            f"{name} returned {type(model).__name__}, not a torch.nn.Module",
            "a model function takes keyword options and returns the network",
        )
    return channels_last(model)
