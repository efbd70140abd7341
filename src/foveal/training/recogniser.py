"""A trained network as the test protocols see it: images in, probabilities out, and what else it can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from foveal.data.pipeline import Pipeline
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.exits import exit_costs
from foveal.graph.offsets import pooled_at_offsets
from foveal.tasks import classify
from foveal.training.device import Placement
from foveal.training.recipe import Recipe


class Recogniser:
    """A trained classifier: prepared uint8 images [B, C, H, W] in, float32 probabilities [B, classes] out, on the CPU.

    `prepare` brings one decoded image, uint8 [C, H, W] of any size, to what the network was trained on, in several
    threads if need be. The model is used in evaluation mode and left in the mode it was in.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, classes: tuple[str, ...], placement: Placement, pipeline: Pipeline
    ) -> None:
        self.model, self.recipe, self.classes, self.placement = model, recipe, classes, placement
        self.input = recipe.input
        self.pipeline = pipeline
        self.prepare: Callable[[Tensor], Tensor] = self._prepared
        # a foreign transform uses the process's one random generator
        self._turn: AbstractContextManager[Any] = nullcontext() if pipeline.thread_safe else Lock()
        self._sliding: dict[bool, nn.Module] = {}
        self._pipelines: dict[int, Pipeline] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities."""
        with _computing(self.model), self.placement.autocast():
            return classify.predict(self.model, self.placement.images(images, self.recipe)).cpu()

    @property
    def sides(self) -> tuple[int, int]:
        """Smallest and largest shorter side of the training images, in pixels."""
        return self.pipeline.sides

    def scaled(self, image: Tensor, side: int) -> Tensor:
        """As `prepare`, with the shorter side brought to `side` pixels: the recipe's own resize takes that side."""
        if side not in self._pipelines:
            self._pipelines[side] = self.pipeline.at_side(side)
        with self._turn:
            return self._pipelines[side].prepare(image)

    def maps(self, images: Tensor, *, offsets: bool = False) -> Tensor:
        """Scores at every position of images of any size from `input` on: float32 [B, classes, h, w].

        offsets: the last layer with a stride, as a rule a pooling, starts at each of its offsets.
        The network is convolutionalised when first asked, with the weights that it has then. Raises FovealError for one
        that cannot be.
        """
        if offsets not in self._sliding:
            self._sliding[offsets] = self._convolutional(offsets)
        with _computing(self._sliding[offsets]) as network, self.placement.autocast():
            maps: Tensor = network(self.placement.images(images, self.recipe))
        return maps.float().cpu()

    @cached_property
    def costs(self) -> tuple[int, ...]:
        """Multiply-adds of one image up to each exit of the network. FovealError for one with a single exit."""
        return exit_costs(self.model, self.input)

    def exits(self, images: Tensor) -> Tensor:
        """Probabilities at each exit, float32 [exits, B, classes]; the last are those of a plain call."""
        model: Any = self.model
        with _computing(self.model), self.placement.autocast():
            scores: list[Tensor] = model.exits(self.placement.images(images, self.recipe))
        return torch.stack([one.float().softmax(1) for one in scores]).cpu()

    def _prepared(self, image: Tensor) -> Tensor:
        with self._turn:
            return self.pipeline.prepare(image)

    def _convolutional(self, offsets: bool) -> nn.Module:
        network = convolutionalize(self.model, self.input)
        return self.placement.place(pooled_at_offsets(network, self.input) if offsets else network)


@contextmanager
def _computing(model: nn.Module) -> Iterator[nn.Module]:
    mode = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield model
    finally:
        model.train(mode)
