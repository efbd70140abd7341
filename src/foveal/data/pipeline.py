"""From a decoded image to what the network sees, as bytes: prepare (always), augment (in training), the centre.

Everything is uint8 until `normalise`, which runs on the device. A batch and its images one by one give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from foveal.data.draws import mix, uniforms
from foveal.data.transforms import BatchTransform, CenterCrop, Resize, ResizeExact, ScaleJitter, parse_transforms
from foveal.errors import FovealError

_PREPARE_SEED = mix(0)  # foreign transforms in `prepare` run under this one seed: same image, same result
LARGEST_CENTRE = 3  # a centre smaller than a third of the image's side is taken for a forgotten resize

Images = Tensor | list[Tensor]  # uint8 [B, C, H, W], or images [C, H, W] of several sizes


class Pipeline:
    """The steps before a network with `input` (channels, height, width).

    `prepare` comes first, in training and test; then `augment`, random, in training, or `test`, deterministic, in test.
    Each is transforms in text form, e.g. `("resize(256)",)` and `("random_crop(224)", "flip")`, or v2 transforms.
    Channels are converted to `input`'s before them. What they leave is cut to its centre of `input`'s height and width;
    a smaller image, or one more than 3 times as large, is an error that names the sizes.
    """

    def __init__(
        self,
        prepare: Sequence[str | v2.Transform],
        augment: Sequence[str | v2.Transform],
        input: tuple[int, int, int],
        seed: int = 0,
        test: Sequence[str | v2.Transform] = (),
    ) -> None:
        self.input = input
        self.seed = seed
        self.prepare_steps = parse_transforms(prepare)
        self.augment_steps = parse_transforms(augment)
        self.test_steps = parse_transforms(test)
        if input[0] not in (1, 3):
            raise FovealError(f"input has {input[0]} channels", "images have 1 (grey) or 3 (colour)")
        for place, steps in (("prepare", self.prepare_steps), ("test", self.test_steps)):
            for step in steps:
                if isinstance(step, BatchTransform) and step.draws:
                    raise FovealError(f"{step} is random and stands in {place}", "move it to augment")

    def min_side(self, train: bool) -> int | None:
        """Shorter side in pixels that decoding may reduce a large image to before the first step, or None: all."""
        steps = self.prepare_steps + (self.augment_steps if train else self.test_steps)
        return getattr(steps[0], "min_side", None) if steps else None

    def steps(self, train: bool) -> list[v2.Transform]:
        """The deterministic steps of training or of test."""
        return self.prepare_steps if train else self.prepare_steps + self.test_steps

    @property
    def sides(self) -> tuple[int, int]:
        """Smallest and largest shorter side that images are brought to for training: scale_jitter's range, else the
        side of the last resize, else that of `input`."""
        for step in reversed(self.augment_steps):
            if isinstance(step, ScaleJitter):
                return step.low, step.high
        side = _side(self.steps(train=False)) or min(self.input[1:])
        return side, side

    def at_side(self, side: int) -> Pipeline:
        """The same with images brought to a shorter side of `side` pixels at test time.

        The last resize takes that side, and what other resizes and centre crops say changes in proportion; without any
        resize, one comes last.
        """
        steps = self.steps(train=False)
        own = _side(steps)
        scaled = [*steps, Resize(side)] if own is None else [_scaled(step, side, own) for step in steps]
        return Pipeline(scaled, self.augment_steps, self.input, self.seed)

    @property
    def thread_safe(self) -> bool:
        """Whether images may be prepared in several threads: foreign transforms use the process's one torch RNG."""
        return all(isinstance(step, BatchTransform) for step in self.prepare_steps + self.test_steps)

    def prepare(self, image: Tensor, train: bool = False) -> Tensor:
        """The deterministic steps on one image: uint8 [C0, H0, W0] → uint8 [C, H, W]; those of test unless `train`."""
        return self.prepare_batch(image[None], train)[0]

    def prepare_batch(self, images: Tensor, train: bool = False) -> Tensor:
        """The deterministic steps on images of one size: uint8 [B, C0, H0, W0] → uint8 [B, C, H, W]."""
        if images.dtype != torch.uint8:
            raise FovealError(f"images are {str(images.dtype).removeprefix('torch.')}", "give uint8, 0 to 255")
        images = convert_channels(images, self.input[0])
        for step in self.steps(train):
            if isinstance(step, BatchTransform):
                images = step.batch(images, torch.empty(len(images), 0))
            else:
                images = torch.stack([_seeded(step, image, _PREPARE_SEED) for image in images])
        return images

    def augment(self, images: Tensor | Sequence[Tensor], indices: Tensor, epoch: int) -> Tensor:
        """The random steps, then the centre: prepared images of samples `indices` [B] → uint8 [B, *input].

        The result is a function of the image and of (seed, epoch, index) alone.
        """
        current = _stacked(images)
        for stage in self.stages(current, indices, epoch):
            current = stage
        return self.centre(current)

    def stages(self, images: Images, indices: Tensor, epoch: int) -> Iterator[Images]:
        """What `augment` makes of the images after each of the random steps, before the centre."""
        current = images
        draws = [step.draws if isinstance(step, BatchTransform) else 0 for step in self.augment_steps]
        numbers = torch.split(uniforms(self.seed, epoch, indices, sum(draws)), draws, dim=1) if draws else ()
        for place, (step, u) in enumerate(zip(self.augment_steps, numbers, strict=True)):
            if isinstance(step, BatchTransform):
                current = _apply(step, current, u)
            else:
                seeds = [mix(self.seed, epoch, int(index), place) for index in indices]
                pairs = zip(current, seeds, strict=True)
                current = _stacked([_seeded(step, image, seed) for image, seed in pairs])
            yield current

    def centre(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """The central `input` of prepared images, the view at test time: uint8 [B, *input]."""
        if isinstance(images, Tensor):
            return self._cut(images)
        return torch.cat([self._cut(image[None]) for image in images])

    def _cut(self, images: Tensor) -> Tensor:
        channels, height, width = self.input
        _, c, h, w = images.shape
        if images.dtype != torch.uint8 or c != channels:
            kind = str(images.dtype).removeprefix("torch.")
            raise FovealError(
                f"the transforms leave {kind} images of {c} channels, the network takes uint8 of {channels}",
                "leave conversion to float and normalisation to mean= and std=",
            )
        if h < height or w < width:
            raise FovealError(
                f"the transforms leave an image of {h}x{w}, smaller than the network's {height}x{width}",
                f"add resize({max(height, width)}), resize_exact({height}, {width}) or pad(…) to prepare",
            )
        if h > LARGEST_CENTRE * height and w > LARGEST_CENTRE * width:
            raise FovealError(
                f"the transforms leave an image of {h}x{w}, of which the network would see only {height}x{width}",
                f"add resize({max(height, width)}) or resize_exact({height}, {width}) to prepare",
            )
        top, left = (h - height) // 2, (w - width) // 2
        return images[:, :, top : top + height, left : left + width].contiguous()

    def describe(self) -> str:
        """One line for the log: prepare, augment, input."""
        channels, height, width = self.input
        steps = {"prepare": self.prepare_steps, "augment": self.augment_steps, "test": self.test_steps}
        named = [f"{name} {' → '.join(map(str, part))}" for name, part in steps.items() if part]
        return ", ".join([*named, f"input {channels}x{height}x{width}"])


def convert_channels(images: Tensor, channels: int) -> Tensor:
    """Grey to colour by repetition, colour to grey by ITU-R 601 luma: uint8 [B, C0, H, W] → [B, channels, H, W]."""
    found = images.shape[-3]
    if found == channels:
        return images
    if found == 1 and channels == 3:
        return images.expand(-1, 3, -1, -1).contiguous()
    if found == 3 and channels == 1:
        grey: Tensor = functional.rgb_to_grayscale(images)
        return grey
    raise FovealError(f"an image has {found} channels, the network takes {channels}", "images have 1 or 3 channels")


def normalise(
    images: Tensor,
    mean: Sequence[float] | Tensor,
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """(image/255 - mean)/std on the images' own device: uint8 [B, C, H, W] → dtype [B, C, H, W].

    `mean` and `std` have one value a channel or one for all; or `mean` is an image, float32 [C, H, W] in 0 … 1, and
    FovealError is raised for images of another size. Computed in float32, whatever the dtype of the result.
    """
    if isinstance(mean, Tensor) and mean.shape != images.shape[1:]:
        sizes = ["x".join(map(str, shape)) for shape in (mean.shape, images.shape[1:])]
        raise FovealError(
            f"a mean image of {sizes[0]} cannot be subtracted from images of {sizes[1]}",
            "show the network its own input size; for other sizes it must be trained with mean_image=false",
        )
    spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
    centre = torch.as_tensor(mean, dtype=torch.float64)
    centre = centre[None] if centre.ndim == 3 else centre.view(1, -1, 1, 1)
    scale = (1 / (255 * spread)).float().to(images.device)
    shift = (-centre / spread).float().to(images.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    result = images.to(torch.float32, memory_format=layout).mul_(scale).add_(shift)
    return result.to(dtype)


def _side(steps: Sequence[v2.Transform]) -> int | None:
    """The shorter side that the last resize leaves, or None without a resize."""
    sides = [min(_size(step)) for step in steps if isinstance(step, Resize | ResizeExact)]
    return sides[-1] if sides else None


def _size(step: Resize | ResizeExact) -> tuple[int, int]:
    return (step.side, step.side) if isinstance(step, Resize) else (step.height, step.width)


def _scaled(step: v2.Transform, side: int, own: int) -> v2.Transform:
    """The step for images that are side/own times as large; those that do not set a size stay."""
    if isinstance(step, Resize):
        return Resize(_part(step.side, side, own))
    if isinstance(step, ResizeExact):
        return ResizeExact(_part(step.height, side, own), _part(step.width, side, own))
    if isinstance(step, CenterCrop):
        return CenterCrop((_part(step.size[0], side, own), _part(step.size[1], side, own)))
    return step


def _part(size: int, side: int, own: int) -> int:
    return max(1, round(size * side / own))


def _apply(step: BatchTransform, images: Images, u: Tensor) -> Images:
    if isinstance(images, Tensor) and not step.ragged:
        return step.batch(images, u)
    return _stacked([step.batch(image[None], u[n : n + 1])[0] for n, image in enumerate(images)])


def _stacked(images: Tensor | Sequence[Tensor]) -> Images:
    """One tensor when all images have one size."""
    if isinstance(images, Tensor):
        return images
    if len(images) and all(image.shape == images[0].shape for image in images):
        return torch.stack(list(images))
    return list(images)


def _seeded(step: v2.Transform, image: Tensor, seed: int) -> Tensor:
    """A foreign transform on one image [C, H, W] under its own seed; torch's RNG is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        result = step(image)
    if not isinstance(result, Tensor):
        raise FovealError(f"{step} turns an image into {type(result).__name__}", "use transforms of tensors")
    return result
