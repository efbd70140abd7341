"""Folders of coloured pictures, as a person would point foveal at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red & co": (210, 50, 40)}


def paint(file: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (40, 30)) -> None:
    """A noisy picture of one colour, width by height."""
    noise = np.random.default_rng(seed).integers(-60, 60, (size[1], size[0], 3))
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(file)


def photos(root: Path, classes: tuple[str, ...] = tuple(COLOURS), each: int = 8) -> Path:
    """A folder with train and test pictures of some of the colours."""
    for split in ("train", "test"):
        for name in classes:
            for i in range(each):
                colour = COLOURS.get(name, (128, 128, 128))
                paint(
                    root / split / name / f"{i}.png",
                    colour,
                    seed=len(name) * 1000 + i + (500 if split == "test" else 0),
                )
    return root
