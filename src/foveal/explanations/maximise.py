"""The image that a class, or a unit of any layer, likes best: found from noise by gradient ascent.

K. Simonyan, A. Vedaldi, A. Zisserman, «Deep inside convolutional networks», ICLR workshop 2014, section 2 (class
maximisation); A. Mordvintsev, C. Olah, M. Tyka, «Inceptionism: going deeper into neural networks», Google research
blog, 2015 (noise as a start, natural-image priors, octaves, the film that zooms); jitter and total variation as in A.
Mahendran and A. Vedaldi, «Visualizing deep convolutional neural networks using natural pre-images», IJCV 2016; blur as
in J. Yosinski et al., «Understanding neural networks through deep visualization», ICML workshop 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.explanations._common import Explanation, Progress, layer_of, named, outputs, scores, single
from foveal.explanations._draw import Spread, channelwise, enlarged

_SIDE = 256  # pixels of the picture, where the image is smaller
_EDGE = 1e-3  # pixels are kept so far from 0 and 1, where their logits would be infinite


@dataclass(frozen=True)
class _Course:
    """Numbers of the ascent."""

    rate: float
    jitter: int
    blur: float
    variation: float


def maximise(
    model: nn.Module,
    image: Tensor | None = None,
    target: int | None = None,
    *,
    input: Sequence[int] | None = None,
    layer: str | None = None,
    unit: int | None = None,
    steps: int = 256,
    rate: float = 0.05,
    octaves: int = 3,
    octave_scale: float = 1.4,
    jitter: int | None = None,
    blur: float = 0.5,
    variation: float = 1.0,
    frames: int = 0,
    zoom: float = 1.04,
    frame_steps: int = 12,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    mean: Spread = None,
    std: Spread = None,
    progress: Progress | None = None,
) -> Explanation:
    """An image that maximises a class's score and odds, the mean of a unit's map, or all that a layer does.

    For a class that is the score (Simonyan et al.) plus the logarithm of its odds, so that no other class gains as
    much. Pixels are logits of brightness, so that the image stays within 0 … 1, and climb by Adam. They start on a
    coarse grid that becomes finer by `octave_scale` from octave to octave; the network always sees the image in full
    size, shifted by up to `jitter` pixels. Arrays: image [C, H, W] in 0 … 1 in steps of 1/255; for a class probability,
    of that image; with `frames`, film [T, C, H, W].

    Args:
        model: any network; it need not be traceable. The work is done on a copy.
        image: one image to start from [C, H, W], as the network takes it; by default noise of the size `input`.
        target: the class, unless a layer is given.
        input: (C, H, W) where no image is given.
        layer, unit: maximise this map of this layer; without a unit the mean square of the whole layer, which enhances
            whatever it sees in the image («deep dream»).
        steps: updates in all octaves together.
        rate: Adam's step, in logits of brightness.
        octaves, octave_scale: how many grids, and how much finer each is than the one before.
        jitter: largest random shift in pixels; by default a sixteenth of the image.
        blur: deviation in pixels of the Gaussian that the pixels go through every fourth step, fading over an octave.
        variation: weight of the total variation (mean of squared differences of neighbours, brightness in 0 … 1), as a
            share of the objective's own size.
        frames: pictures of a film, in each of which the image is enlarged by `zoom` about its centre and climbs on for
            `frame_steps`.
        seed: of noise and jitter.
        classes: names for the text.
        mean, std: how images are normalised; by default 0.5 and 0.25.
        progress: told (updates done, all).

    Raises:
        FovealError: neither a class nor a layer, no size, and as `saliency`.
    """
    if target is None and layer is None:
        raise FovealError("nothing says what to maximise", "give target=CLASS, or a layer and a unit")
    if steps < 1 or octaves < 1 or octave_scale < 1 or frames < 0 or zoom <= 1:
        raise FovealError(
            "steps and octaves are at least 1, octave_scale too, zoom is above 1", "see `maximise`'s help"
        )
    copied = deepcopy(model).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    centre, spread = channelwise((0.5,) if mean is None else mean), channelwise((0.25,) if std is None else std)
    start = _start(image, input, (centre, spread), generator)
    size = start.shape[2], start.shape[3]
    course = _Course(rate, max(1, min(size) // 16) if jitter is None else jitter, blur, variation)
    if not 0 <= course.jitter < min(size):
        raise FovealError(f"jitter={jitter} does not fit an image of {size[0]}x{size[1]}", "give fewer pixels, or 0")
    aim = _aim(copied, target, layer, unit, (start - centre) / spread)

    def seen(pixels: Tensor) -> Tensor:
        return aim((pixels - centre) / spread)

    total, done = steps + frames * frame_steps, 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    logits = start.logit(_EDGE)
    for octave in range(octaves):
        grid = [max(4, round(n / octave_scale ** (octaves - 1 - octave))) for n in size]
        logits = _resized(logits, (grid[0], grid[1]))
        share = steps // octaves + (octave < steps % octaves)
        logits = _climbed(logits, seen, size, share, course=course, generator=generator, told=told)
    best = _rounded(logits)
    film = []
    for _ in range(frames):
        logits = _climbed(_zoomed(logits, zoom), seen, size, frame_steps, course=course, generator=generator, told=told)
        film.append(_rounded(logits))
    return _result(copied, best, film, ((best - centre) / spread, target), layer=layer, unit=unit, classes=classes)


def _start(
    image: Tensor | None, input: Sequence[int] | None, numbers: tuple[Tensor, Tensor], g: torch.Generator
) -> Tensor:
    """Brightness [1, C, H, W] in 0 … 1 to start from."""
    if image is not None:
        return (single(image, "maximise") * numbers[1] + numbers[0]).clamp(0, 1)
    if input is None or len(input) != 3:
        raise FovealError("maximise starts from noise, whose size is not known", "give input=(C, H, W), or an image")
    return (0.5 + 0.05 * torch.randn(1, *input, generator=g)).clamp(0, 1)


def _aim(
    model: nn.Module, target: int | None, layer: str | None, unit: int | None, example: Tensor
) -> Callable[[Tensor], Tensor]:
    """The function to maximise, of normalised images. It is tried out on the first one."""
    if layer is None:
        assert target is not None
        classes = scores(model, example).shape[1]
        if not 0 <= target < classes:
            raise FovealError(f"target={target}: the network has {classes} classes", "count from 0")
        return lambda x: _liked(model(x).float(), target)
    name = layer_of(model, layer)
    channels = outputs(model, [name], example)[1][name].shape[1]
    if unit is not None and not 0 <= unit < channels:
        raise FovealError(f"layer '{name}' has {channels} maps, and no {unit}", "count from 0")

    def activity(x: Tensor) -> Tensor:
        seen = outputs(model, [name], x)[1][name]
        return seen.square().mean() if unit is None else seen[:, unit].mean()

    return activity


def _liked(found: Tensor, target: int) -> Tensor:
    """A class's score and the logarithm of its odds, of scores [1, classes]."""
    others = torch.cat((found[:, :target], found[:, target + 1 :]), 1)
    return (2 * found[:, target] - others.logsumexp(1)).sum()


