"""A trained network as the test protocols see it: images in, probabilities out, and what else it can tell."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
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
from foveal.training.trained import Trained


class Recogniser(Trained):
    """A trained classifier: prepared uint8 images [B, C, H, W] in, float32 probabilities [B, classes] out.

    The answer lies on the CPU."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, classes: tuple[str, ...], placement: Placement, pipeline: Pipeline
    ) -> None:
        super().__init__(model, recipe, classes, placement, pipeline)
        self._sliding: dict[bool, nn.Module] = {}
        self._pipelines: dict[int, Pipeline] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities."""
        return self._asked(self.model, lambda part: classify.predict(self.model, part), images)

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
        network = self._sliding[offsets]
        return self._asked(network, network, images).float()

    @cached_property
    def costs(self) -> tuple[int, ...]:
        """Multiply-adds of one image up to each exit of the network. FovealError for one with a single exit."""
        return exit_costs(self.model, self.input)

    def exits(self, images: Tensor) -> Tensor:
        """Probabilities at each exit, float32 [exits, B, classes]; the last are those of a plain call."""
        model: Any = self.model

        def answer(part: Tensor) -> Tensor:
            return torch.stack([one.float().softmax(1) for one in model.exits(part)], 1)

        return self._asked(model, answer, images).transpose(0, 1)

    def _asked(self, network: nn.Module, answer: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        return torch.cat(self._in_parts(network, lambda part: answer(part).cpu(), images))

    def _convolutional(self, offsets: bool) -> nn.Module:
        network = convolutionalize(self.model, self.input)
        return self.placement.place(pooled_at_offsets(network, self.input) if offsets else network)
