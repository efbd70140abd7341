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
from foveal.errors import FovealError
from foveal.graph.convolutionalize import convolutionalize
from foveal.graph.exits import exit_costs
from foveal.graph.offsets import pooled_at_offsets
from foveal.tasks import classify
from foveal.training.device import Placement, is_out_of_memory
from foveal.training.recipe import Recipe

_SMALL = 64 * 64  # pixels of images that need little memory, however many go together


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
        return self._in_parts(self.model, lambda part: classify.predict(self.model, part), images)

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
        return self._in_parts(network, network, images).float()

    @cached_property
    def costs(self) -> tuple[int, ...]:
        """Multiply-adds of one image up to each exit of the network. FovealError for one with a single exit."""
        return exit_costs(self.model, self.input)

    def exits(self, images: Tensor) -> Tensor:
        """Probabilities at each exit, float32 [exits, B, classes]; the last are those of a plain call."""
        model: Any = self.model

        def answer(part: Tensor) -> Tensor:
            return torch.stack([one.float().softmax(1) for one in model.exits(part)], 1)

        return self._in_parts(model, answer, images).transpose(0, 1)

    def _in_parts(self, network: nn.Module, answer: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What `answer`, which asks `network`, says to uint8 images [B, C, H, W]: [B, …] on the CPU.

        Where training images are above 64 x 64 no more go together than in training: what can be trained can be tested.
        """
        pixels = self.input[1] * self.input[2]
        trained = self.recipe.batch_size // self.recipe.accumulate * pixels
        most = trained // (images.shape[2] * images.shape[3]) if pixels > _SMALL else len(images)
        size = max(1, most)
        parts = [images[start : start + size] for start in range(0, max(1, len(images)), size)]
        try:
            with _computing(network), self.placement.autocast():
                return torch.cat([answer(self.placement.images(part, self.recipe)).cpu() for part in parts])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            count, _, height, width = parts[0].shape
            raise FovealError(
                f"{self.placement.device} ran out of memory on {count} images of {width} x {height}",
                "free some of it; or train with a greater accumulate, by which fewer large images go together",
            ) from error

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
