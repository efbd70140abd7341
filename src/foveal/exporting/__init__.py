"""A trained network as one ONNX file, which other programs run without foveal, and proof that it answers the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal import __version__
from foveal.data.image import load_image
from foveal.data.pipeline import normalise
from foveal.data.transforms.sizes import ResizeExact
from foveal.errors import FovealError
from foveal.evaluation.splits import held_out, open_split
from foveal.exporting import onnx
from foveal.models.detect.export import Exportable
from foveal.prediction.files import Source, find_pictures
from foveal.tasks import classify, segment, tag
from foveal.training.run import Run
from foveal.training.trained import Trained

__all__ = ["Exported", "export"]

_NEAR = 1e-3  # that answers of two programs may differ by: scores, and boxes relative to the image
_PICTURES = 4  # of the run's data that answers are compared on
_SAME = 0.9  # of the detections: where scores tie, or just pass a threshold, each may take another box
_PREDICT = {
    "classify": ("probabilities", classify.predict),
    "tag": ("scores", tag.predict),
    "segment": ("probabilities", segment.predict),
}


@dataclass(frozen=True)
class Exported:
    """An ONNX file: `input` is the shape of its `images`, uint8; `outputs` the names of what it gives, about `classes`.

    checked: on how many pictures onnxruntime gave the same, 0 where it is not installed; difference: the largest of two
    scores or probabilities; detections: how many there were, of which `same` are found by both, for a detector.
    """

    file: str
    task: str
    input: tuple[int, ...]
    outputs: tuple[str, ...]
    classes: tuple[str, ...]
    checked: int
    difference: float
    detections: int = 0
    same: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    def text(self) -> str:
        """Lines for people."""
        size = " x ".join(map(str, self.input))
        megabytes = Path(self.file).stat().st_size / 1e6
        first = f"{self.file}: {megabytes:.1f} MB; images uint8 {size} → {', '.join(self.outputs)}"
        if not self.checked:
            return f"{first}\nnot checked: onnxruntime is not installed ({onnx.INSTALL})"
        boxes = f"{self.same} of {self.detections} detections are the same, and " if self.task == "detect" else ""
        told = f"{boxes}scores differ by {self.difference:.1g} at most"
        return f"{first}\nonnxruntime on {self.checked} picture{'s' * (self.checked > 1)}: {told}"


class _Whole(nn.Module):
    """Prepared images, uint8 [N, C, H, W] → a dictionary of answers: normalisation, network, and what is made of it."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.network: nn.Module = trained.model
        self.task, self.std = trained.recipe.task, trained.recipe.std
        found = trained.placement.mean_image
        self.mean: Any = trained.recipe.mean if found is None else found
        self.whitening = trained.placement.whitening
        if self.task == "detect":
            self.network = Exportable(trained.model)

    def inputs(self, images: Tensor) -> dict[str, Tensor]:
        """What `forward` takes, by name, of prepared images."""
        more = self.network.windows(images) if isinstance(self.network, Exportable) else ()
        return dict(zip(("images", "windows"), (images, *more), strict=False))

    def forward(self, images: Tensor, *windows: Tensor) -> dict[str, Tensor]:
        normalised = normalise(images, self.mean, self.std) if self.whitening is None else self.whitening(images)
        if self.task == "detect":
            answer: dict[str, Tensor] = self.network(normalised, *windows)
            return answer
        name, predict = _PREDICT[self.task]
        return {name: predict(self.network, normalised)}


