"""Which classes a tagger sees in pictures: the best of each, by score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from foveal.prediction.files import viewer
from foveal.protocols._ahead import ahead
from foveal.protocols._views import centre
from foveal.training.tagger import Tagger


@dataclass(frozen=True)
class TagPrediction:
    """The classes of one file, best first, or the reason why it could not be read.

    tags: name, score, and whether it is there, by a score above 0; None of a ranking, which has no border.
    """

    file: str
    tags: tuple[tuple[str, float, bool | None], ...]
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values: file and either its tags with scores or the error."""
        if self.error is not None:
            return {"file": self.file, "error": self.error}
        return {"file": self.file, "tags": [{"name": n, "score": s, "present": there} for n, s, there in self.tags]}

    def text(self) -> str:
        """One line for the terminal: what is there first, then the rest."""
        if self.error is not None:
            return f"{self.file}: not read: {self.error}"
        said = {
            there: ", ".join(f"{name} {score:.2f}" for name, score, own in self.tags if own is there)
            for there in (True, False, None)
        }
        if said[None]:
            return f"{self.file}: by score: {said[None]}"
        return f"{self.file}: {said[True] or 'nothing'}" + (f"; rather not: {said[False]}" if said[False] else "")


def predict_tags(
    tagger: Tagger, paths: Sequence[str], top: int = 5, *, strict: bool = False, batch_size: int = 64
) -> Iterator[TagPrediction]:
    """One TagPrediction per file, in order, with its `top` classes.

    Pictures are decoded in threads and looked at in batches; of each the network is shown the centre. With `strict`
    raises FovealError for a file that cannot be read.
    """
    least = tagger.pipeline.min_side(train=False)
    view = viewer(lambda image, path: centre(tagger, image, path), strict, least)
    done = 0
    for views in ahead(paths, view, batch_size):
        readable = [one for one in views if isinstance(one, Tensor)]
        best = iter(_best(tagger, torch.stack(readable), top) if readable else ())
        for path, one in zip(paths[done : done + len(views)], views, strict=True):
            yield TagPrediction(path, (), one) if isinstance(one, str) else TagPrediction(path, next(best))
        done += len(views)


def _best(tagger: Tagger, images: Tensor, top: int) -> list[tuple[tuple[str, float, bool | None], ...]]:
    scores, classes = tagger(images).sort(dim=1, descending=True, stable=True)
    bordered = tagger.recipe.loss != "ranking"
    return [
        tuple((tagger.classes[c], s, s > 0 if bordered else None) for c, s in zip(c_row, s_row, strict=True))
        for c_row, s_row in zip(classes[:, :top].tolist(), scores[:, :top].tolist(), strict=True)
    ]
