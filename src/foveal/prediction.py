"""What a trained run sees in pictures: files, folders and patterns in; class probabilities out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal.data.formats._common import pictures_in
from foveal.data.image import SUFFIXES, ImageDecodeError, load_image
from foveal.errors import FovealError
from foveal.protocols._ahead import ahead
from foveal.protocols._views import centre
from foveal.training.run import Run
from foveal.types import Predictor

Source = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one file, best first, or the reason why it could not be read."""

    file: str
    classes: tuple[tuple[str, float], ...]  # (name, probability in 0..1)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values: file and either its classes with probabilities or the error."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file, "classes": [{"name": name, "probability": p} for name, p in self.classes]}

    def text(self) -> str:
        """One line for the terminal."""
        if self.error is not None:
            return f"{self.file}: not read: {self.error}"
        return f"{self.file}: " + ", ".join(f"{name} {100 * p:.1f} %" for name, p in self.classes)


def predict(
    run: Run | Source,
    files: Source | Iterable[Source],
    top: int = 5,
    *,
    strict: bool = False,
    checkpoint: str = "best",
    batch_size: int = 64,
) -> list[Prediction]:
    """Classify pictures: one Prediction per file, in order, with its `top` classes.

    `files` are paths of pictures, folders (searched with all their subfolders for names that say «picture») or patterns
    with `*`, `?`, `[…]` and `**`, of which folders count only where no file matches. A file that cannot be read gets a
    Prediction with its reason, or with `strict` raises FovealError. Pictures are decoded in threads and classified in
    batches; of each the network is shown the centre.

    Raises FovealError for a path or pattern that leads to nothing, for a folder without pictures and for `top` < 1.
    """
    if top < 1:
        raise FovealError(f"top={top}: at least one class must be asked for", "leave it out for the best five")
    predictor = (run if isinstance(run, Run) else Run(os.fspath(run))).predictor(checkpoint)
    paths = find_pictures(files)

    def view(path: str) -> Tensor | str:
        try:
            image = load_image(path, mode=None, min_side=predictor.pipeline.min_side(train=False))
            return centre(predictor, image, path)
        except FovealError as error:
            if strict:
                raise
            return error.reason if isinstance(error, ImageDecodeError) else error.what.removeprefix(f"{path}: ")

    found: list[Prediction] = []
    for views in ahead(paths, view, batch_size):
        batch = paths[len(found) : len(found) + len(views)]
        found += _predictions(predictor, batch, views, top)
    return found


def find_pictures(files: Source | Iterable[Source]) -> list[str]:
    """The pictures that paths, folders and patterns lead to: each once, folders and patterns in sorted order."""
    sources = [files] if isinstance(files, str | os.PathLike) else list(files)
    if not sources:
        raise FovealError("no picture was given", "name files, folders or patterns such as 'photos/*.jpg'")
    found = [path for source in sources for path in _expanded(os.fspath(source))]
    return list(dict.fromkeys(found))


def _expanded(source: str) -> list[str]:
    path = Path(source).expanduser()
    if path.is_dir():
        return _pictures_below(path)
    if path.exists():
        return [str(path)]
    matches = _matches(path)
    if not matches:
        kind = "matches no file" if glob.has_magic(source) else "there is no such file or folder"
        raise FovealError(f"{source}: {kind}", "check the path; patterns may use *, ?, [abc] and **")
    files = [str(match) for match in matches if not match.is_dir()]
    return files or [picture for match in matches for picture in _pictures_below(match)]


def _matches(pattern: Path) -> list[Path]:
    """What matches a pattern, absolute or relative, sorted; what is hidden only where the pattern has such a part."""
    magic = [place for place, part in enumerate(pattern.parts) if glob.has_magic(part)]
    if not magic:
        return []
    folder, rest = pattern.parts[: magic[0]], pattern.parts[magic[0] :]
    found = sorted(Path(*folder).glob("/".join(rest)))
    if any(part.startswith(".") for part in rest):
        return found
    return [path for path in found if not any(part.startswith(".") for part in path.parts[len(folder) :])]


def _pictures_below(folder: Path) -> list[str]:
    found, _ = pictures_in(folder)
    if not found:
        raise FovealError(f"{folder}: holds no picture", f"give files called *{', *'.join(sorted(SUFFIXES))}")
    return found


def _predictions(
    predictor: Predictor, paths: Sequence[str], views: Sequence[Tensor | str], top: int
) -> list[Prediction]:
    readable = [view for view in views if isinstance(view, Tensor)]
    best = iter(_best(predictor, torch.stack(readable), top) if readable else ())
    return [
        Prediction(path, (), view) if isinstance(view, str) else Prediction(path, next(best))
        for path, view in zip(paths, views, strict=True)
    ]


def _best(predictor: Predictor, images: Tensor, top: int) -> list[tuple[tuple[str, float], ...]]:
    probabilities, classes = predictor(images).float().cpu().sort(dim=1, descending=True, stable=True)
    return [
        tuple((predictor.classes[c], p) for c, p in zip(c_row, p_row, strict=True))
        for c_row, p_row in zip(classes[:, :top].tolist(), probabilities[:, :top].tolist(), strict=True)
    ]
