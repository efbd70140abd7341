"""The graph of any network as a drawing: its layers as boxes with name, kind and shape, and how they are joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from foveal.data.drawing import FAINT, INK
from foveal.graph.shapes import LayerShape, shapes, text
from foveal.graph.windows import Size, window
from foveal.notation import step_of
from foveal.report.layered import layered, ranks
from foveal.report.sketch import Colour, Sketch, wide

_MOST = 120  # boxes that are drawn one by one; larger networks are drawn block by block
_BLOCK = 12  # boxes of a child of the network that is drawn as one
_NAME, _TEXT, _LINE = 12, 10, 14
_PAD, _MARGIN = 9, 24
_WIDEST = 190  # of the words in a box
_TYPES: tuple[tuple[str, Colour, Colour], ...] = (
    ("image", (246, 239, 222), (196, 172, 110)),
    ("convolution", (222, 235, 251), (76, 132, 204)),
    ("pooling", (219, 242, 226), (72, 158, 98)),
    ("fully connected", (238, 227, 248), (142, 98, 188)),
    ("join", (243, 245, 248), (150, 156, 168)),
    ("block", (253, 231, 219), (206, 118, 70)),
    ("other", (255, 255, 255), (170, 174, 184)),
)
_LOOKS = {name: (fill, edge) for name, fill, edge in _TYPES}


@dataclass(frozen=True)
class Box:
    """What is drawn as one: layers that follow each other, with at most one window among them, or a whole block."""

    name: str
    kind: str  # of _TYPES
    words: tuple[str, ...]
    output: Size
    sources: tuple[str, ...]


def network_graph(model: nn.Module, input: Size, *, title: str = "") -> Sketch:
    """The network as a drawing. `model` may be on the meta device; `input` is the shape of one image, (C, H, W).

    Activations, normalisations and dropout stand in the box of the layer before them. A network of more than 120 boxes
    is drawn block by block: one box for each block that is a module of its own. FovealError as
    `foveal.graph.shapes`.
    """
    found = boxes(model, input)
    sizes: dict[object, tuple[float, float]] = {box.name: _size(box) for box in found}
    plan = layered(sizes, {box.name: box.sources for box in found})
    top = _MARGIN + (34 if title else 0)
    used = [name for name, *_ in _TYPES if any(box.kind == name for box in found)]
    least = sum(wide(name, _TEXT) + 40 for name in used)
    width = max(plan.width, least, wide(title, 16)) + 2 * _MARGIN
    sketch = Sketch(width, top + plan.height + _MARGIN + 30)
    if title:
        sketch.words((_MARGIN, _MARGIN + 14), title, 16)
    left = (width - plan.width) / 2
    for points in plan.edges.values():
        sketch.line(*((x + left, y + top) for x, y in points), width=1.3, arrow=True)
    for box in found:
        x, y = plan.places[box.name]
        _draw(sketch, box, (x + left, y + top), sizes[box.name])
    x = float(_MARGIN)
    for name in used:
        fill, edge = _LOOKS[name]
        sketch.box((x, sketch.height - 28), (12, 12), fill=fill, edge=edge, radius=2)
        sketch.words((x + 18, sketch.height - 18), name, _TEXT, colour=FAINT)
        x += wide(name, _TEXT) + 40
    return sketch


def boxes(model: nn.Module, input: Size) -> list[Box]:
    """The boxes in order of execution; the first is the image."""
    layers = _without_identities(shapes(model, input))
    grouped = _grouped(layers, _chain(layers))
    if len(grouped) > _MOST:
        blocks = _blocks(layers)
        grouped = _grouped(layers, blocks) if _possible(layers, blocks) else grouped
    image = Box("input", "image", (), input, ())
    return [image, *grouped]


def _without_identities(layers: Sequence[LayerShape]) -> list[LayerShape]:
    """The layers that do something; who reads an identity reads what is before it."""
    before: dict[str, str] = {}
    kept = []
    for layer in layers:
        sources = tuple(dict.fromkeys(before.get(source, source) for source in layer.sources))
        if isinstance(layer.module, nn.Identity) and layer is not layers[-1]:
            before[layer.path] = sources[0]
        else:
            kept.append(replace(layer, sources=sources))
    return kept


def _chain(layers: Sequence[LayerShape]) -> dict[str, str]:
    """Each layer's box, named after its first layer: pointwise layers go with what they follow."""
    followers: dict[str, int] = {}
    for layer in layers:
        for source in layer.sources:
            followers[source] = followers.get(source, 0) + 1
    home: dict[str, str] = {}
    strong: set[str] = set()  # boxes that hold a window, a matrix or a join
    for layer in layers:
        source = layer.sources[0] if len(layer.sources) == 1 else ""
        box = home.get(source, "") if followers.get(source) == 1 else ""
        light = _light(layer)
        if not box or (not light and (box in strong or layer.module is None)):
            box = layer.path
        home[layer.path] = box
        if not light:
            strong.add(box)
    return home