def export(
    run: Run | Source,
    file: Source,
    *,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    checkpoint: str = "best",
    pictures: Source | Iterable[Source] = (),
) -> Exported:
    """Write a run's network as ONNX and, where onnxruntime is installed, compare its answers on pictures.

    The graph takes `images`, uint8 [batch, C, height, width] as the recipe's `prepare` leaves them, and normalises them
    itself; Fast R-CNN's also takes `windows`, float32 [batch, P, 4]. It gives `probabilities` of a classifier [batch,
    classes] or a segmenter [batch, classes, h, w], `scores` of a tagger, and of a detector `boxes` in pixels of these
    images, `scores` (0 where nothing is left) and `labels`, as many as it reports at most. Names of the classes, the
    recipe's steps and the rest stand in the file's metadata.

    size: height and width, by default the recipe's. pictures: to compare on, by default the first of the run's test
    data. Raises FovealError for a network that cannot be exported, for pictures that are not there, and when the
    answers differ; then no file is left.
    """
    opened = run if isinstance(run, Run) else Run(os.fspath(run))
    if batch < 1 or (size is not None and min(size) < 1):
        raise FovealError(f"size={size}, batch={batch}", "give 1 or more")
    trained = _trained(opened, checkpoint)
    shape = (batch, opened.recipe.input[0], *(size or opened.recipe.input[1:]))
    whole = _Whole(trained).eval()
    checks = list(_images(opened, trained, pictures, shape)) if onnx.can_run() else []
    file = Path(os.fspath(file))
    blank = whole.inputs(torch.zeros(shape, dtype=torch.uint8))
    outputs = onnx.write(whole, blank, file, notes=_notes(opened))
    try:
        found = _Agreement()
        for images in checks:
            with torch.inference_mode():
                inputs = whole.inputs(images)
                found.add(whole(*inputs.values()), onnx.run(file, inputs), max(shape[2:]))
        found.check(file)
    except FovealError:
        file.unlink()
        raise
    counts = (found.difference, found.detections, found.same)
    return Exported(str(file), opened.recipe.task, shape, outputs, opened.classes, batch * len(checks), *counts)


@dataclass
class _Agreement:
    """What two programs' answers to the same images have in common, so far."""

    difference: float = 0.0
    detections: int = 0
    same: int = 0

    def add(self, wanted: dict[str, Tensor], found: dict[str, Tensor], side: int) -> None:
        """Answers to one batch; side: of the images, in pixels."""
        if "boxes" not in wanted:
            apart = ((wanted[name] - found[name]).abs().max() for name in wanted)
            self.difference = max(self.difference, *map(float, apart))
            return
        for i, scores in enumerate(wanted["scores"]):
            count = int((scores > 0).sum())
            apart = (scores[:count, None] - found["scores"][i]).abs()
            boxes = (wanted["boxes"][i, :count, None] - found["boxes"][i]).abs().amax(-1)
            labels = wanted["labels"][i, :count, None] == found["labels"][i]
            near = labels & (apart <= _NEAR) & (boxes <= _NEAR * side)
            self.detections += count
            self.same += int(near.any(1).sum())
            nearest = torch.where(near, apart, 2.0).amin(1)
            self.difference = max(self.difference, *nearest[near.any(1)].tolist(), 0.0)

    def check(self, file: Path) -> None:
        """Raise FovealError when they are not the same."""
        if self.difference <= _NEAR and self.same >= _SAME * self.detections:
            return
        told = f"scores differ by {self.difference:.2g}"
        if self.detections:
            told = f"{self.detections - self.same} of {self.detections} detections are others"
        raise FovealError(f"{file}: in onnxruntime {told}", "this is a fault of the exporter or of onnxruntime")


def _trained(run: Run, checkpoint: str) -> Trained:
    kinds: dict[str, Callable[..., Trained]] = {
        "classify": run.predictor, "tag": run.tagger, "segment": run.segmenter, "detect": run.detector,
    }  # fmt: skip
    trained = kinds[run.recipe.task](checkpoint, device="cpu")
    trained.model.float().eval()
    return trained


def _images(
    run: Run, trained: Trained, pictures: Source | Iterable[Source], shape: tuple[int, ...]
) -> Iterator[Tensor]:
    """Pictures as the network sees them, in batches of `shape`; the last is repeated where they do not fill it."""
    files = find_pictures(pictures) if pictures else []
    if files:
        decoded = [load_image(path, mode="RGB") for path in files]
    else:
        data = open_split(run, held_out(run))
        decoded = [data[i][0] for i in range(min(len(data), _PICTURES))]
    exact = ResizeExact(*shape[2:])
    prepared = [exact.batch(trained.prepare(image)[None], torch.empty(1, 0))[0] for image in decoded]
    prepared += [prepared[-1]] * (-len(prepared) % shape[0])
    yield from torch.split(torch.stack(prepared), shape[0])


def _notes(run: Run) -> dict[str, str]:
    """What stands in the file's metadata."""
    recipe = run.recipe
    told = {"prepare": recipe.prepare, "test": recipe.test, "classes": run.classes}
    return {
        "task": recipe.task,
        "model": recipe.model,
        **{name: json.dumps([str(part) for part in parts], ensure_ascii=False) for name, parts in told.items()},
        "producer": f"foveal {__version__}",
    }
