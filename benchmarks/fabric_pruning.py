"""The pruning curve of a trained fabric: its test error with fewer and fewer connections; prints Markdown.

    foveal train fabric_cifar10_fast data=DIR --out RUN
    python benchmarks/fabric_pruning.py RUN --data DIR

The weakest connections are taken out first (Saxena and Verbeek 2016, section 4) and no weight is trained on. A node
that lost an input sees another distribution, so the statistics of its batch norm are counted anew on training images;
the error with those of training stands beside it.
"""

from __future__ import annotations

import argparse
from copy import deepcopy

import torch
from torch import nn

from foveal.data.loader import Loader
from foveal.data.open import open_data
from foveal.layers.fabric import Fabric
from foveal.layers.fabric_pruning import pruning_curve
from foveal.memory import keep_freed
from foveal.protocols.center_crop import center_crop
from foveal.training.inputs import view
from foveal.training.recogniser import Recogniser
from foveal.training.run import Run

BATCH = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="folder of a run that trained a fabric")
    parser.add_argument("--data", help="where its data lie, if not where they were")
    parser.add_argument("--shares", type=float, nargs="+", default=[1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 1 / 3, 0.25])
    parser.add_argument("--recount", type=int, default=20, help="batches of 256 that batch norm is counted anew on")
    options = parser.parse_args()
    keep_freed()
    run = Run(options.run)
    whole = run.predictor("last")
    if not isinstance(whole.model, Fabric):
        raise SystemExit(f"{options.run} trained {run.recipe.model}, not a fabric")
    data = options.data or run.recipe.data
    test, train = (open_data(data, split, seed=run.recipe.seed) for split in ("test", "train"))

    def error(model: nn.Module) -> float:
        answers = Recogniser(model, run.recipe, run.classes, whole.placement, view(run.recipe))
        return float(dict(center_crop(answers, test))["top1_error"])

    def recounted(model: Fabric) -> nn.Module:
        loader = Loader(train, view(run.recipe), BATCH, seed=run.recipe.seed, train=True)
        return recount(deepcopy(model), whole, loader, options.recount)

    print("| connections | parameters | test error, batch norm counted anew | as trained |\n|---|---|---|---|")
    for found, plain in pruning_curve(whole.model, options.shares, error):
        anew = error(recounted(found.model))
        print(f"| {found.kept} of {found.total} | {found.parameters:,} | {anew:.2f} % | {plain:.2f} % |", flush=True)


def recount(model: nn.Module, like: Recogniser, loader: Loader, batches: int) -> nn.Module:
    """The model with the mean and deviation of its batch norms averaged over some training batches. In place."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    model.train()
    with torch.no_grad(), loader, like.placement.autocast():
        for _, batch in zip(range(batches), loader.batches(0), strict=False):
            model(like.placement.images(batch.images, like.recipe))
    return model.eval()


if __name__ == "__main__":
    main()
