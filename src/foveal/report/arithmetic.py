"""The answer to a size question in words, as a drawing of characters, and as a picture of the grids."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from foveal.data.drawing import FAINT, INK, LINE
from foveal.errors import FovealError
from foveal.graph.arithmetic import Arithmetic
from foveal.graph.shapes import text as sides
from foveal.report.sketch import Sketch

_WIDEST, _ROWS = 60, 16  # of the drawing of characters: positions across, windows down
_CELL, _SMALLEST, _MARGIN, _GAP = 26, 3, 30, 70
_MOST = 240  # cells along a side of the picture
_BLUE, _DEEP, _GREEN, _SAND = (208, 226, 248), (52, 108, 184), (205, 234, 214), (246, 239, 222)
_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def answer(found: Arithmetic) -> str:
    """The formula with its numbers, shapes, parameters and multiply-adds, and what is worth knowing."""
    lines = [*_formulas(found), "", f"{_shape(found.channels, found.input)} → {_shape(found.maps, found.output)}"]
    facts = [("values", found.values)]
    if found.filters:
        biases = f" + {found.filters:,} biases" if found.bias else ""
        depth = f"·{found.channels // found.groups}"
        product = "·".join(map(str, found.window.kernel)) + f"{depth}·{found.filters}"
        lines.append(f"parameters     {found.parameters:,}  ({product} = {found.weights:,} weights{biases})")
        facts.append(("multiply-adds", found.macs))
    lines += [f"{name:<13}  {number:,}" for name, number in facts]
    notes = _notes(found)
    return "\n".join([*lines, *([""] if notes else []), *notes, "", *_strip(found)])


def _formulas(found: Arithmetic) -> list[str]:
    """One line for each dimension that is unlike the others."""
    names = _NAMES[len(found.input)]
    numbers = [_formula(found, dim) for dim in range(len(names))]
    general = "S(W - 1) + F - 2P" if found.window.transposed else "(W - F + 2P)/S + 1"
    if len(set(numbers)) == 1:
        return [f"{general} = {numbers[0]}"]
    return [general, *(f"{name:<7} {number}" for name, number in zip(names, numbers, strict=True))]


def _formula(found: Arithmetic, dim: int) -> str:
    w, size = found.window, found.input[dim]
    extent, stride, padding = w.extent[dim], w.stride[dim], w.padding[dim]
    whole = found.output[dim]
    if w.transposed:
        extra = f" + {w.extra[dim]}" if w.extra[dim] else ""
        return f"{stride}·({size} - 1) + {extent} - 2·{padding}{extra} = {whole}"
    exact = found.exact[dim]
    said = (
        str(whole) if exact == whole else f"{_decimal(exact)}, rounded {'up' if exact < whole else 'down'} to {whole}"
    )
    return f"({size} - {extent} + 2·{padding})/{stride} + 1 = {said}"


def _notes(found: Arithmetic) -> list[str]:
    w = found.window
    notes = []
    if w.dilation != (1,) * len(w.dilation):
        notes.append(f"with holes the window of {sides(w.kernel)} covers F = {sides(w.extent)}")
    if not found.divides:
        notes.append(_rest(found))
    if found.kind == "transposed":
        if any(k % s for k, s in zip(w.kernel, w.stride, strict=True)):
            notes.append("the stride does not divide the window: outputs are written unequally often (chequerboards)")
    elif found.kind == "pool":
        apart = [k - s for k, s in zip(w.kernel, w.stride, strict=True)]
        notes.append("windows overlap" if max(apart) > 0 else "windows lie apart" if min(apart) < 0 else "windows meet")
    elif all(s == 1 for s in w.stride) and found.output != found.input and all(e % 2 for e in w.extent):
        same = sides(tuple(dict.fromkeys((e - 1) // 2 for e in w.extent)))
        notes.append(f"padding (F - 1)/2 = {same} would keep the size")
    return notes


def _rest(found: Arithmetic) -> str:
    """What a stride that does not divide leaves, and the numbers nearby that would."""
    dim = next(d for d, size in enumerate(found.exact) if size.denominator > 1)
    w, size = found.window, found.input[dim]
    stride, room = w.stride[dim], size - w.extent[dim] + 2 * w.padding[dim]
    ways = [f"an input of {size - room % stride} or {size + stride - room % stride}"]
    ways += [f"padding {p}" for p in range(w.extent[dim]) if (size - w.extent[dim] + 2 * p) % stride == 0][:1]
    rest = found.unused(dim)
    seen = f"the last {'position is' if rest == 1 else f'{rest} positions are'} not seen"
    what = seen if rest else "the last window reaches over the edge"
    return f"the stride does not divide: {what}; {', '.join(ways)} would divide"


def _strip(found: Arithmetic) -> list[str]:
    """The windows along one dimension, one below the other: # is read (or written), · is padding."""
    dim = max(range(len(found.input)), key=lambda d: (not _divides(found, d), found.input[d]))
    w, size = found.window, found.input[dim]
    across = found.output[dim] if w.transposed else size
    padding, count = w.padding[dim], (size if w.transposed else found.output[dim])
    last = max(across + padding, found.reads(dim, count - 1)[-1] + 1)
    drawn = last + padding <= _WIDEST
    inside, other = ("output", "input") if w.transposed else ("input", "output")
    head = f"{inside:>11}" + (f" {_ruler(padding, across, last)}" if drawn else f" of {across}")
    lines = [f"along {_NAMES[len(found.input)][dim]}", head]
    chosen = range(count) if count <= _ROWS else (0, 1, 2, -1, count - 2, count - 1)
    for position in chosen:
        if position < 0:
            lines.append(f"{'…':>11}")
            continue
        reads = found.reads(dim, position)
        bar = "".join("#" if x in reads else "·" if not 0 <= x < across else " " for x in range(-padding, last))
        seen = bar if drawn else f"{'writes' if w.transposed else 'reads'} {reads[0]} … {reads[-1]}"
        lines.append(f"{other:>7} {position:>3} {seen.rstrip()}")
    if w.transposed and drawn:
        lines.append(f"{'written':>11} {' ' * padding}{''.join(map(_digit, found.writers(dim)))}")
    return lines


