"""`check_protocol`: does an evaluation protocol measure what it says?"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from foveal import catalog
from foveal.contracts.oracles import CLASSES, COUNT, ORACLES
from foveal.contracts.report import Report, Rule, Skip, Violation, examine, listed
from foveal.errors import FovealError
from foveal.tasks import task


class Protocol:
    """A protocol with the numbers that it gives for oracles on small sets."""

    def __init__(self, function: Callable[..., Iterator[tuple[str, Any]]]) -> None:
        self.function = function
        self.task = task(str(getattr(sys.modules[function.__module__], "TASK", "classify")))
        self.labels = torch.randint(CLASSES, (COUNT,), generator=torch.Generator().manual_seed(0))

    def run(self, right: bool, order: Sequence[int] | None = None, **options: Any) -> dict[str, Any]:
        """All values by name, for the set in the given order (an empty one included)."""
        labels = self.labels if order is None else self.labels[torch.as_tensor(list(order), dtype=torch.int64)]
        oracle, dataset = ORACLES[self.task.name]
        pairs = list(self.function(oracle(right), dataset(labels), **options))
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise Violation(f"a name is yielded twice: {listed(names)}")
        return dict(pairs)

    @cached_property
    def perfect(self) -> dict[str, Any]:
        """The values for the oracle that is always right."""
        return self.run(True)

    def numbers(self, values: dict[str, Any]) -> dict[str, float]:
        """The scalar values, which say how good the recogniser is."""
        plain = {name: value for name, value in values.items() if isinstance(value, int | float)}
        single = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.ndim == 0}
        return {name: float(value) for name, value in (plain | single).items()}

    def errors(self, values: dict[str, Any]) -> dict[str, float]:
        """The percentages of error; what is missing to 100 % of the task's figure is one."""
        numbers = self.numbers(values)
        found = {name: value for name, value in numbers.items() if name.endswith("error")}
        if not self.task.falls and self.task.figure in numbers:
            found[f"100 - {self.task.figure}"] = 100 - numbers[self.task.figure]
        if not found:
            wanted = "…error" if self.task.falls else f"…error or {self.task.figure}"
            raise Violation(f"no value is called {wanted}: {listed(list(values))}")
        return found


def check_protocol(function: str | Callable[..., Iterator[tuple[str, Any]]]) -> Report:
    """Examine a protocol, `protocol(predict, dataset, *, …)`, which yields (name, value); its file says its TASK.

    Raises FovealError only for a name that cannot be found; whatever else goes wrong is in the report.
    """
    name = function if isinstance(function, str) else getattr(function, "__qualname__", repr(function))
    return examine(Protocol(catalog.get("protocol", function) if isinstance(function, str) else function), name, _RULES)


def _yields(protocol: Protocol) -> str:
    values = protocol.perfect
    strange = [str(name) for name in values if not isinstance(name, str)]
    if strange or not values:
        raise Violation(f"names that are no strings: {listed(strange)}" if strange else "nothing is yielded")
    return listed(list(values))


def _perfect(protocol: Protocol) -> str:
    wrong = [f"{name} = {value:g}" for name, value in protocol.errors(protocol.perfect).items() if abs(value) > 1e-9]
    if wrong:
        raise Violation(f"a recogniser that is always right has {listed(wrong)}")
    return "0 % error"


def _wrong(protocol: Protocol) -> str:
    if not protocol.task.reaches_zero:
        raise Skip(f"the worst of networks has some {protocol.task.label} too")
    wrong = [f"{name} = {value:g}" for name, value in protocol.errors(protocol.run(False)).items() if value != 100]
    if wrong:
        raise Violation(f"a recogniser that is always wrong has {listed(wrong)}")
    return "100 % error"


def _order(protocol: Protocol) -> str:
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1)).tolist()
    _compare(protocol, protocol.perfect, protocol.run(True, order), "in another order")
    _compare(protocol, protocol.run(False), protocol.run(False, order), "in another order")
    return "the same numbers in another order"


def _batches(protocol: Protocol) -> str:
    if "batch_size" not in inspect.signature(protocol.function).parameters:
        raise Skip("it has no batch_size")
    for size in (1, 5, 1000):
        _compare(protocol, protocol.perfect, protocol.run(True, batch_size=size), f"with batch_size={size}")
    return "the same numbers in batches of 1, 5 and all"


def _empty(protocol: Protocol) -> str:
    try:
        values = protocol.run(True, [])
    except FovealError as error:
        return f"refused: {error.what}"
    raise Violation(f"a set without images gives {listed([f'{n} = {v}' for n, v in values.items()])}")


def _compare(protocol: Protocol, first: dict[str, Any], second: dict[str, Any], how: str) -> None:
    one, two = protocol.numbers(first), protocol.numbers(second)
    different = [
        f"{name}: {one.get(name)} and {two.get(name)}"
        for name in one.keys() | two.keys()
        if name not in one or name not in two or abs(one[name] - two[name]) > 1e-5 * max(1.0, abs(one[name]))
    ]
    if different:
        raise Violation(f"{how}: {listed(different)}")


_RULES: tuple[Rule[Protocol], ...] = (
    Rule(
        "yields",
        "reports and the command line print what a protocol yields, by name",
        "yield (name, value) pairs with distinct names",
        _yields,
    ),
    Rule("perfect", "an error must be able to reach 0 %", "count an image as right if its class is on top", _perfect),
    Rule("all wrong", "an error must be able to reach 100 %", "divide by the number of images, no more", _wrong),
    Rule(
        "order",
        "a figure belongs to a set, not to a sequence",
        "keep each label with its image; sum, then divide",
        _order,
    ),
    Rule(
        "batches",
        "a figure must not depend on the memory of the machine",
        "count the last, smaller batch in full",
        _batches,
    ),
    Rule("empty", "0/0 is no result", "raise FovealError for a set without images", _empty),
)
