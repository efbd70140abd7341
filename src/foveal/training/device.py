"""Where a run computes, and in which numbers: a deterministic rule, never a timing, so that a run repeats itself."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foveal.data.pipeline import normalise
from foveal.data.whitening import Whitening
from foveal.errors import FovealError
from foveal.graph.count import count
from foveal.inference import LEAST_MACS, native_bfloat16
from foveal.training.recipe import Recipe

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_NO_MEMORY = ("can't allocate memory", "not enough memory", "MPS backend out of memory")  # CPU, on Windows, MPS


@dataclass(frozen=True)
class Placement:
    """Device, number format of the forward pass and memory layout of a run; `reason` says why, for the log.

    mean_image: float32 [C, H, W] in 0 … 1, subtracted from images instead of the recipe's `mean`. whitening: what is
    done to them instead of both `mean` and `std`.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = False
    reason: str = ""
    mean_image: Tensor | None = None
    whitening: Whitening | None = None

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass: weights stay float32, the products are taken in `dtype`."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the layout. In place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(device=self.device, memory_format=layout)  # type: ignore[call-overload, no-any-return]

    def images(self, images: Tensor, recipe: Recipe) -> Tensor:
        """uint8 [B, C, H, W] from the loader → normalised float32 on the device, in the layout."""
        moved = images.to(self.device, non_blocking=True)
        if self.whitening is not None:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            return self.whitening(moved).contiguous(memory_format=layout)
        mean = recipe.mean if self.mean_image is None else self.mean_image
        return normalise(moved, mean, recipe.std, channels_last=self.channels_last)

    def describe(self) -> str:
        """One line for the log."""
        layout = ", channels last" if self.channels_last else ""
        return f"{self.device}, {str(self.dtype).removeprefix('torch.')}{layout}: {self.reason}"


@dataclass(frozen=True)
class Probe:
    """What one forward pass tells about a network: its output's shape [1, …] (None when that is no tensor),
    multiply-adds, whether it convolves."""

    output: tuple[int, ...] | None
    macs: int
    convolutional: bool


def probe(model: nn.Module, input: tuple[int, int, int]) -> Probe:
    """Send one black image through a copy of the network on the meta device, where nothing is computed.

    A network that asks for values on its way cannot run there and is sent a real one. FovealError, naming the layer,
    when the network cannot take `input`.
    """
    try:
        return _forward(deepcopy(model).to("meta"), torch.zeros(1, *input, device="meta"))
    except (RuntimeError, NotImplementedError, ValueError):
        pass  # either the meta device or the size is to blame: a real pass decides
    try:
        return _forward(model, torch.zeros(1, *input))
    except (RuntimeError, ValueError) as error:
        raise _misfit(model, input, error) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch says that a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)


def _forward(model: nn.Module, images: Tensor) -> Probe:
    mode = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = model(images)
    model.train(mode)
    convolutional = any(isinstance(m, _CONVOLUTIONS) for m in model.modules())
    try:
        macs = count(model, tuple(images.shape[1:])).macs
    except FovealError:  # a network that cannot be traced can still be trained: what torch saw of it
        macs = counter.get_total_flops() // 2
    return Probe(tuple(output.shape) if isinstance(output, Tensor) else None, macs, convolutional)


def _misfit(model: nn.Module, input: tuple[int, int, int], error: Exception) -> FovealError:
    """The error for an input that the network cannot take; the shape pass knows the layer."""
    from foveal.graph.shapes import shapes

    try:
        shapes(model, input)
    except FovealError as named:
        return named
    size = "x".join(map(str, input))
    return FovealError(f"{type(model).__name__} cannot take input {size}: {error}", "set input=channels,height,width")


def choose(recipe: Recipe, facts: Probe, local_rank: int = 0) -> Placement:
    """The device, number format and layout for a recipe's settings, by rule.

    `device=auto` is CUDA, else Apple's MPS, else the CPU. `precision=auto` is bfloat16 where the hardware multiplies it
    natively (CUDA from Ampere on; CPUs with AVX512-BF16 or AMX, for convolutional networks of 10 million multiply-adds
    and more), else float32. float16 needs CUDA, where a gradient scaler keeps small gradients.
    """
    device = _device(recipe.device, local_rank)
    dtype, reason = _dtype(recipe.precision, device, facts)
    large = device.type == "cuda" or facts.macs >= LEAST_MACS  # small maps go through a CPU faster plane by plane
    channels_last = facts.convolutional and device.type != "mps" and large
    return Placement(device, dtype, channels_last, reason)


def _device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise FovealError(f"device={name} is not known", "choose auto, cpu, cuda, cuda:N or mps")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[kind]:
        raise FovealError(f"device={name}: this machine, or this torch, has none", "set device=auto or device=cpu")
    try:
        device = torch.device(name if name != "cuda" else f"cuda:{local_rank}")
    except RuntimeError as error:
        raise FovealError(f"device={name} is not known", "choose auto, cpu, cuda, cuda:N or mps") from error
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FovealError(f"device={device}: this machine has {torch.cuda.device_count()}", "counting starts at cuda:0")
    return device


def _dtype(precision: str, device: torch.device, facts: Probe) -> tuple[torch.dtype, str]:
    if precision == "float16" and device.type != "cuda":
        raise FovealError(f"precision=float16 on {device.type}", "it needs CUDA; set precision=bfloat16 or auto")
    if precision != "auto":
        return getattr(torch, precision), f"precision={precision} was asked for"
    if device.type == "cuda":
        native = native_bfloat16(device)
        reason = "this GPU multiplies bfloat16 natively" if native else "this GPU has no bfloat16"
        return torch.bfloat16 if native else torch.float32, reason
    if device.type == "mps":
        return torch.float32, "bfloat16 is not taken by itself on MPS"
    return _cpu_dtype(facts)


def _cpu_dtype(facts: Probe) -> tuple[torch.dtype, str]:
    millions = facts.macs / 1e6
    if not facts.convolutional:
        return torch.float32, "the network does not convolve"
    if facts.macs < LEAST_MACS:
        return torch.float32, f"with {millions:.2g} million multiply-adds an image bfloat16 would gain nothing"
    native = native_bfloat16(torch.device("cpu"))
    if not native:
        return torch.float32, "this CPU has no bfloat16 (AVX512-BF16 or AMX)"
    return torch.bfloat16, f"this CPU has {native}, the network {millions:.0f} million multiply-adds an image"
