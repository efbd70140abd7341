"""The patch that a network was made for, read from its fully connected layers or its windows."""

from __future__ import annotations

from torch import fx, nn

from foveal.errors import FovealError
from foveal.graph.shapes import shapes
from foveal.graph.trace import trace
from foveal.graph.windows import ADAPTIVE, Size, window

_LARGEST = 1024


def patch_size(model: nn.Module, channels: int, dims: int = 2) -> Size:
    """The smallest (C, h, w), with h = w, of which the network makes one vector, or a map of one position.

    AlexNet's is (3, 227, 227): its first fully connected layer reads maps of 6×6. Raises FovealError for a network with
    global or adaptive pooling, which takes any size, for one whose poolings round up, which would let far smaller
    patches pass than it was made for, and for one that has no such patch up to 1024 pixels.
    """
    graph = trace(model)
    for node in graph.graph.nodes:
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, ADAPTIVE) or getattr(module, "ceil_mode", False):
            why = "takes maps of any size" if isinstance(module, ADAPTIVE) else "rounds up the size of its maps"
            raise FovealError(
                f"layer '{node.meta['path']}' ({type(module).__name__}) {why}, so the patch is not known",
                "say it: input=(C, h, w), the size that the network was trained on",
            )
    seen: set[int] = set()
    for side in range(1, _LARGEST + 1):
        grid = _grid(graph, side)
        if grid < 1 or grid in seen:
            continue
        seen.add(grid)
        input = (channels, *(side,) * dims)
        if _fits(model, input):
            return input
    raise FovealError(
        f"no square patch of {channels} channels up to {_LARGEST} pixels gives one vector of scores",
        "say the patch: input=(C, h, w)",
    )


def _fits(model: nn.Module, input: Size) -> bool:
    try:
        output = shapes(model, input)[-1].output
    except FovealError:  # the network refuses the size: not this one
        return False
    return all(n == 1 for n in output[1:])


def _grid(graph: fx.GraphModule, side: int) -> int:
    """The side of the map that is flattened, or of the last one, by the windows alone."""
    sides: dict[fx.Node, int] = {}
    last = side
    for node in graph.graph.nodes:
        sources = [sides[source] for source in node.all_input_nodes if source in sides]
        if node.op == "placeholder":
            sides[node] = side
        elif node.op == "call_module":
            look = window(graph.get_submodule(str(node.target)), path=node.meta["path"])
            if look is None:  # flattened
                return sources[0]
            sides[node] = look.output((sources[0],) * len(look.kernel))[0]
        elif sources:
            if node.meta.get("kind") == "flatten":
                return sources[0]
            sides[node] = min(sources)
        last = sides.get(node, last)
        if last < 1:
            return 0
    return last
