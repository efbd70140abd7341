"""The base that the small studies vary unless another is named: a little chain network on the data at hand."""

from __future__ import annotations

from typing import Any

from foveal.studies._lab import Lab
from foveal.training.recipe import Recipe

DIGITS = (1, 16, 16)  # the embedded digits, enlarged
PICTURES = (3, 32, 32)


def small(lab: Lab, text: str, **settings: Any) -> Recipe:
    """A recipe for the network `text`: digits by default, enlarged to 16x16; other data at 3x32x32 unless input= is
    given. Plain SGD with momentum, no augmentation and no weight decay, so that a study sees its own change alone."""
    shape = DIGITS if lab.data in (None, "digits") else PICTURES
    window = tuple(int(side) for side in lab.given("input", shape))
    values = {
        "name": lab.study,
        "model": "chain",
        "options": {"text": text, "input": list(window)},
        "data": "digits",
        "input": window,
        "prepare": (f"resize_exact({window[1]}, {window[2]})",),
        "batch_size": 64,
        "lr": 0.02,
        "length": 10,
        **settings,
    }
    return Recipe(**{**values, **({"length": 1, "unit": "epochs"} if lab.quick else {})})
