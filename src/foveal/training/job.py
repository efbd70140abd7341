"""One run under way: the parts that a recipe names, put together, and what happens between updates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from foveal import catalog, memory, models
from foveal.data.dataset import ImageSet, LabelledSet
from foveal.data.draws import mix
from foveal.data.loader import Loader
from foveal.data.searched import search_ahead
from foveal.errors import FovealError
from foveal.layers.synchronised import synchronise
from foveal.proposals.search import Remembered
from foveal.tasks import classify, task
from foveal.training import checkpoint, device, mean_image, transfer, whitening
from foveal.training.completion import complete
from foveal.training.console import Console, evaluation_line
from foveal.training.detector import Detector, searching
from foveal.training.distributed import Group
from foveal.training.ema import Average
from foveal.training.inputs import Inputs, PreparedSet, Reduced, resident, view
from foveal.training.loop import Losses, fit, seed_generators
from foveal.training.objective import objective
from foveal.training.optim import make_optimizer
from foveal.training.position import Position
from foveal.training.predictors import PREDICTORS
from foveal.training.recipe import Recipe
from foveal.training.records import Table, append, cut_lines, flush
from foveal.training.run import restore
from foveal.training.schedules import Schedule
from foveal.training.tracking import Tracker
from foveal.types import Batch, Step

_INITIALISATION = 4  # the stream of random numbers that fresh weights are drawn from


class Job:
    """Everything of a run in memory: network, optimiser, loader, schedule, records. `steps` trains."""

    def __init__(self, recipe: Recipe, folder: Path, inputs: Inputs, group: Group, console: Console) -> None:
        self.recipe, self.folder, self.inputs, self.group, self.console = recipe, folder, inputs, group, console
        self.model = build(recipe, inputs.classes)
        self.task = task(recipe.task)
        if recipe.label_smoothing:
            classify.check_smoothing(self.model, recipe.label_smoothing)
        facts = device.probe(self.model, recipe.input)
        self.task.check(self.model, facts.output, len(inputs.classes), recipe.input)
        inputs = self.inputs = inputs.asked_by(self.model)
        self.plan = transfer.plan(recipe, self.model, len(inputs.train), len(inputs.classes))
        self.losses = objective(recipe, inputs)
        self.placement = device.choose(recipe, facts, group.local_rank)
        if recipe.mean_image:
            image = self._mean_image() if group.first else torch.empty(recipe.input)
            self.placement = replace(self.placement, mean_image=group.share(image))
        if recipe.whiten:
            found = whitening.shared(folder, inputs.train, recipe, group)
            self.placement = replace(self.placement, whitening=found.to(self.placement.device))
        self.facts = facts
        self.propose = searching(self.model, folder)
        if isinstance(self.propose, Remembered):
            with console.counting("proposals") as progress:
                search_ahead(
                    inputs.train,
                    view(recipe),
                    self.propose,
                    train=True,
                    workers=recipe.workers,
                    progress=progress,
                    rank=group.rank,
                    world=group.world,
                )
            group.tell(None)  # all windows are there
        self.loader = Loader(
            inputs.train,
            view(recipe),
            recipe.batch_size,
            seed=recipe.seed,
            train=True,
            workers=recipe.workers,
            cache=recipe.cache,
            rank=group.rank,
            world=group.world,
            propose=self.propose,
        )
        self.unit = self.loader.per_epoch if recipe.unit == "epochs" else 1
        self.total = recipe.length * self.unit
        self.schedule = Schedule(recipe, self.unit, self.total)
        self.position = Position()
        self.metrics, self.step_table = Table(folder / "metrics.csv"), Table(folder / "steps.csv")
        self.times, self.log_file = Table(folder / "times.csv"), folder / "log.txt"
        self.waiting: list[Step] = []  # updates whose losses are not yet in the sum
        self.settled: float | None = None  # the last loss in the sum
        self.seconds, self.images = 0.0, 0  # of training alone, since this process began
        self.began = time.monotonic()
        self.watched = None
        if group.first and inputs.watched is not None:
            watched = inputs.watched
            self.watched = resident(watched, recipe) if isinstance(watched, ImageSet) else watched

    def _mean_image(self) -> Tensor:
        """That of the run when it goes on, else of the training images."""
        if (self.folder / "recipe.json").exists():
            return mean_image.load(self.folder)
        return mean_image.compute(self.inputs.train, self.recipe)

    def load_initial_weights(self) -> str:
        """The recipe's `weights`, into the fresh network: the table of what matched, for the log."""
        r, classes = self.recipe, len(self.inputs.classes)
        if not r.weights:
            if r.partial:
                raise FovealError("partial is about weights, and none are named", "add weights=FILE, or leave it away")
            return ""
        from foveal.weights import check_preparation, imagenet, load_weights  # here, since few runs need it

        file: Any = r.weights  # a path, or what the download gave
        if r.weights == "imagenet":
            name = getattr(self.model, "classifier_name", "") or r.model  # what the trunk of a detector was
            check_preparation(name, r.mean, r.std, r.mean_image)
            file = imagenet(name)
        if not r.weights_to:
            return str(load_weights(self.model, file, partial=r.partial, classes=classes))
        taking = set(transfer.up_to(transfer.layers(self.model)[0], r.weights_to))
        fresh = {name: value.clone() for name, value in self.model.state_dict().items()}
        said = str(load_weights(self.model, file, partial=r.partial, classes=classes))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if name.rpartition(".")[0] not in taking:
                    value.copy_(fresh[name])
        return f"{said}\nof these up to {r.weights_to} only: what comes after begins anew"

    def place(self) -> None:
        """Bring the network to the device and make what depends on it: optimiser, moving average, processes."""
        if self.group.world > 1:
            self.model = synchronise(self.model)
        if self.placement.device.type == "cpu":
            memory.keep_freed()
        self.model = self.placement.place(self.model)
        self.frozen = [self.model.get_submodule(path) for path in self.plan.frozen]
        for module in self.frozen:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        self.optimizer = make_optimizer(self.model, self.recipe, self.plan.factors)
        self.average = Average(self.model, self.recipe.ema) if self.recipe.ema else None
        self.scaler = torch.amp.GradScaler("cuda") if self.placement.dtype == torch.float16 else None

    def found(self) -> checkpoint.Checkpoint | None:
        """The last checkpoint, or None at the very beginning. A damaged one is set aside, saying so."""
        if self.group.first and checkpoint.exists(self.folder, "last"):
            found = checkpoint.load(self.folder, "last")
            if found.note:
                self.console.line(f"warning: {found.note}")
                checkpoint.set_damaged_aside(self.folder)
        self.group.tell(None)  # nobody reads before a damaged one is out of the way
        return checkpoint.load(self.folder, "last") if checkpoint.exists(self.folder, "last") else None

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint."""
        restore(self.model, found.weights, self.folder / "last")
        if self.average and found.average is not None:
            restore(self.average.model, found.average, self.folder / "last")
        self.optimizer.load_state_dict(found.optimizer["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(found.optimizer["scaler"])
        self.position = Position.from_json(found.position)
        self.schedule.drops = self.position.drops
        self.cut_records(self.position.step)
        self.note("resumed")

    def cut_records(self, step: int) -> None:
        """Drop what was recorded beyond update `step`; -1 drops all."""
        if not self.group.first:
            return
        if step < 0:
            for file in (self.metrics.file, self.step_table.file, self.log_file):
                file.unlink(missing_ok=True)
            self.metrics, self.step_table = Table(self.metrics.file), Table(self.step_table.file)
            return
        for table in (self.metrics, self.step_table):
            table.cut(step)
        if self.log_file.exists():
            cut_lines(self.log_file, step, separator="|", header=False)

    def steps(self) -> Iterator[Step]:
        """Train from where the run stands: an iterator of updates, with this job's bookkeeping done before each."""
        model: nn.Module = self.model
        losses = self.losses
        if self.group.world > 1:
            watched = _Objective(self.model, self.losses)
            ids = [self.placement.device.index] if self.placement.device.type == "cuda" else None
            model = DistributedDataParallel(watched, device_ids=ids, broadcast_buffers=False)
            losses = _ask
        waits = self.placement.device.type != "cpu" or self.group.world > 1
        updates = fit(
            model,
            self._batches(),
            self.optimizer,
            losses=losses,
            prepare_batch=lambda images: self.placement.images(images, self.recipe),
            schedule=self.schedule,
            precision=self.placement,
            accumulate=self.recipe.accumulate,
            clip=self.recipe.clip,
            ema=self.average,
            frozen=self.frozen,
            scaler=self.scaler,
            seed=self.recipe.seed,
            start=self.position.step,
            read_every=self.recipe.log_every if waits else 1,
            reduce=self.group.mean,
        )
        self.tracker = Tracker(self.folder, self.position.step) if self.group.first else None
        begun = time.monotonic()
        for update in updates:
            self.seconds += time.monotonic() - begun
            self.images += self.loader.batch_size
            self._take(update)
            yield update
            begun = time.monotonic()

    def _batches(self) -> Iterator[Batch]:
        step = self.position.step
        while step < self.total:
            epoch, start = divmod(step, self.loader.per_epoch)
            for batch in self.loader.batches(epoch, start):
                yield batch
                step += 1
                if step == self.total:
                    return

    def _take(self, update: Step) -> None:
        """Note an update: its losses, a row of steps.csv when due, the bar."""
        self.position.step = update.step
        self.waiting.append(update)
        if update.step % self.recipe.log_every == 0 or update.step == self.total:
            self._settle()
            if self.group.first:
                terms = dict(update.losses) if len(update.losses) > 1 else {}
                self.step_table.add(
                    {"step": update.step, "epoch": self.epoch, "lr": update.lr, "loss": update.loss, **terms}
                )
        if self.console.wants_update:
            # reading a loss asks all processes, and only this one has a bar
            loss = update.loss if self.group.world == 1 else self.settled
            self.console.update(update.step, loss, self.speed, self._best_text())

    def _settle(self) -> None:
        for update in self.waiting:
            self.settled = update.loss
            self.position.loss_sum += self.settled
        self.position.loss_count += len(self.waiting)
        self.waiting.clear()

    @property
    def epoch(self) -> float:
        """Passes over the training images, to four digits."""
        return round(self.position.step / self.loader.per_epoch, 4)

    @property
    def speed(self) -> float:
        """Training images per second, evaluation and saving left out."""
        return self.images / self.seconds if self.seconds else 0.0

    def evaluation_due(self) -> bool:
        """Whether this update ends an interval of `evaluate_every`, or the run."""
        step = self.position.step
        return step % (self.recipe.evaluate_every * self.unit) == 0 or step == self.total

    def evaluate(self, lr: float) -> None:
        """Measure the watched split, write the row, keep the best, lower the rate at a plateau."""
        self._settle()
        self._complete()
        position, name = self.position, self.inputs.watched_name
        train_loss = position.loss_sum / max(position.loss_count, 1)
        position.loss_sum, position.loss_count = 0.0, 0
        figures = self.group.tell(self._measure() if self.group.first and name else {})
        improved = False
        if name == "val":
            improved = position.best.add(position.step, *self.task.rank(figures))
        progress = position.plateau.add(position.step, self.task.rank(figures)[0] if name == "val" else train_loss)
        if not progress and position.plateau.since >= self.recipe.plateau and self.recipe.schedule == "plateau":
            position.drops += 1
            position.plateau.since = 0
            self.schedule.drops = position.drops
        if name == "val" and self.recipe.patience and position.best.since >= self.recipe.patience:
            position.finished = "patience"
        if self.group.first:
            self._record(lr, train_loss, figures, name)
            if improved:
                self.save("best")

    def _record(self, lr: float, train_loss: float, figures: dict[str, float], name: str) -> None:
        row: dict[str, float | int | None] = {
            "step": self.position.step,
            "epoch": self.epoch,
            "lr": lr,
            "train_loss": train_loss,
            **{f"{name}_{figure}": value for figure, value in figures.items()},
            "best": self.task.best(self.position.best.best[0]) if self.position.best.best else None,
        }
        self.metrics.add(row)
        self.log(evaluation_line(row, self.total))
        self.note("evaluated")
        if self.tracker:
            self.tracker.add(row)

    def _complete(self) -> None:
        """Have the network fit what is not learned by updates, where it has such parts, before it is measured."""
        if self.group.first:
            model = self.average.model if self.average else self.model
            said = complete(model, self.inputs.train, self.recipe, self.placement, self.propose)
            if said:
                self.log(said)

    def _measure(self) -> dict[str, float]:
        model = self.average.model if self.average else self.model
        kind = PREDICTORS[self.task.name]
        predictor = kind(model, self.recipe, self.inputs.classes, self.placement, view(self.recipe))
        if isinstance(self.watched, PreparedSet):
            predictor.prepare = _as_it_is
        assert self.watched is not None  # the caller looked
        if isinstance(predictor, Detector):
            predictor.remember(self.folder, self.watched)
        protocol = catalog.get("protocol", self.task.protocol)
        least = predictor.pipeline.min_side(train=False) if isinstance(self.watched, LabelledSet) else None
        results = protocol(predictor, Reduced(self.watched, least))
        return {name: float(value) for name, value in results if isinstance(value, float)}

    def save(self, name: str = "last") -> None:
        """Write a checkpoint, after bringing the records that stand before it to the disk."""
        self._settle()
        if not self.group.first:
            return
        flush([self.metrics.file, self.step_table.file, self.log_file])
        checkpoint.save(
            self.folder,
            name,
            weights=self.model.state_dict(),
            average=self.average.model.state_dict() if self.average else None,
            optimizer={
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict() if self.scaler else {},
            },
            position=self.position.to_json(self.total),
        )

    def log(self, text: str) -> None:
        """A line for the console and, with the update's number before it, for log.txt."""
        if self.group.first:
            self.console.line(text)
            lines = "".join(f"{self.position.step}|{line}\n" for line in text.splitlines())
            append(self.log_file, lines)

    def note(self, event: str) -> None:
        """A row of times.csv: what happened at which update, how long after the start, how fast it trains."""
        if self.group.first:
            seconds = round(time.monotonic() - self.began, 3)
            row: dict[str, Any] = {"step": self.position.step, "event": event, "seconds": seconds}
            self.times.add({**row, "images_per_second": round(self.speed, 1)})

    def _best_text(self) -> str:
        best = self.position.best.best
        return f"{self.task.best(best[0]):.2f} % at update {self.position.best.step}" if best else ""

    def close(self) -> None:
        """End the loader's processes."""
        self.loader.close()


class _Objective(nn.Module):
    """The loss terms as a module's output, which is what DistributedDataParallel watches over."""

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, images: Tensor, targets: Any) -> dict[str, Tensor]:
        return self.losses(self.model, images, targets)


def _ask(objective: nn.Module, images: Tensor, targets: Any) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = objective(images, targets)
    return terms


def _as_it_is(image: Tensor) -> Tensor:
    return image


def build(recipe: Recipe, classes: tuple[str, ...]) -> nn.Module:
    """The recipe's network with a head for `classes`, initialised from (seed) alone."""
    seed_generators(torch.device("cpu"), mix(recipe.seed, _INITIALISATION))
    return models.create(recipe.model, num_classes=len(classes), **recipe.options)
