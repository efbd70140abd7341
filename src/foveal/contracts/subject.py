"""The network under examination: built, traced and run as the rules ask, each thing once."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from foveal.contracts.report import Skip, Violation, described
from foveal.graph.windows import known
from foveal.types import Facts


class Tracer(fx.Tracer):
    """Traces through everything it can, functions included, and remembers in which module each node was made."""

    def __init__(self) -> None:
        super().__init__()
        self.path = ""
        self.places: dict[fx.Node, str] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Sequential):  # an empty one is an identity
            return False
        return known(m) or not any(True for _ in m.children())

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        outer, self.path = self.path, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.path = outer
        return result

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        self.places[node] = self.path
        return node


@dataclass(frozen=True)
class Traced:
    """The nodes of a forward, in order, and the module that each was made in."""

    nodes: tuple[fx.Node, ...]
    places: dict[fx.Node, str]

    def shape(self) -> tuple[tuple[str, str, str], ...]:
        """What is done, on what, in which order: equal for equal forwards."""
        return tuple((node.op, str(node.target), f"{node.args} {node.kwargs}") for node in self.nodes)


class Network:
    """A factory with its input (C, H, W), the class count to ask for, and whether numbers may be computed.

    Without `numerics` the network lives on the meta device: shapes and structure are checked, values are not.
    `task` is the catalogue's folder that the network is in; without one its scores tell what it is for.
    """

    def __init__(
        self,
        factory: Callable[..., Any],
        input: tuple[int, ...],
        num_classes: int | None,
        facts: Facts | None,
        numerics: bool,
        *,
        task: str | None = None,
    ) -> None:
        self.factory, self.input, self.facts, self.numerics, self.task = factory, input, facts, numerics, task
        self.num_classes = num_classes
        self.device = "cpu" if numerics else "meta"

    def build(self, device: str, seed: int = 0, **options: Any) -> nn.Module:
        """A fresh network under a fixed seed; Violation if the factory gives something else."""
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.manual_seed(seed)
            model = self.factory(**options)
        if not isinstance(model, nn.Module):
            raise Violation(f"the factory returned {type(model).__name__}, not an nn.Module")
        return model

    @property
    def options(self) -> dict[str, int]:
        """The keyword that asks for the class count, if there is one to ask for."""
        return {} if self.num_classes is None else {"num_classes": self.num_classes}

    def is_dense(self, scores: Tensor) -> bool:
        """Whether each pixel is to have scores of its own."""
        return self.task == "segment" or (self.task is None and scores.shape[2:] == self.input[1:])

    @property
    def is_detector(self) -> bool:
        """Whether it finds boxes: its folder says so, or that it has `detect`."""
        return self.task == "detect" or callable(getattr(self._built, "detect", None))

    @cached_property
    def backbone(self) -> Network:
        """The trunk of a detector, to which passes apply, as a network of its own on the meta device."""
        return Network(lambda **options: self.factory(**options).backbone, self.input, self.num_classes, None, False)

    @cached_property
    def _built(self) -> nn.Module | str:
        try:
            model = self.build(self.device, **self.options)
            if self.numerics:
                self._settle(model)
            return model
        except Exception as error:  # foreign code; the first rule reports it, the others refer to it
            return described(error)

    def _settle(self, model: nn.Module) -> None:
        """Give batch norm the statistics of some images, as training would; with its initial ones, which normalise
        nothing, the values of a deep residual network double from block to block until they overflow."""
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with mode(model, True), torch.no_grad(), contextlib.suppress(Exception):  # the rule "scores" says what is wrong
            model(self.images(8))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @property
    def model(self) -> nn.Module:
        """The network, built once; the rules leave it as they find it. Skip if it cannot be built."""
        if isinstance(self._built, str):
            raise Skip("the network cannot be built")
        return self._built

    @cached_property
    def _traces(self) -> dict[bool, Traced | str]:
        return {mode: self._trace(mode) for mode in (False, True)}

    def _trace(self, training: bool) -> Traced | str:
        tracer = Tracer()
        with mode(self.model, training):
            try:
                wanted = list(inspect.signature(self.model.forward).parameters.values())[1:]
                defaults = {p.name: p.default for p in wanted if p.default is not p.empty}
                graph = tracer.trace(self.model, defaults)
            except Exception as error:  # a forward may raise anything when it meets a proxy
                return f"in {tracer.path or 'the forward of ' + type(self.model).__name__}: {described(error)}"
        return Traced(tuple(graph.nodes), tracer.places)

    def trace(self, training: bool = False) -> Traced:
        """The forward as a graph; Violation with the reason if there is none."""
        found = self._traces[training]
        if isinstance(found, str):
            raise Violation(found)
        return found

    @property
    def graph(self) -> Traced:
        """The forward as a graph; Skip if there is none, which is a rule of its own."""
        found = self._traces[False]
        if isinstance(found, str):
            raise Skip("the network cannot be traced")
        return found

    def images(self, count: int) -> Tensor:
        """The same random images each time, as a network sees them: about zero mean and unit variance."""
        if not self.numerics:
            return torch.empty(count, *self.input, device="meta")
        return torch.randn(count, *self.input, generator=torch.Generator().manual_seed(count))

    def scores(self, images: Tensor, training: bool = False) -> Any:
        """What forward gives; the statistics of batch norm are left as they were."""
        with mode(self.model, training), kept(self.model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            return self.model(images)

    def needs_numbers(self) -> None:
        """Skip the rule when only shapes are examined."""
        if not self.numerics:
            raise Skip("only shapes are examined (numerics=False)")
        _ = self.model


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put the whole network into one mode, and every module back into its own behind."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was in before.items():
            module.training = was


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Put the buffers (running statistics) back behind."""
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, was in zip(model.buffers(), before, strict=True):
                buffer.copy_(was)