def _climbed(
    logits: Tensor,
    aim: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    steps: int,
    *,
    course: _Course,
    generator: torch.Generator,
    told: Callable[[], None],
) -> Tensor:
    """`steps` updates of the logits [1, C, h, w] of an image that is shown in `size`."""
    pixels = logits.detach().clone().requires_grad_()
    adam = torch.optim.Adam([pixels], lr=course.rate)
    for step in range(steps):
        with torch.enable_grad():
            image = _resized(pixels.sigmoid(), size)
            value = aim(_shifted(image, course.jitter, generator))
            rough = image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()
            weight = course.variation * float(value.detach().abs())
            (pixels.grad,) = torch.autograd.grad(weight * rough - value, pixels)
        adam.step()
        fading = course.blur * (1 - (step + 1) / steps)
        if step % 4 == 3 and fading > 0.05:
            with torch.no_grad():
                pixels.copy_(_blurred(pixels, fading))
        told()
    return pixels.detach()


def _shifted(image: Tensor, jitter: int, generator: torch.Generator) -> Tensor:
    """The image moved by up to `jitter` pixels either way, its border mirrored."""
    if not jitter:
        return image
    down, right = torch.randint(0, 2 * jitter + 1, (2,), generator=generator).tolist()
    wide = F.pad(image, (jitter,) * 4, mode="reflect")
    return wide[:, :, down : down + image.shape[2], right : right + image.shape[3]]


def _blurred(x: Tensor, deviation: float) -> Tensor:
    reach = max(1, round(3 * deviation))
    line = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * deviation**2))
    line = (line / line.sum()).expand(x.shape[1], 1, 1, -1)
    wide = F.pad(x, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, line, groups=x.shape[1]), line.transpose(2, 3), groups=x.shape[1])


def _zoomed(logits: Tensor, zoom: float) -> Tensor:
    """The middle of an image, enlarged to its size."""
    h, w = logits.shape[2:]
    rows, columns = max(1, round(h - h / zoom)), max(1, round(w - w / zoom))
    inner = logits[:, :, rows // 2 : h - (rows - rows // 2), columns // 2 : w - (columns - columns // 2)]
    return _resized(inner, (h, w))


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def _rounded(logits: Tensor) -> Tensor:
    """Brightness [1, C, H, W] as eight bits hold it."""
    return (255 * logits.sigmoid()).round() / 255


def _result(
    model: nn.Module,
    best: Tensor,
    film: Sequence[Tensor],
    asked: tuple[Tensor, int | None],
    *,
    layer: str | None,
    unit: int | None,
    classes: Sequence[str] | None,
) -> Explanation:
    arrays = {"image": best[0]}
    text = f"{layer}, unit {unit}" if unit is not None else str(layer)
    if layer is None:
        shown, target = asked
        assert target is not None
        with torch.no_grad():
            arrays["probability"] = scores(model, shown).softmax(1)[0, target]
        text = f"{named(target, classes)}: p = {float(arrays['probability']):.4f} for this very image"
    pictures = {"maximise": _picture(best)}
    if film:
        arrays["film"] = torch.cat(list(film))
        pictures["film"] = torch.stack([_picture(frame) for frame in (best, *film)])
    return Explanation(arrays, pictures, text)


def _picture(pixels: Tensor) -> Tensor:
    bytes_ = (255 * pixels[0]).round().to(torch.uint8).expand(3, -1, -1).contiguous()
    return enlarged(bytes_, _SIDE) if max(bytes_.shape[1:]) < _SIDE else bytes_
