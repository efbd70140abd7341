"""A network as trained: on its device, with what its images go through. What the predictors of all tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from foveal.data.frame import Frame, frame
from foveal.data.pipeline import Pipeline
from foveal.errors import FovealError
from foveal.graph.modes import evaluating
from foveal.training.device import Placement, is_out_of_memory
from foveal.training.recipe import Recipe

_SMALL = 64 * 64  # pixels of images that need little memory, however many go together
Answer = TypeVar("Answer")


class Trained:
    """A trained network. `prepare` brings one decoded image, uint8 [C, H, W] of any size, to what it was trained on,
    in several threads if need be. The model is used in evaluation mode and left in the mode it was in.
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

    def frame(self, height: int, width: int) -> Frame:
        """Where pixels of an image of `height` x `width` lie once it is prepared."""
        return frame(self.pipeline, height, width)

    def _in_parts(self, network: nn.Module, answer: Callable[[Tensor], Answer], images: Tensor) -> list[Answer]:
        """What `answer`, which asks `network`, says to uint8 images [B, C, H, W], part by part.

        Where training images are above 64 x 64 no more go together than in training: what can be trained can be tested.
        """
        pixels = self.input[1] * self.input[2]
        trained = self.recipe.batch_size // self.recipe.accumulate * pixels
        most = trained // (images.shape[2] * images.shape[3]) if pixels > _SMALL else len(images)
        size = max(1, most)
        parts = [images[start : start + size] for start in range(0, max(1, len(images)), size)]
        try:
            with _computing(network), self.placement.autocast():
                return [answer(self.placement.images(part, self.recipe)) for part in parts]
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


@contextmanager
def _computing(model: nn.Module) -> Iterator[nn.Module]:
    with evaluating(model), torch.inference_mode():
        yield model