def _divides(found: Arithmetic, dim: int) -> bool:
    return found.exact[dim].denominator == 1


def _ruler(padding: int, size: int, last: int) -> str:
    return "·" * padding + "".join(str(i % 10) for i in range(size)) + "·" * (last - size)


def _digit(count: int) -> str:
    return str(count) if count < 10 else "+"


def _decimal(number: Fraction) -> str:
    return f"{float(number):.2f}"


def _shape(channels: int, grid: Sequence[int]) -> str:
    return sides((channels, *grid))


def draw(found: Arithmetic) -> Sketch:
    """Both grids, the padding around, with the first window and what belongs to it in blue, and the last in green.

    Of a volume height and width are drawn. FovealError for grids of more than 240 positions along a side.
    """
    dims = list(range(len(found.input)))[-2:]
    w = found.window
    padded = [w.padding[d] for d in dims]
    bare = [0] * len(dims)
    around = (bare, padded) if w.transposed else (padded, bare)
    sizes = [[grid[d] for d in dims] for grid in (found.input, found.output)]
    largest = max(
        n + 2 * p for size, sides_ in zip(sizes, around, strict=True) for n, p in zip(size, sides_, strict=True)
    )
    if largest > _MOST:
        raise FovealError(f"a grid of {largest} positions is too fine to be drawn", f"give one of {_MOST} at most")
    cell = max(_SMALLEST, min(_CELL, 700 // largest))
    top, place = _MARGIN + 30, float(_MARGIN)
    sketch = Sketch(0, 0)
    grids = []
    for name, size, padding in zip(("input", "output"), sizes, around, strict=True):
        sketch.words((place, _MARGIN + 14), f"{name} {sides(tuple(size))}", 14)
        grids.append(_Grid(sketch, (place, top), cell, size, padding))
        place += max(grids[-1].width, 110) + _GAP
    read, made = reversed(grids) if w.transposed else grids
    counts = sizes[0] if w.transposed else sizes[1]
    for last, fill in ((False, _BLUE), (True, _GREEN)):
        at = [n - 1 if last else 0 for n in counts]
        read.mark([found.reads(d, p) for d, p in zip(dims, at, strict=True)], fill)
        made.mark([(p,) for p in at], fill)
    for grid in grids:
        grid.frame()
    sketch.width, sketch.height = max(place - _GAP + _MARGIN, 480), top + max(g.height for g in grids) + 60
    sketch.words((_MARGIN, sketch.height - 24), " · ".join(_formulas(found)[-2:]), 13, colour=FAINT)
    return sketch


class _Grid:
    """Squares of one or two dimensions, some of them padding, on a sketch."""

    def __init__(
        self, sketch: Sketch, at: tuple[float, float], cell: int, sizes: Sequence[int], padding: Sequence[int]
    ) -> None:
        self.sketch, self.at, self.cell = sketch, at, cell
        self.sizes = [1, *sizes][-2:]
        self.padding = [0, *padding][-2:]
        (rows, columns), (above, before) = self.sizes, self.padding
        self.height, self.width = (rows + 2 * above) * cell, (columns + 2 * before) * cell
        for y in range(-above, rows + above):
            for x in range(-before, columns + before):
                inside = 0 <= y < rows and 0 <= x < columns
                sketch.box(self._corner(y, x), (cell, cell), fill=None if inside else _SAND, edge=LINE)

    def frame(self) -> None:
        """A line around what is not padding."""
        rows, columns = self.sizes
        self.sketch.box(self._corner(0, 0), (columns * self.cell, rows * self.cell), edge=INK)

    def mark(self, places: Sequence[Sequence[int]], fill: tuple[int, int, int]) -> None:
        """Fill the squares at the product of these positions, and frame them."""
        rows, columns = [(0,), *places][-2:]
        for y in rows:
            for x in columns:
                if all(-p <= i < n + p for i, n, p in zip((y, x), self.sizes, self.padding, strict=True)):
                    self.sketch.box(self._corner(y, x), (self.cell, self.cell), fill=fill, edge=_DEEP, opacity=0.7)

    def _corner(self, y: int, x: int) -> tuple[float, float]:
        return self.at[0] + (x + self.padding[1]) * self.cell, self.at[1] + (y + self.padding[0]) * self.cell
