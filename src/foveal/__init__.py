"""Visual recognition with convolutional networks: the canon, faithful to the papers, on your images.

The public verbs are here and load what they need when they are first used, so that `import foveal` is instant.

On Linux, torch is asked to keep large tensors on huge pages of memory, which it decides with its first tensor: new ones
are there several times as fast. THP_MEM_ALLOC_ENABLE=0 in the environment prevents it.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if sys.platform == "linux":
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_VERBS = {
    "create": "foveal.models",
    "build": "foveal.notation",
    "show": "foveal.graph.table",
    "dense": "foveal.graph.dense",
    "open_data": "foveal.data.open",
    "diagnose": "foveal.data.doctor",
    "convert": "foveal.data.convert",
    "train": "foveal.experiment",
    "study": "foveal.studies",
    "resume": "foveal.training.train",
    "evaluate": "foveal.evaluation",
    "ensemble": "foveal.evaluation.ensemble",
    "verify": "foveal.evaluation.pairs",
    "predict": "foveal.prediction",
    "explain": "foveal.explanations",
    "export": "foveal.exporting",
    "optimize": "foveal.inference",
    "load": "foveal.training.run",
    "load_weights": "foveal.weights",
    "save_weights": "foveal.weights",
    "check": "foveal.contracts",
    "FovealError": "foveal.errors",
    "Recipe": "foveal.training.recipe",
    "Run": "foveal.training.run",
}
_PACKAGES = ("graph",)  # reached as foveal.graph without an import of their own

if TYPE_CHECKING:
    from foveal import graph as graph
    from foveal.contracts import check as check
    from foveal.data.convert import convert as convert
    from foveal.data.doctor import diagnose as diagnose
    from foveal.data.open import open_data as open_data
    from foveal.errors import FovealError as FovealError
    from foveal.evaluation import evaluate as evaluate
    from foveal.evaluation.ensemble import ensemble as ensemble
    from foveal.evaluation.pairs import verify as verify
    from foveal.experiment import train as train
    from foveal.explanations import explain as explain
    from foveal.exporting import export as export
    from foveal.graph.dense import dense as dense
    from foveal.graph.table import show as show
    from foveal.inference import optimize as optimize
    from foveal.models import create as create
    from foveal.notation import build as build
    from foveal.prediction import predict as predict
    from foveal.studies import study as study
    from foveal.training.recipe import Recipe as Recipe
    from foveal.training.run import Run as Run
    from foveal.training.run import load as load
    from foveal.training.train import resume as resume
    from foveal.weights import load_weights as load_weights
    from foveal.weights import save_weights as save_weights


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"foveal.{name}")
    if name not in _VERBS:
        raise AttributeError(f"module 'foveal' has no attribute '{name}'")
    value = getattr(importlib.import_module(_VERBS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*_VERBS, *_PACKAGES, "__version__"]
