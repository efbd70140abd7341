"""A run is a folder: all that is needed to do it again, what was measured, and the networks it made."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from foveal import models
from foveal.data.pose import Pose
from foveal.errors import FovealError
from foveal.training import checkpoint, mean_image, whitening
from foveal.training.detector import Detector
from foveal.training.device import choose, probe
from foveal.training.distributed import rank
from foveal.training.inputs import view
from foveal.training.recipe import Recipe
from foveal.training.recogniser import Recogniser
from foveal.training.records import Table
from foveal.training.segmenter import Segmenter
from foveal.training.tagger import Tagger
from foveal.training.trained import Trained
from foveal.weights import load_weights
from foveal.weights.blobs import split_order

AnyTrained = TypeVar("AnyTrained", bound=Trained)


class Run:
    """A run's folder, opened. FovealError when `path` is none.

    recipe.json (settings), data.json (classes, counts, fingerprint), environment.json, metrics.csv (a row for each
    evaluation), steps.csv (loss terms), log.txt, times.csv (the one file with a clock), last/, previous/, best/;
    mean_image.npy where the recipe subtracts it, whitening.safetensors where it whitens.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.interrupted = False  # set by `train` and `resume` when they were asked to stop
        file = self.path / "recipe.json"
        if not file.is_file():
            what = "is not a run's folder: it has no recipe.json" if self.path.exists() else "does not exist"
            raise FovealError(
                f"{self.path} {what}", "give the folder that `foveal train` printed, e.g. runs/lenet5_digits"
            )
        try:
            self.recipe = Recipe.from_json(file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, OSError, FovealError) as error:
            reason = error.what if isinstance(error, FovealError) else error
            raise FovealError(f"{file} cannot be read: {reason}", "restore it from a copy") from error

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def data(self) -> dict[str, Any]:
        """data.json: source, classes, counts, watched, skipped, fingerprint."""
        return self._json("data.json", ("source", "classes", "counts", "watched", "skipped", "fingerprint"))

    @property
    def environment(self) -> dict[str, Any]:
        """environment.json: versions, device, precision, threads, the command."""
        return self._json("environment.json")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return tuple(str(name) for name in self.data["classes"])

    @property
    def pose(self) -> Pose | None:
        """The keypoints of the training images' objects, None where they have none."""
        told = self.data.get("pose")
        return None if told is None else Pose.from_json(told)

    @property
    def position(self) -> dict[str, Any]:
        """position.json of the last checkpoint: step, total, finished ("" while there is more to do), best, …"""
        return dict(checkpoint.load(self.path, "last").position)

    @property
    def step(self) -> int:
        """Updates done, as of the last checkpoint."""
        return int(self.position["step"])

    @property
    def finished(self) -> bool:
        """Whether the training has come to its end (length or patience), so that resuming does nothing."""
        return checkpoint.exists(self.path, "last") and bool(self.position["finished"])

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes and prints; the others under torchrun keep silent."""
        return rank() == 0

    def metrics(self) -> list[dict[str, float | str | None]]:
        """The rows of metrics.csv: step, epoch, lr, train_loss, val_… or test_…, best."""
        return Table(self.path / "metrics.csv").rows()

    def steps(self) -> list[dict[str, float | str | None]]:
        """The rows of steps.csv: step, epoch, lr, loss and its terms."""
        return Table(self.path / "steps.csv").rows()

    def model(self, which: str = "best") -> nn.Module:
        """The network in evaluation mode on the CPU, with the weights of "best" on the validation split (without one,
        "last"), of "last", or of a weights file.

        With a moving average, its weights. A damaged checkpoint is refused by its checksum and the one before it is
        used, with a warning. FovealError for a file that does not fit the network in full.
        """
        if which not in ("best", "last"):
            return self._with_file(which)
        name = "best" if which == "best" and checkpoint.exists(self.path, "best") else "last"
        found = checkpoint.load(self.path, name)
        if found.note:
            warnings.warn(found.note, stacklevel=2)
        model = self._network()
        restore(model, found.weights if found.average is None else found.average, self.path / name)
        return model.eval()

    def _network(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return models.create(self.recipe.model, num_classes=len(self.classes), **self.recipe.options)

    def _with_file(self, file: str) -> nn.Module:
        if not split_order(file)[0].exists():
            raise FovealError(f"checkpoint '{file}' is not known", "choose best, last, or a file of weights")
        model = self._network()
        load_weights(model, file)
        return model.eval()

    def predictor(self, which: str = "best", device: str | None = None) -> Recogniser:
        """The network of `which` as the protocols want it, on the recipe's device or another: a classifier's.

        FovealError for a run of another task, which has a `tagger`, a `segmenter` or a `detector`.
        """
        return self._trained(Recogniser, "classify", which, device)

    def tagger(self, which: str = "best", device: str | None = None) -> Tagger:
        """As `predictor`, of a run that learned tags."""
        return self._trained(Tagger, "tag", which, device)

    def segmenter(self, which: str = "best", device: str | None = None) -> Segmenter:
        """As `predictor`, of a run that learned masks."""
        return self._trained(Segmenter, "segment", which, device)

    def detector(self, which: str = "best", device: str | None = None) -> Detector:
        """As `predictor`, of a run that learned boxes."""
        return self._trained(Detector, "detect", which, device)

    def _trained(self, kind: type[AnyTrained], task: str, which: str, device: str | None) -> AnyTrained:
        if self.recipe.task != task:
            raise FovealError(
                f"{self.path} was trained to {self.recipe.task}, not to {task}", "name a run of the task that is wanted"
            )
        model = self.model(which)
        recipe = self.recipe if device is None else self.recipe.with_settings(device=device)
        placement = choose(recipe, probe(model, recipe.input))
        if recipe.mean_image:
            placement = replace(placement, mean_image=mean_image.load(self.path))
        if recipe.whiten:
            placement = replace(placement, whitening=whitening.load(self.path).to(placement.device))
        return kind(placement.place(model), recipe, self.classes, placement, view(recipe))

    def _json(self, name: str, needed: tuple[str, ...] = ()) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FovealError(f"{self.path / name} is missing or damaged", "restore it from a copy") from error
        if not isinstance(content, dict) or not content.keys() >= set(needed):
            raise FovealError(f"{self.path / name} is damaged", "restore it from a copy")
        return content


def load(run: Run | str | Path, which: str = "best") -> nn.Module:
    """The trained network of a run, in evaluation mode on the CPU; `which` is "best", "last" or a weights file."""
    return (run if isinstance(run, Run) else Run(run)).model(which)


def restore(model: nn.Module, weights: Any, source: Path) -> None:
    """Load a checkpoint's weights. FovealError when they are another network's."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise FovealError(
            f"{source} does not fit the network of recipe.json: {error}", "was one of them edited?"
        ) from error
