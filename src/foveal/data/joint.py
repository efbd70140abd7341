"""Images whose targets move with them: masks, boxes and keypoints go through the same steps, with the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.data.dataset import VisionSet
from foveal.data.draws import mix, uniforms
from foveal.data.pipeline import Pipeline, convert_channels
from foveal.data.pose import Pose, joined, probed, settled
from foveal.data.proposed import NAME, as_boxes, as_points, proposed
from foveal.data.resources import cores, free_memory, local_processes
from foveal.data.transforms import BatchTransform
from foveal.errors import FovealError
from foveal.types import IGNORED, Batch

Pair = tuple[Tensor, Any]  # image uint8 [C, H, W]; a Mask [H, W], or boxes with what belongs to them
Progress = Callable[[int, int], None]
Propose = Callable[[Tensor], Tensor]  # image uint8 [C, H, W] → windows float32 [P, 4]

_LARGEST = 2 << 30  # bytes that cache="auto" takes at most
_LEAST_SIDE = 1.0  # pixels: a box narrower than that after the steps has left the image


class JointSamples:
    """A set seen through a pipeline, image and target together: the counterpart of `Samples`; `train` as there.

    Outside the image, masks of classes are `IGNORED`, those of objects have nothing; boxes are cut to it, and dropped
    where less than a pixel is left of them; keypoints that leave it are no longer given. propose: finds the windows in
    an image as it is after the deterministic steps; they are the target's `proposals`.
    """

    def __init__(self, dataset: VisionSet, pipeline: Pipeline, train: bool, propose: Propose | None = None) -> None:
        self.dataset, self.pipeline, self.train, self.propose = dataset, pipeline, train, propose
        self.pose: Pose | None = getattr(dataset, "pose", None)
        for step in pipeline.prepare_steps + pipeline.augment_steps + pipeline.test_steps:
            if isinstance(step, BatchTransform):
                step.outside = IGNORED if dataset.task == "segment" else 0

    def prepared(self, i: int) -> Pair:
        """Image i and its target after the deterministic steps; errors name the image."""
        image = convert_channels(self.dataset.load(i)[None], self.pipeline.input[0])[0]
        target = self.dataset.target(i)
        try:
            for step in self.pipeline.steps(self.train):
                image, target = self._step(step, image, target, torch.empty(1, 0), 0)
        except FovealError as error:
            raise self._named(i, error) from error
        if self.propose is not None:
            target = {**target, NAME: proposed(self.propose(image), image)}
        return image, target

    def load(self, indices: Tensor, epoch: int) -> Batch:
        """The batch of the samples `indices` [B] from the set itself."""
        return self.finish([self.prepared(i) for i in indices.tolist()], indices, epoch)

    def finish(self, pairs: Sequence[Pair], indices: Tensor, epoch: int) -> Batch:
        """The batch of prepared pairs: augmented, cut to the network's input."""
        draws = sum(step.draws for step in self.pipeline.augment_steps if isinstance(step, BatchTransform))
        numbers = uniforms(self.pipeline.seed, epoch, indices, draws)
        finished = []
        for pair, u, i in zip(pairs, numbers, indices.tolist(), strict=True):
            try:
                finished.append(self._centre(*self._augmented(pair, u, i, epoch)))
            except FovealError as error:
                raise self._named(i, error) from error
        return Batch(torch.stack([image for image, _ in finished]), _together([t for _, t in finished]), indices)

    def _augmented(self, pair: Pair, u: Tensor, i: int, epoch: int) -> Pair:
        """A prepared pair after the random steps, in training; u: all their numbers, float32 [draws]."""
        image, target = pair
        used = 0
        for place, step in enumerate(self.pipeline.augment_steps if self.train else ()):
            count = step.draws if isinstance(step, BatchTransform) else 0
            row, used = u[None, used : used + count], used + count
            image, target = self._step(step, image, target, row, mix(self.pipeline.seed, epoch, i, place))
        return image, target

    def _centre(self, image: Tensor, target: Any) -> Pair:
        cut = self.pipeline.centre(image[None])[0]
        if cut.shape[-2:] == image.shape[-2:]:
            return cut, target
        size = list(cut.shape[-2:])
        return cut, self._moved(target, lambda part: _each(part, lambda one: functional.center_crop(one, size)))[0]

    def _step(self, step: v2.Transform, image: Tensor, target: Any, u: Tensor, seed: int) -> Pair:
        """One step on an image [C, H, W] and its target: from `u`, float32 [1, draws], or, of a foreign transform,
        under `seed`."""
        if isinstance(step, BatchTransform):
            moved, _ = self._moved(target, lambda whole: _each(whole, lambda part: step.move(part, u)))
            return step.batch(image[None], u)[0], moved
        result = [image]

        def foreign(whole: Any) -> Any:
            result[0], there = step(tv_tensors.Image(image), as_points(whole, step))
            return as_boxes(there)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            moved, mirrors = self._moved(target, foreign)
        if mirrors:
            raise FovealError(f"{step} mirrors keypoints by numbers of pixels, not by places", "use flip instead")
        return result[0].as_subclass(Tensor), moved

    def _moved(self, target: Any, move: Callable[[Any], Any]) -> tuple[Any, bool]:
        """A target after `move` with the boxes that are still within the image; and whether keypoints were mirrored."""
        if self.pose is None:
            return _kept(move(target)), False
        moved, mirrors = settled(move(probed(target)), self.pose)
        return _kept(moved), mirrors

    def _named(self, i: int, error: FovealError) -> FovealError:
        return FovealError(f"{self.dataset.name(i)}: {error.what}", error.mend)


