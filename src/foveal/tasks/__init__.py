"""What is learned from images: a class for each (`classify`), any number of classes (`tag`), one for each pixel
(`segment`), boxes (`detect`).

Each file of this folder says what is minimised and what is predicted, and describes itself as a `Task`.
"""

from __future__ import annotations

import importlib

from foveal.tasks.base import Task

NAMES = ("classify", "tag", "segment", "detect")


def task(name: str) -> Task:
    """The task called `name`, one of `NAMES`."""
    found: Task = importlib.import_module(f"foveal.tasks.{name}").TASK
    return found
