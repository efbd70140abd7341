"""The predictor of each task."""

from __future__ import annotations

from foveal.training.detector import Detector
from foveal.training.recogniser import Recogniser
from foveal.training.segmenter import Segmenter
from foveal.training.tagger import Tagger

PREDICTORS: dict[str, type[Recogniser] | type[Tagger] | type[Segmenter] | type[Detector]] = {
    "classify": Recogniser,
    "tag": Tagger,
    "segment": Segmenter,
    "detect": Detector,
}