def _light(layer: LayerShape) -> bool:
    """Whether a layer changes values one by one, or only their arrangement."""
    if layer.module is None:
        return layer.kind == "flatten"
    if isinstance(layer.module, nn.Flatten):
        return True
    seen = window(layer.module, path=layer.path)
    return seen is not None and seen.kernel == seen.stride == (1,)


def _blocks(layers: Sequence[LayerShape]) -> dict[str, str]:
    """Each layer's box where modules are drawn as one; chains between them as ever.

    A child of the network is one box, unless it is a stage of many or has several ways out: then each of its own
    children is.
    """
    home = _chain(layers)
    exits: dict[str, set[str]] = {}
    for layer in layers:
        for source in layer.sources:
            if source.partition(".")[0] != layer.path.partition(".")[0]:
                exits.setdefault(source.partition(".")[0], set()).add(source)
    parts: dict[str, set[str]] = {}
    for path, chain in home.items():
        if "." in path:
            parts.setdefault(path.partition(".")[0], set()).add(chain)
    first: dict[str, str] = {}  # of a chain, the first layer outside the blocks
    for path, chain in home.items():
        part = path.partition(".")[0]
        whole = len(parts.get(part, ())) <= _BLOCK and len(exits.get(part, ())) <= 1
        depth = 0 if part not in parts else 1 if whole else 2
        inside = depth and path.count(".") >= depth
        home[path] = ".".join(path.split(".")[:depth]) if inside else first.setdefault(chain, path)
    return home


def _possible(layers: Sequence[LayerShape], home: dict[str, str]) -> bool:
    """Whether the boxes lie one behind the other: a box that leads back into itself through another does not."""
    sources: dict[object, set[str]] = {"input": set()}
    for layer in layers:
        before = {home.get(source, source) for source in layer.sources} - {home[layer.path]}
        sources.setdefault(home[layer.path], set()).update(before)
    try:
        ranks({node: list(before) for node, before in sources.items()})
    except ValueError:
        return False
    return True


def _grouped(layers: Sequence[LayerShape], home: dict[str, str]) -> list[Box]:
    members: dict[str, list[LayerShape]] = {}
    for layer in layers:
        members.setdefault(home[layer.path], []).append(layer)
    found = []
    for name, inside in members.items():
        own = {layer.path for layer in inside}
        outer = dict.fromkeys(home.get(s, s) for layer in inside for s in layer.sources if s not in own)
        heavy = [layer for layer in inside if not _light(layer)]
        first = heavy[0] if len(heavy) == 1 else inside[0]
        kind = "block" if len(heavy) > 1 else _kind(first)
        words = _lines([_word(layer) for layer in inside])
        found.append(Box(name, kind, words, inside[-1].output, tuple(outer)))
    return found


def _kind(layer: LayerShape) -> str:
    if layer.module is None:
        return "join"
    name = type(layer.module).__name__
    tests: dict[str, Callable[[], bool]] = {
        "pooling": lambda: "Pool" in name or "Subsampling" in name,
        "convolution": lambda: "Conv" in name or "Connected" in name,
        "fully connected": lambda: isinstance(layer.module, nn.Linear) or name == "RBF",
    }
    return next((kind for kind, test in tests.items() if test()), "other")


def _word(layer: LayerShape) -> str:
    """The layer in the lectures' notation where it has a word there."""
    step = step_of(layer.module) if layer.module is not None else None
    if step is not None:
        return str(step)
    return {"add": "+", "cat": "concatenate"}.get(layer.kind, layer.kind)


def _lines(words: Sequence[str]) -> tuple[str, ...]:
    """Words put into lines of one width."""
    lines: list[str] = []
    for word in words:
        if lines and wide(f"{lines[-1]}, {word}", _TEXT) <= _WIDEST:
            lines[-1] += f", {word}"
        else:
            lines.append(word)
    return tuple(lines)


def _size(box: Box) -> tuple[float, float]:
    rows = [(box.name, _NAME), *((line, _TEXT) for line in (*box.words, text(box.output)))]
    return max(wide(*row) for row in rows) + 2 * _PAD, _LINE * len(rows) + 10


def _draw(sketch: Sketch, box: Box, middle: tuple[float, float], size: tuple[float, float]) -> None:
    fill, edge = _LOOKS[box.kind]
    left, top = middle[0] - size[0] / 2, middle[1] - size[1] / 2
    sketch.box((left, top), size, fill=fill, edge=edge, radius=5)
    y = top + 16
    sketch.words((middle[0], y), box.name, _NAME, colour=INK, anchor="middle")
    for line in box.words:
        y += _LINE
        sketch.words((middle[0], y), line, _TEXT, colour=INK, anchor="middle")
    sketch.words((middle[0], y + _LINE), text(box.output), _TEXT, colour=FAINT, anchor="middle")
