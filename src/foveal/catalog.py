"""The folders are the registry: what they hold is found here, by reading them.

A public function of a file in one of the plug-in folders *is* the plug-in. Listing reads the source with `ast` and
imports nothing, so that the command line can name every network without loading torch; `get` imports the one asked for.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from foveal.errors import FovealError, unknown
from foveal.types import Facts

_LISTED = {
    "model": "`foveal models` lists the networks",
    "recipe": "`foveal recipes` lists the recipes",
    "study": "`foveal study` lists the studies",
}
_ROOT = Path(__file__).parent
_FOLDERS = {
    "model": "models",
    "format": "data/formats",
    "protocol": "protocols",
    "explanation": "explanations",
    "recipe": "recipes",
    "study": "studies",
}


@dataclass(frozen=True)
class Entry:
    """One public function of a plug-in folder: its name, its module and the first line of its docstring."""

    name: str
    module: str
    summary: str


@cache
def entries(kind: str) -> Mapping[str, Entry]:
    """All plug-ins of a kind (model, format, protocol, explanation, recipe, study) by name, in the files' own order.

    Formats are listed by file: a format is its module's four functions together.
    """
    found: dict[str, Entry] = {}
    for file in _files(kind):
        module = ".".join(file.relative_to(_ROOT.parent).with_suffix("").parts)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if kind == "format":
            found[file.stem] = Entry(file.stem, module, _first_line(tree))
            continue
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                if node.name in found:
                    raise RuntimeError(f"two {kind}s are called {node.name}: {found[node.name].module} and {module}")
                found[node.name] = Entry(node.name, module, _first_line(node))
    return found


def names(kind: str) -> tuple[str, ...]:
    """The names of all plug-ins of a kind."""
    return tuple(entries(kind))


def get(kind: str, name: str) -> Callable[..., Any]:
    """The function called `name`, or the one at `package.module:function`.

    Raises FovealError for a name that is not in the folder, or a path that cannot be imported.
    """
    if ":" in name:
        return imported(kind, name)
    if name not in entries(kind):
        raise unknown(kind, name, entries(kind), _LISTED.get(kind, ""))
    function: Callable[..., Any] = getattr(importlib.import_module(entries(kind)[name].module), name)
    return function


def module(kind: str, name: str) -> ModuleType:
    """The module that holds the plug-in `name` (for a format: the format itself)."""
    if name not in entries(kind):
        raise unknown(kind, name, entries(kind), _LISTED.get(kind, ""))
    return importlib.import_module(entries(kind)[name].module)


def facts(name: str) -> Facts | None:
    """The published facts of a model of the catalogue, or None for a network that no paper describes."""
    if ":" in name:
        return None
    table: Mapping[str, Facts] = getattr(module("model", name), "FACTS", {})
    return table.get(name)


def configured(kind: str, text: str) -> Callable[..., Any]:
    """The function that `text` names, with its options bound: `ten_crop`, `dense(scales=(256, 384), flip=False)`.

    Values are literals, read and never evaluated. FovealError for an unknown name, option or text.
    """
    name, values, given = parse_call(kind, text)
    if values:
        raise FovealError(f"{kind} '{text}': {values[0]!r} has no name", f"write {name}(option=value)")
    function = get(kind, name)
    check_options(function, given)
    return functools.partial(function, **given)


def parse_call(kind: str, text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """`name(value, option=value)` as its name, values and options. FovealError for another text."""
    name, opened, rest = text.strip().partition("(")
    if opened and not rest.endswith(")"):
        raise FovealError(f"{kind} '{text}': the bracket is not closed", "write name(value, option=value)")
    try:
        node = ast.parse(f"f({rest}" if opened else "f()", mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or any(
            keyword.arg is None for keyword in node.keywords
        ):
            raise ValueError("not a call")
        values = [ast.literal_eval(value) for value in node.args]
        return name.strip(), values, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError) as error:
        raise FovealError(
            f"{kind} '{text}' cannot be read", "write name(value, option=value) with numbers, texts and lists"
        ) from error


def options(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The keyword options of a plug-in, with their types resolved: what the command line offers as `key=value`.

    Raises FovealError for a function written in C that does not tell its options.
    """
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except ValueError as error:
        raise FovealError(f"{function!r} does not tell its options", "write a Python function around it") from error
    return {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def check_options(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise the «did you mean» error for an option that `function` does not have."""
    known = options(function)
    for name in given:
        if name not in known:
            raise unknown(f"option of {function.__name__}", name, known)


def made(name: str, function: Callable[..., Any], **options: Any) -> Any:
    """What the function called `name` gives. FovealError for what it raises: of ours, an option of the wrong type."""
    try:
        return function(**options)
    except FovealError:
        raise
    except Exception as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in options.items())
        raise FovealError(
            f"{name}({listed}) fails: {type(error).__name__}: {error}",
            "give options of the right type, or mend the function; --debug shows where",
        ) from error


def _files(kind: str) -> Iterator[Path]:
    for file in sorted((_ROOT / _FOLDERS[kind]).rglob("*.py")):
        if not file.stem.startswith("_"):
            yield file


def _first_line(node: ast.Module | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def imported(kind: str, path: str) -> Callable[..., Any]:
    """The function or class at `package.module:name`. FovealError when it cannot be imported."""
    module_name, _, function_name = path.partition(":")
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        raise FovealError(
            f"cannot import '{module_name}' for the {kind} '{path}': {error}",
            "is it installed, or does PYTHONPATH name its folder?",
        ) from error
    except Exception as error:  # whatever a foreign module does when it is imported
        raise FovealError(
            f"cannot import '{module_name}' for the {kind} '{path}': {type(error).__name__}: {error}",
            "mend that file; the same command with --debug shows where",
        ) from error
    function = getattr(found, function_name, None)
    if not callable(function):
        public = [n for n, value in vars(found).items() if callable(value) and not n.startswith("_")]
        raise unknown(f"{kind} in {module_name}", function_name, public)
    typed: Callable[..., Any] = function
    return typed
