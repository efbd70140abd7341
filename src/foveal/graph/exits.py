"""What the exits of an any-time network cost, one after the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn

from foveal.errors import FovealError
from foveal.graph.count import counts
from foveal.graph.shapes import shapes
from foveal.graph.trace import trace
from foveal.graph.windows import Size


def exit_costs(model: nn.Module, input: Size) -> tuple[int, ...]:
    """Multiply-adds of one image of shape `input` = (C, H, W) up to each exit, those of the exits before it included.

    `model.exits(images)` returns the scores of all exits, in order. Raises FovealError for a network without it and
    for what `shapes` refuses.
    """
    all_exits = _AllExits(model)
    (output,) = trace(all_exits).graph.find_nodes(op="output")
    layers = shapes(all_exits, input)
    sources = {layer.path: layer.sources for layer in layers}
    cost = {layer.path: layer.macs for layer in counts(all_exits, layers).layers}
    costs: list[int] = []
    done: set[str] = {"input"}
    for scores in output.args[0]:
        assert isinstance(scores, fx.Node)
        waiting = [scores.meta["path"]]
        while waiting:
            path = waiting.pop()
            if path not in done:
                done.add(path)
                waiting += sources[path]
        costs.append(sum(cost.get(path, 0) for path in done))
    return tuple(costs)


class _AllExits(nn.Module):
    """The network with the scores of all its exits as its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not callable(getattr(model, "exits", None)):
            raise FovealError(
                f"{type(model).__name__} has one exit, at its end",
                "choose a network with several, such as msdnet, or write exits(images) -> list of scores",
            )
        self.model: Any = model

    def forward(self, images: Tensor) -> list[Tensor]:
        scores: list[Tensor] = list(self.model.exits(images))
        return scores
