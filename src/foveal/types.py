"""Small frozen records that several floors share. No behaviour lives here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """What a paper published about one network; the tests fail where the code disagrees.

    `parameters` counts trainable scalars and `macs` multiply-adds of one image, both at `num_classes` and `input`.
    Errors are percentages on the paper's own test set, as published, never measured here.
    """

    paper: str
    year: int
    input: tuple[int, ...]
    num_classes: int = 1000
    parameters: int | None = None
    macs: int | None = None
    dataset: str = "ImageNet"
    top1_error: float | None = None
    top5_error: float | None = None
    published: Mapping[str, float | int | str | tuple[int, ...]] = field(default_factory=dict)


IGNORED = 255  # in masks and tags: what neither the loss nor a metric counts


class Batch(NamedTuple):
    """What a loader yields: images uint8 [B, C, H, W], their targets, and the samples' indices int64 [B].

    Targets are class numbers int64 [B], tags uint8 [B, classes] (1 there, 0 not, or `IGNORED`), masks uint8 [B, H, W]
    of class numbers and `IGNORED`, or a list of B dictionaries of tensors: `boxes` float32 [K, 4] (x1, y1, x2, y2 in
    pixels), `labels` int64 [K] and what else the data tell of each box.
    """

    images: Tensor
    targets: Any
    indices: Tensor


@dataclass(frozen=True)
class Step:
    """One optimiser update: its number (from 1), the loss terms by name (averages over the batch) and the rate used."""

    step: int
    losses: Mapping[str, float]
    lr: float

    @property
    def loss(self) -> float:
        """The sum that was differentiated."""
        return sum(self.losses.values())


class Predictor(Protocol):
    """A recogniser as the protocols see it: uint8 images [B, C, H, W] in, float32 probabilities [B, classes] out.

    `prepare`, and `scaled` where there is one, are called from several threads at once.
    """

    input: tuple[int, int, int]
    classes: tuple[str, ...]
    prepare: Callable[[Tensor], Tensor]  # one decoded image, uint8 [C, H, W] → the deterministic part of the pipeline

    def __call__(self, images: Tensor) -> Tensor: ...


class ScalingPredictor(Predictor, Protocol):
    """A recogniser that also says at what sizes it was trained, and shows an image at another one."""

    sides: tuple[int, int]  # smallest and largest shorter side of the training images, in pixels

    def scaled(self, image: Tensor, side: int) -> Tensor:
        """As `prepare`, with the shorter side brought to `side` pixels: uint8 [C, H, W] → uint8 [C, H', W']."""
        ...


class DensePredictor(ScalingPredictor, Protocol):
    """A recogniser whose network can slide over images larger than its input."""

    def maps(self, images: Tensor, *, offsets: bool = False) -> Tensor:
        """Scores at every position of uint8 images [B, C, H, W] of any size from `input` on: float [B, classes, h, w].

        offsets: the last pooling starts at each of its offsets, so that the positions lie closer by its stride.
        """
        ...


class ExitPredictor(Predictor, Protocol):
    """A recogniser that answers several times on its way, each time better and dearer."""

    costs: tuple[int, ...]  # multiply-adds of one image up to each exit

    def exits(self, images: Tensor) -> Tensor:
        """uint8 images [B, C, H, W] → float32 probabilities [exits, B, classes]."""
        ...
