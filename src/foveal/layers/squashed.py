"""LeNet-5 up to C5 in fewer and longer passes over memory: what its modules compute, for training on a CPU.

With s the logistic function, the squash is f(z) = A tanh(S z) = 2A s(2S z) - A. Maps are kept as u = s(2S z): 2S goes
into the weights of what gives z, and what reads f(z) takes 2A times its weights and A times their sum off its bias.
Subsampling by (c, d) then is c Σf(z) + d = 2A c (Σu - 2) + d for the four pixels of a window.

A convolution computes its output in blocks of rows x columns pixels from blocks of its input: the pixels of a block are
channels, and the kernel is the weight at rows · columns offsets. Convolutions are faster with that many channels, and
with channels last the four u of a window lie side by side. A block of C3's input is a column of a block of S2's output.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from foveal.layers.activations import ScaledTanh
from foveal.layers.subsampling import Subsampling
from foveal.layers.table_conv import TableConv2d, convolution_gradients

_A, _S = ScaledTanh.amplitude, ScaledTanh.slope
_Block = tuple[int, int]  # rows and columns
_C1_BLOCK, _C3_BLOCK = (4, 2), (2, 1)  # the fastest of those that fit

_Kind = tuple[type[nn.Module], dict[str, object]]  # and its settings
_SQUASH: _Kind = (ScaledTanh, {"amplitude": _A, "slope": _S})
_HALVING: _Kind = (Subsampling, {"kernel_size": 2, "stride": 2, "dilation": 1})
_LAYERS: dict[str, _Kind] = {
    "C1": (nn.Conv2d, {"kernel_size": (5, 5), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}),
    "tanh1": _SQUASH,
    "S2": _HALVING,
    "tanh2": _SQUASH,
    "C3": (TableConv2d, {"kernel_size": 5, "stride": 1, "padding": 0, "transposed": False}),
    "tanh3": _SQUASH,
    "S4": _HALVING,
    "tanh4": _SQUASH,
    "flatten": (nn.Flatten, {"start_dim": 1, "end_dim": -1}),
    "C5": (nn.Linear, {"in_features": 400}),
}  # what this file computes
_COUNT = len(_LAYERS)


def run(network: nn.Sequential, images: Tensor) -> Tensor:
    """network(images) with the same gradients, to rounding: by this file's way up to C5 where it can be gone, i.e. in
    training on a CPU, not in half precision, without hooks, for images [N, 1, 32, 32], while the layers are LeNet-5's.
    """
    layers = dict(network.named_children())
    if not (_usual(images) and network.training and _unchanged(layers)) or _hooked(network, *islice(network, _COUNT)):
        return network(images)  # type: ignore[no-any-return]
    c1, c3, c5 = cast(nn.Conv2d, layers["C1"]), cast(TableConv2d, layers["C3"]), cast(nn.Linear, layers["C5"])
    s2, s4 = cast(Subsampling, layers["S2"]), cast(Subsampling, layers["S4"])
    x = _blocks(images, _C1_BLOCK)
    x = _Halved.apply(x, _C1_BLOCK, False, c1.weight, c1.bias, s2.weight, s2.bias)
    x = _Halved.apply(x, _C3_BLOCK, True, c3.dense_weight(), c3.bias, s4.weight, s4.bias)
    x = _linear(x, c5)
    for layer in islice(network, _COUNT, None):
        x = layer(x)
    return x


def _usual(images: Tensor) -> bool:
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and images.shape[1:] == (1, 32, 32)
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def _unchanged(layers: dict[str, nn.Module]) -> bool:
    return (
        list(layers)[:_COUNT] == list(_LAYERS)
        and all(
            type(layers[name]) is kind and all(getattr(layers[name], key) == value for key, value in settings.items())
            for name, (kind, settings) in _LAYERS.items()
        )
        and layers["C1"].bias is not None
        and layers["C3"].bias is not None
        and layers["C5"].bias is not None
    )


def _hooked(*modules: nn.Module) -> bool:
    return bool(_has_any_global_hook()) or any(  # type: ignore[no-untyped-call]
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in modules
    )


def _blocks(images: Tensor, block: _Block) -> Tensor:
    """[N, 1, H, W] → [N, columns · rows, H / rows, W / columns], channels last."""
    rows, columns = block
    count, _, height, width = images.shape
    parts = images.reshape(count, height // rows, rows, width // columns, columns).permute(0, 1, 3, 4, 2)
    return parts.flatten(3).permute(0, 3, 1, 2)


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """The layer's output [N, out] from the logistic maps [N, C, H, W], channels last, of what it reads. A convolution
    with one row of N pixels: on some CPUs (AMD's) torch's product of float32 matrices is slower, above all backward."""
    weight = 2 * _A * layer.weight.view(-1, *x.shape[1:]).permute(0, 2, 3, 1).flatten(1)  # x's order in memory
    bias = layer.bias - _A * layer.weight.sum(1)
    row = x.permute(0, 2, 3, 1).reshape(1, 1, len(x), -1).permute(0, 3, 1, 2)
    return F.conv2d(row, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(len(x), -1)


class _Halved(torch.autograd.Function):
    """s(2S p) of the subsampling p of the squashed convolution of blocks x: in blocks too, where a window has become a
    pixel. x holds the images, or, with `logistic`, the s(2S p) of the layer before.

    The gradient of z is that of s(z) times s(z) (1 - s(z)).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: _Block, logistic: bool, *parameters: Tensor) -> Tensor:
        weight, bias, coefficient, offset = parameters
        places, shape = _places(weight.shape, block)
        if logistic:
            weight, bias = 2 * _A * weight, bias - _A * weight.sum((1, 2, 3))
        numbers = torch.cat((weight.new_zeros(1), weight.flatten(), bias)).mul_(2 * _S).index_select(0, places)
        kernel = numbers[: -shape[0]].view(shape)
        u = F.conv2d(x, kernel, numbers[-shape[0] :]).sigmoid_().permute(0, 2, 3, 1)
        if block[1] == 1:
            u = u.reshape(*u.shape[:2], -1, 2 * u.shape[3])  # the right half of a window beside its left half
        left, right = u.chunk(2, 3)
        upper, lower = (left + right).chunk(2, 3)
        sums = upper + lower  # [N, H', W', windows of a block · maps]
        # The numbers of a map at each place of an image: one long pass instead of many short ones.
        factors, offsets = (
            numbers.repeat(sums[0].numel() // len(numbers)).view(sums.shape[1:])
            for numbers in (4 * _A * _S * coefficient, 2 * _S * (offset - 4 * _A * coefficient))
        )
        v = (sums * factors).add_(offsets).sigmoid_()
        ctx.save_for_backward(x, kernel, u, sums, factors, v)
        ctx.given = weight.shape, places, logistic
        return v.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, u, sums, factors, v = ctx.saved_tensors
        shape, places, logistic = ctx.given
        to_p = torch.ops.aten.sigmoid_backward(gradient.permute(0, 2, 3, 1).contiguous(), v)
        to_factor, to_offset = (g.sum(0).view(-1, shape[0]).sum(0).mul_(2 * _S) for g in (to_p * sums, to_p))
        to_coefficient = 2 * _A * (to_factor - 2 * to_offset)
        to_u = torch.empty_like(u).view(*to_p.shape[:3], 4, -1)
        for place in range(4):
            torch.mul(to_p, factors, out=to_u.select(3, place))
        to_z = torch.ops.aten.sigmoid_backward.grad_input(to_u, u.view_as(to_u), grad_input=to_u)
        to_z = to_z.view(len(x), u.shape[1], -1, len(kernel)).permute(0, 3, 1, 2)
        to_x, to_kernel, to_biases = convolution_gradients(x, kernel, to_z, (ctx.needs_input_grad[0], True))
        assert to_biases is not None
        numbers = torch.cat((to_kernel.flatten(), to_biases)).mul_(2 * _S)
        numbers = numbers.new_zeros(1 + shape.numel() + shape[0]).index_add_(0, places, numbers)
        to_weight, to_bias = numbers[1 : -shape[0]].view(shape), numbers[-shape[0] :]
        if logistic:
            to_weight = 2 * _A * to_weight - _A * to_bias[:, None, None, None]
        return to_x, None, None, to_weight, to_bias, to_coefficient, to_offset


@cache
def _places(shape: torch.Size, block: _Block) -> tuple[Tensor, tuple[int, ...]]:
    """Where each number of a kernel over blocks and of its bias stands in 0, the weight of `shape`, the bias; and the
    kernel's shape [columns · rows · O, columns · rows · C, taps, taps].

    Its outputs are in the order (column in its window, row in its window, window, map), its inputs (column, row, map).
    """
    maps, inputs, height, width = shape
    rows, columns = block
    weight = torch.arange(1, shape.numel() + 1, dtype=torch.float64).view(shape)
    bias = torch.arange(maps).repeat(rows * columns) + shape.numel() + 1
    down, across = _offsets(rows, height), _offsets(columns, width)
    down = down.view(-1, 2, *down.shape[1:])  # window, row in its window
    kernel = torch.einsum("ocij,warhi,qpvj->qawoprchv", weight, down, across)
    kernel = kernel.reshape(columns * rows * maps, columns * rows * inputs, *kernel.shape[-2:])
    return torch.cat((kernel.flatten().long(), bias)), tuple(kernel.shape)


def _offsets(block: int, kernel_size: int) -> Tensor:
    """[out, in, tap, i]: 1 where pixel `in` of the tap-th block from here is what weight i of the kernel at pixel `out`
    of this block reads, else 0."""
    taps = -(-(block + kernel_size - 1) // block)
    result = torch.zeros(block, block, taps, kernel_size, dtype=torch.float64)
    for out in range(block):
        for i in range(kernel_size):
            tap, place = divmod(out + i, block)
            result[out, place, tap, i] = 1
    return result
