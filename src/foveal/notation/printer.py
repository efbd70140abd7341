"""nn.Sequential → text, refusing what the notation cannot say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from foveal.errors import FovealError
from foveal.graph.shapes import text as size_text
from foveal.graph.windows import Size, Window, window
from foveal.notation.chain import AVG_POOL, BATCH_NORM, CONV, GLOBAL, MAX_POOL
from foveal.notation.steps import FC, Conv, Plain, Pool, Step, spell

_POOLS = (*MAX_POOL.values(), *AVG_POOL.values())


def to_text(model: nn.Module) -> str:
    """The canonical text of a chain network; `parse` makes a network of the same shapes and parameters of it.

    nn.Sequentials in each other are written as one chain. Names are not part of the notation.
    Raises FovealError, naming the layer, for a network that branches and for what the notation has no word for.
    """
    if not isinstance(model, nn.Sequential):
        raise FovealError(
            f"{type(model).__name__} is no chain (nn.Sequential); the notation describes chains only",
            "foveal.graph.table.show describes any network",
        )
    steps: list[Step] = []
    vector = flattened = False
    maps: int | None = None  # unknown before the first layer with weights
    for path, module in _leaves(model, ""):
        step = step_of(module)
        if step is None:
            raise FovealError(
                f"the notation has no word for layer '{path}': {_shown(module)}",
                "it has square windows, zero padding and usual settings; foveal.graph.table.show describes any network",
            )
        if isinstance(module, nn.PReLU) and maps is not None and module.num_parameters != maps:
            raise FovealError(
                f"the notation has no word for layer '{path}': {module} behind {maps} maps",
                "its PReLU has one slope for each map",
            )
        maps = getattr(step, "maps", getattr(step, "outputs", maps)) if step != Plain("Flatten") else None
        if isinstance(step, FC) and not vector and any(map(_makes_maps, steps)):
            raise FovealError(
                f"layer '{path}' is fully connected along one dimension of a map; an FC of the notation sees all of it",
                "put nn.Flatten before it",
            )
        if isinstance(step, FC) and flattened:
            steps.pop()  # an FC flattens by itself
        flattened = isinstance(step, Plain) and step.word == "Flatten"
        vector = not _makes_maps(step) and (vector or flattened or isinstance(step, FC))
        steps.append(step)
    return spell(steps)


def step_of(module: nn.Module) -> Step | None:
    """The word of the notation for one layer, or None where it has none that says everything."""
    speller = _SPELLERS.get(type(module))
    return speller(module) if speller is not None else None


def _conv(module: Any) -> Step | None:
    seen = window(module)
    if seen is None or module.padding_mode != "zeros" or not _square(seen):
        return None
    if module.padding == "same" and seen.extent[0] % 2 == 0:
        return None  # padded more behind than before
    numbers = (seen.padding[0], seen.dilation[0], module.groups, module.bias is not None)
    return Conv(seen.kernel[0], seen.stride[0], module.out_channels, *numbers)


def _pool(module: Any) -> Step | None:
    seen = window(module)
    if seen is None or not _square(seen) or seen.dilation[0] != 1 or getattr(module, "return_indices", False):
        return None
    if not getattr(module, "count_include_pad", True) or getattr(module, "divisor_override", None) is not None:
        return None
    kind = "Max" if type(module) in MAX_POOL.values() else "Avg"
    return Pool(kind, seen.kernel[0], seen.stride[0], seen.padding[0], seen.ceil)


def _square(seen: Window) -> bool:
    sides: tuple[Size, ...] = (seen.kernel, seen.stride, seen.padding, seen.dilation)
    return all(len(set(numbers)) == 1 for numbers in sides)


def _valued(word: str, value: float) -> Step | None:
    return Plain(word, float(value)) if 0 <= value <= 1 else None


def _if_set(word: str, names: str, wanted: tuple[Any, ...]) -> Callable[[Any], Step | None]:
    """Spells a layer as `word` if its settings are those that `parse` gives it."""

    def spell_if(module: Any) -> Step | None:
        found = tuple(getattr(module, name) for name in names.split())
        return Plain(word) if found == wanted else None

    return spell_if


def _global(module: Any) -> Step | None:
    return Plain("GlobalAvgPool") if module.output_size in (1, (1,), (1, 1), (1, 1, 1)) else None


_BATCH_NORM = _if_set("BN", "eps affine track_running_stats", (1e-5, True, True))
_SPELLERS: dict[type[nn.Module], Callable[[Any], Step | None]] = {
    **dict.fromkeys(CONV.values(), _conv),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(GLOBAL.values(), _global),
    **dict.fromkeys(BATCH_NORM.values(), _BATCH_NORM),
    nn.Linear: lambda linear: FC(linear.out_features, linear.bias is not None),
    nn.LocalResponseNorm: _if_set("Norm", "size alpha beta k", (5, 5e-4, 0.75, 2.0)),
    nn.Flatten: _if_set("Flatten", "start_dim end_dim", (1, -1)),
    nn.LeakyReLU: lambda relu: _valued("LeakyReLU", relu.negative_slope),
    nn.PReLU: lambda _: Plain("PReLU"),
    nn.Dropout: lambda dropout: _valued("Dropout", dropout.p),
    nn.ReLU: lambda _: Plain("ReLU"),
    nn.Tanh: lambda _: Plain("Tanh"),
    nn.Sigmoid: lambda _: Plain("Sigmoid"),
}


def _makes_maps(step: Step) -> bool:
    return isinstance(step, Conv | Pool) or (isinstance(step, Plain) and step.word in ("GlobalAvgPool", "Norm"))


def _shown(module: nn.Module) -> str:
    seen = window(module) if type(module) in CONV.values() or type(module) in _POOLS else None
    return f"{type(module).__name__} {size_text(seen.kernel)}" if seen else str(module).splitlines()[0]


def _leaves(model: nn.Sequential, path: str) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_children():
        if isinstance(module, nn.Sequential):
            yield from _leaves(module, f"{path}{name}.")
        else:
            yield f"{path}{name}", module
