"""Trains in child processes that are killed at random moments, until one comes through. Run as a script.

Children are forked from a process that has imported everything but computed nothing, so that each starts quickly.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import sklearn.datasets  # noqa: F401 - imported here, once
import small_networks
import torch

from foveal.training.console import Console
from foveal.training.train import train


class Beats(Console):
    """Tells the parent of every update, one byte each."""

    wants_update = True  # type: ignore[assignment]

    def __init__(self, pipe: int) -> None:
        super().__init__(silent=True)
        self.pipe = pipe

    def update(self, step: int, loss: float, speed: float, best: str) -> None:
        """One byte through the pipe."""
        os.write(self.pipe, b".")


def main(out: Path, kills: int, seed: int, workers: int, cache: bool) -> None:
    """Train into `out`, with `kills` kills a random time after a random number of updates (or of none)."""
    recipe = small_networks.recipe(workers=workers, cache=cache)
    chance = random.Random(seed)
    done = 0
    while True:
        sys.stdout.flush()  # or the child prints it again
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            train(recipe, out=out, console=Beats(theirs))
            os._exit(0)
        os.close(theirs)
        if done < kills:
            for _ in range(chance.randrange(10)):
                os.read(ours, 1)
            if done == kills - 1:  # at least the last one finds a checkpoint, however slow the machine is
                while not (out / "last").exists() and os.read(ours, 1):
                    pass
            time.sleep(chance.uniform(0.0, 0.05))
            os.kill(child, signal.SIGKILL)
        else:
            while os.read(ours, 1000):
                pass
        os.close(ours)
        _, status = os.waitpid(child, 0)
        if not status:
            return
        if not os.WIFSIGNALED(status):
            sys.exit(f"the child failed with status {status}")
        done += 1
        file = out / "last" / "position.json"
        print(json.loads(file.read_text())["step"] if file.exists() else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "cache")
