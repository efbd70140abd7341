"""Reads pickles of plain data and NumPy arrays without running anything in them.

Unpickling calls whatever a file names, so a downloaded pickle is a program. This interpreter knows the opcodes that
build numbers, texts, lists, tuples and dictionaries, and three callables by name only, never looked up or imported: an
array's constructor, `dtype`, and `_codecs.encode` (which is how protocol 2 writes bytes). Anything else is refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foveal.errors import FovealError

_MAX_BYTES = 1 << 28  # the largest file of CIFAR has 155 MB and 250,000 opcodes
_MAX_OPCODES = 5_000_000
_DTYPES = frozenset(kind + size for kind in "iu" for size in "1248")
_RECONSTRUCT = {f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")}
_KNOWN = {
    *_RECONSTRUCT,
    "numpy ndarray",
    "numpy dtype",
    "_codecs encode",
    "__builtin__ bytes",
    "builtins bytes",
}


@dataclass(frozen=True)
class _Name:
    """A callable that the file names. It stays a name."""

    path: str


@dataclass
class _Type:
    """A dtype under construction: "u1", and its byte order."""

    code: str
    order: str = "|"


@dataclass
class _Array:
    """An array under construction; its value arrives with BUILD, after others may have remembered it."""

    value: np.ndarray | None = None


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    encoded: int = 0  # bytes made from texts so far

    def since_mark(self) -> list[Any]:
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items


def read_pickle(file: Path) -> Any:
    """The file's plain data: arrays as ndarray (integers only), Python 2's strings and bytes keys of dicts as str.

    Raises FovealError for anything that would have to be executed, for damaged files and for those above 256 MiB.
    """
    if file.stat().st_size > _MAX_BYTES:
        raise FovealError(f"{file}: is larger than 256 MiB", "is it the data set that it claims to be?")
    try:
        return _finished(_interpret(file.read_bytes()))
    except _RefusedError as error:
        raise FovealError(
            f"{file}: this pickle {error}, which plain data never needs; nothing of it was run",
            "do not trust this file: take the binary version of the data set",
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise FovealError(f"{file}: is damaged or no pickle ({error})", "download it again") from error


class _RefusedError(Exception):
    """The file asks for more than plain data."""


def _interpret(data: bytes) -> Any:
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(data))):
        if count > _MAX_OPCODES or machine.encoded > 2 * len(data):
            raise _RefusedError("unpacks to far more than it holds")
        if opcode.name == "STOP":
            return machine.stack.pop()
        if opcode.name in _LITERALS:
            machine.stack.append(argument)
        elif opcode.name in _STEPS:
            _STEPS[opcode.name](machine, argument)
        else:
            raise _RefusedError(f"uses the opcode {opcode.name}")
    raise ValueError("it has no end")


_LITERALS = frozenset(
    name
    for names in (
        "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT",
        "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE",
        "BINBYTES SHORT_BINBYTES",
    )
    for name in names.split()
)


def _push(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda m, _: m.stack.append(make())


def _mark(m: _Machine, _: Any) -> None:
    m.marks.append(len(m.stack))


def _put(m: _Machine, key: int) -> None:
    m.memo[key] = m.stack[-1]


def _get(m: _Machine, key: int) -> None:
    m.stack.append(m.memo[key])


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def step(m: _Machine, _: Any) -> None:
        if len(m.stack) < count:
            raise ValueError("its stack is empty")
        m.stack[-count:] = [tuple(m.stack[-count:])]

    return step


def _append(m: _Machine, _: Any) -> None:
    item = m.stack.pop()
    _of(list, m.stack[-1]).append(item)


def _appends(m: _Machine, _: Any) -> None:
    items = m.since_mark()
    _of(list, m.stack[-1]).extend(items)


def _set_item(m: _Machine, _: Any) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    _of(dict, m.stack[-1])[_key(key)] = value


def _set_items(m: _Machine, _: Any) -> None:
    items = m.since_mark()
    _of(dict, m.stack[-1]).update(_pairs(items))


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: Any) -> Any:
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _of(kind: type, found: Any) -> Any:
    if not isinstance(found, kind):
        raise TypeError(f"it adds to a {type(found).__name__} as to a {kind.__name__}")
    return found


def _name(m: _Machine, path: str) -> None:
    if path not in _KNOWN:
        raise _RefusedError(f"asks for {path.replace(' ', '.')}")
    m.stack.append(_Name(path))


def _stack_name(m: _Machine, _: Any) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    _name(m, f"{module} {name}")


def _reduce(m: _Machine, _: Any) -> None:
    """The calls that arrays and bytes need, done by hand."""
    arguments, called = m.stack.pop(), m.stack.pop()
    path = called.path if isinstance(called, _Name) else ""
    if path in _RECONSTRUCT:
        m.stack.append(_Array())
    elif path == "numpy dtype":
        code = _text(arguments[0]).lstrip("|<>=")
        if code not in _DTYPES:
            raise _RefusedError(f"holds an array of {code!r}")
        m.stack.append(_Type(code))
    elif path == "_codecs encode" and _text(arguments[1]) in ("latin1", "latin-1"):
        m.stack.append(_bytes(m, arguments[0]))
    elif path.endswith(" bytes") and arguments == ():
        m.stack.append(b"")
    else:
        raise _RefusedError(f"calls {path.replace(' ', '.') or 'what is no function'}")


def _build(m: _Machine, _: Any) -> None:
    """The state of a dtype: (version, byte order, …). Of an array: (version, shape, dtype, column order?, bytes)."""
    state, built = m.stack.pop(), m.stack[-1]
    if isinstance(built, _Type):
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {order!r}")
        built.order = order
    elif isinstance(built, _Array):
        _, shape, kind, column_order, data = state
        raw = data if isinstance(data, bytes) else _bytes(m, data)
        dtype = np.dtype(_of(_Type, kind).order + kind.code)
        if len(raw) != math.prod(shape) * dtype.itemsize or any(size < 0 for size in shape):
            raise ValueError(f"an array of shape {shape} with {len(raw)} bytes")
        built.value = np.frombuffer(raw, dtype).reshape(shape, order="F" if column_order else "C")
    else:
        raise _RefusedError(f"sets the state of a {type(built).__name__}")


def _text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise TypeError(f"a {type(value).__name__} where a text belongs")
    return text


def _bytes(m: _Machine, value: Any) -> bytes:
    """Python 2's strings, and what protocol 2 makes of bytes, are texts of one character a byte."""
    data = _text(value).encode("latin-1")
    m.encoded += len(data)
    return data


def _skip(m: _Machine, _: Any) -> None:
    pass


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _skip),
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_LIST": _push(list),
    "EMPTY_DICT": _push(dict),
    "EMPTY_TUPLE": _push(tuple),
    "MARK": _mark,
    "LIST": lambda m, _: m.stack.append(m.since_mark()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "DICT": lambda m, _: m.stack.append(_pairs(m.since_mark())),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "MEMOIZE": lambda m, _: _put(m, len(m.memo)),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "GLOBAL": _name,
    "STACK_GLOBAL": _stack_name,
    "REDUCE": _reduce,
    "BUILD": _build,
}


def _finished(value: Any) -> Any:
    """Arrays in place of their constructions: the value itself or an item of a dict, which is all that CIFAR has."""
    if isinstance(value, dict):
        return {key: item.value if isinstance(item, _Array) else item for key, item in value.items()}
    return value.value if isinstance(value, _Array) else value
