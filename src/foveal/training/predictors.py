"""The predictor of each task."""

from __future__ import annotations

from foveal.training.detector import Detector
from foveal.training.recogniser import Recogniser
from foveal.training.segmenter import Segmenter

PREDICTORS: dict[str, type[Recogniser] | type[Segmenter] | type[Detector]] = {
    "classify": Recogniser,
    "segment": Segmenter,
    "detect": Detector,
}