def resident_pairs(
    samples: JointSamples, cache: bool | Literal["auto"], progress: Progress | None = None
) -> tuple[list[Pair] | None, str]:
    """All prepared pairs, or None where they are not to be kept; and why, for the log. cache as for `Loader`."""
    if cache is False:
        return None, "cache=false"
    count = len(samples.dataset)
    first = samples.prepared(0)
    size = count * (first[0].numel() + _bytes(first[1]))
    free = free_memory() // local_processes()
    limit = free if cache is True else min(_LARGEST, free // 4)
    if size > limit:
        what = f"the prepared images take about {size >> 20} MiB, more than the {limit >> 20} MiB that may be used"
        if cache is True:
            raise FovealError(what, "give cache=false, or smaller images by prepare=")
        return None, what
    return list(_in_threads(samples, progress)), f"{size >> 20} MiB"


def _in_threads(samples: JointSamples, progress: Progress | None) -> Iterator[Pair]:
    count = len(samples.dataset)
    with ThreadPoolExecutor(cores() if samples.pipeline.thread_safe else 1) as pool:
        for done, pair in enumerate(pool.map(samples.prepared, range(count)), 1):
            if progress:
                progress(done, count)
            yield pair


def _each(target: Any, move: Callable[[Any], Any]) -> Any:
    """A target with every mask, box and keypoint moved."""
    if isinstance(target, tv_tensors.TVTensor):
        return move(target)
    return {k: move(v) if isinstance(v, tv_tensors.TVTensor) else v for k, v in target.items()}


def _kept(target: Any) -> Any:
    """Boxes that have left the image are dropped, with all that belongs to them, and so are windows."""
    if not isinstance(target, dict):
        return target
    if NAME in target:
        windows, inside = _within(target[NAME])
        rest = {key: value for key, value in target.items() if key != NAME}
        return {**_kept(rest), NAME: tv_tensors.wrap(windows[inside], like=windows)}
    boxes, inside = _within(target["boxes"])
    if bool(inside.all()):
        return {**target, "boxes": boxes}
    return {
        key: tv_tensors.wrap(value[inside], like=value) if isinstance(value, tv_tensors.TVTensor) else value[inside]
        for key, value in {**target, "boxes": boxes}.items()
    }


def _within(boxes: Any) -> tuple[Any, Tensor]:
    """Boxes cut to the image, and of which something is left: bool [K]."""
    cut = functional.clamp_bounding_boxes(boxes)
    plain = cut.as_subclass(Tensor)
    return cut, ((plain[:, 2:] - plain[:, :2]) >= _LEAST_SIDE).all(1)


def _together(targets: Sequence[Any]) -> Any:
    """Masks as one tensor uint8 [B, H, W]; objects as a list of plain dictionaries."""
    if isinstance(targets[0], tv_tensors.Mask):
        return torch.stack([target.as_subclass(Tensor) for target in targets])
    return [joined(target) for target in targets]


def _bytes(target: Any) -> int:
    parts = target.values() if isinstance(target, dict) else (target,)
    return sum(part.numel() * part.element_size() for part in parts)
