"""A trained network made fast for use: batch norm folded into convolutions, channels last, weights in bfloat16."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from foveal.errors import FovealError, unknown
from foveal.graph.count import count
from foveal.graph.shapes import check_input
from foveal.graph.trace import trace
from foveal.layers.sliding import SlidingLinear
from foveal.layers.upsampling import Interpolation, init_bilinear

LEAST_MACS = 10_000_000
"""Multiply-adds an image below which casting costs more than bfloat16 saves: ResNet-20 (41 M) gains, LeNet-5 not."""
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)
_NORMS = nn.modules.batchnorm._BatchNorm
_PASSING = (nn.Identity, nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)  # in use they give what they get
_FRESH = (*_CONVOLUTIONS, nn.Linear, _NORMS, SlidingLinear)  # what they give is nobody else's
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Optimised(nn.Module):
    """A network for inference alone: images [N, C, H, W] in float32 → its output in float32 (a tensor, or a tuple of
    them), without gradients.

    `network` is of the original's class, with `folded` batch norms turned into nn.Identity; `dtype` is its weights'.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, channels_last: bool, folded: int) -> None:
        super().__init__()
        self.network, self.dtype, self.channels_last, self.folded = network, dtype, channels_last, folded
        self.requires_grad_(False)
        super().train(False)

    def train(self, mode: bool = True) -> Optimised:
        """Refuse training mode: batch norms are gone. FovealError."""
        if mode:
            raise FovealError("an optimised network cannot be trained", "train the original, then optimise again")
        return self

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Any:
        if self.channels_last and images.ndim == 4:
            images = images.to(dtype=self.dtype, memory_format=torch.channels_last)
        else:
            images = images.to(self.dtype)
        output = self.network(images)
        return tuple(part.float() for part in output) if isinstance(output, tuple) else output.float()

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, channels_last={self.channels_last}, folded={self.folded}"


class Cast(nn.Module):
    """A layer whose weights are in `dtype`, between maps in float32."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = layer.to(dtype), dtype

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.layer(input.to(self.dtype))
        return output.float()


class ChannelsLastLRN(nn.LocalResponseNorm):
    """Local response normalisation as sums of shifted maps: with channels last faster than torch's, which
    pools in three dimensions and has no bfloat16 on CPUs. Computed in float32, given in the input's dtype."""

    def forward(self, input: Tensor) -> Tensor:
        x = input.float()
        squares = F.pad(x.square(), (*(0, 0) * (x.ndim - 2), self.size // 2, (self.size - 1) // 2))
        total = squares[:, : x.shape[1]]
        for shift in range(1, self.size):
            total = total + squares[:, shift : shift + x.shape[1]]
        return (x * (self.k + self.alpha / self.size * total).pow(-self.beta)).to(input.dtype)


@dataclass(frozen=True)
class Difference:
    """How far two networks' outputs on the same images lie apart.

    `largest` is the largest difference of two scores, `relative` the norm of all differences by the norm of the
    original's scores, `agreement` the share of images with the same best class.
    """

    largest: float
    relative: float
    agreement: float

    def text(self) -> str:
        """One line for people."""
        return (
            f"scores differ by {self.largest:.2g} at most, {100 * self.relative:.2g} % in norm; "
            f"the best class is the same for {100 * self.agreement:.4g} % of the images"
        )


def optimize(
    model: nn.Module, input: tuple[int, ...] | None = None, dtype: str = "auto", *, share: bool = False
) -> Optimised:
    """A copy of `model` for inference, faster and with the same output to rounding; `model` is left as it is.

    Batch norms that follow a convolution or linear layer are multiplied into its weights (computed in float64), weights
    and maps are laid out with channels last (for which local response normalisation is written anew), fixed bilinear
    upsampling is interpolation, ReLUs that alone read a map overwrite it, and weights are cast once. dtype: float32,
    bfloat16, or auto: bfloat16 where the device multiplies it natively and the network convolves, with `input` =
    (C, H, W) given also only if it has 10 million multiply-adds an image; batch norms that stay keep float32.
    `output_difference` says what it costs. With `share` weights that need no change are the model's own and no copies:
    for a network that is used at once and thrown away. Raises FovealError for an unknown dtype, a network that cannot
    be traced, and one that cannot take `input`.
    """
    if dtype not in ("auto", *_DTYPES):
        raise unknown("dtype", str(dtype), ("auto", *_DTYPES))
    if input is not None:
        check_input(input)
    copy = _baked((_sharing(model) if share else deepcopy(model)).eval())
    graph = trace(copy)
    folds = dict(_folds(graph))
    plan = folds | dict(_faster(graph)) | dict(_overwriting(graph))
    for path, layer in plan.items():
        if not path:
            copy = layer
        else:
            copy.set_submodule(path, layer)
    macs = count(model, input).macs if input is not None else None
    chosen = _DTYPES[dtype] if dtype != "auto" else _choose(copy, macs)
    folded = sum(isinstance(layer, nn.Identity) for layer in folds.values())
    two_dimensional = any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in copy.modules())
    return Optimised(_laid_out(copy, chosen, two_dimensional), chosen, two_dimensional, folded)


def optimize_detector(model: nn.Module, input: tuple[int, ...] | None = None, dtype: str = "auto") -> nn.Module:
    """A copy of a detector for inference alone: its `backbone` is `optimize`d, and where that chose bfloat16 all other
    convolutions and linear layers have such weights; boxes and scores are computed from their outputs in float32.

    `input` and `dtype` are `optimize`'s, and so are its errors. FovealError for a network without a backbone.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise FovealError(f"{type(model).__name__} has no backbone", "give a detector; optimize takes other networks")
    fast = optimize(backbone, input, dtype)
    copy = deepcopy(model).eval().requires_grad_(False)
    copy.set_submodule("backbone", fast)
    if fast.dtype != torch.float32:
        for path, layer in list(copy.named_modules()):
            if isinstance(layer, (*_CONVOLUTIONS, nn.Linear)) and not path.startswith("backbone."):
                copy.set_submodule(path, Cast(layer, fast.dtype))
    return copy


@torch.no_grad()
def output_difference(model: nn.Module, optimised: nn.Module, images: Tensor) -> Difference:
    """Compare two networks' scores [N, classes] on a batch, in evaluation mode; both are left in the mode they had."""
    was = model.training
    try:
        theirs = model.eval()(images).float()
    finally:
        model.train(was)
    ours = optimised(images).float()
    apart = (ours - theirs).double()
    same = (ours.argmax(1) == theirs.argmax(1)).double().mean()
    norm = theirs.double().norm().clamp_min(torch.finfo(torch.float64).tiny)
    return Difference(float(apart.abs().max()), float(apart.norm() / norm), float(same))


def native_bfloat16(device: torch.device) -> str:
    """What multiplies bfloat16 natively on the device, by name, or an empty text."""
    if device.type == "cuda":
        return "this GPU" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if device.type != "cpu":
        return ""
    found = torch.cpu.get_capabilities()
    return next((name for name in ("avx512_bf16", "amx_bf16") if found.get(name, False)), "")


def _sharing(model: nn.Module) -> nn.Module:
    """A copy of the modules around the same numbers, which ask for no gradients there."""
    numbers: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    return deepcopy(model, numbers | {id(buffer): buffer.detach() for buffer in model.buffers()})


def _baked(model: nn.Module) -> nn.Module:
    """The model with plain weights where they were computed (weight normalisation). In place, but for a lone layer.

    torch's remove_parametrizations would take the computed weight from the original's class, which a copy shares.
    """
    for path, layer in list(model.named_modules()):
        if parametrize.is_parametrized(layer):
            kind = parametrize.type_before_parametrizations(layer)
            plain: nn.Module = object.__new__(kind)
            plain.__dict__.update({name: _shallow(value) for name, value in layer.__dict__.items()})
            for name in layer.get_submodule("parametrizations")._modules:
                plain._parameters[name] = nn.Parameter(getattr(layer, name).detach(), requires_grad=False)
            del plain._modules["parametrizations"]
            if not path:
                return plain
            model.set_submodule(path, plain)
    return model


def _shallow(value: Any) -> Any:
    return value.copy() if isinstance(value, dict) else value


def _folds(graph: fx.GraphModule) -> Iterator[tuple[str, nn.Module]]:
    """New leaves by path: each batch norm that alone reads a layer with weights goes into that layer."""
    calls = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    for node in graph.graph.nodes:
        if node.op != "call_module" or not node.all_input_nodes:
            continue
        before = node.all_input_nodes[0]
        if before.op != "call_module" or len(before.users) != 1:
            continue
        norm, layer = graph.get_submodule(str(node.target)), graph.get_submodule(str(before.target))
        if not isinstance(norm, _NORMS) or norm.running_mean is None:
            continue
        if type(layer) not in (*_CONVOLUTIONS, nn.Linear) or calls[str(node.target)] + calls[str(before.target)] > 2:
            continue
        if isinstance(layer, _TRANSPOSED) and layer.groups > 1:
            continue
        yield str(before.target), _fused(layer, norm)
        yield str(node.target), nn.Identity()


def _faster(graph: fx.GraphModule) -> Iterator[tuple[str, nn.Module]]:
    """New leaves by path: other ways to compute the same function."""
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if type(layer) is nn.LocalResponseNorm:
            yield str(node.target), ChannelsLastLRN(layer.size, layer.alpha, layer.beta, layer.k).eval()
        elif type(layer) is nn.ConvTranspose2d and _interpolates(layer):
            yield str(node.target), Interpolation(layer.stride[0]).eval()


def _interpolates(layer: nn.ConvTranspose2d) -> bool:
    """Whether a transposed convolution is bilinear interpolation of each map by itself, and of nothing cut off."""
    factor = layer.stride[0]
    alike = (factor, factor) == layer.stride and layer.kernel_size == (2 * factor - factor % 2,) * 2
    plain = not any((*layer.padding, *layer.output_padding)) and layer.dilation == (1, 1) and layer.bias is None
    if not alike or not plain or layer.in_channels != layer.out_channels:
        return False
    bilinear = deepcopy(layer)
    init_bilinear(bilinear)
    return torch.equal(bilinear.weight, layer.weight)


def _overwriting(graph: fx.GraphModule) -> Iterator[tuple[str, nn.Module]]:
    """New leaves by path: ReLUs in place of the map that they alone read, which saves its memory and a pass over it."""
    calls = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")

    def layer_of(node: fx.Node) -> nn.Module | None:
        return graph.get_submodule(str(node.target)) if node.op == "call_module" else None

    for node in graph.graph.nodes:
        layer = layer_of(node)
        if type(layer) is not nn.ReLU or calls[str(node.target)] > 1:
            continue
        before = node.all_input_nodes[0]
        while isinstance(layer_of(before), _PASSING) and len(before.users) == 1:
            before = before.all_input_nodes[0]
        fresh = isinstance(layer_of(before), _FRESH) or before.target is operator.add
        if fresh and len(before.users) == 1:
            yield str(node.target), nn.ReLU(inplace=True).eval()


def _fused(layer: nn.Module, norm: Any) -> nn.Module:
    """A copy of the layer that computes norm(layer(x)) for a norm in evaluation mode."""
    fused: Any = deepcopy(layer)
    dtype = fused.weight.dtype
    given = (fused.weight, fused.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    weight, bias, mean, var, gamma, beta = (None if t is None else t.detach().double() for t in given)
    if gamma is None or beta is None:  # not affine
        gamma, beta = torch.ones_like(norm.running_var).double(), torch.zeros_like(norm.running_var).double()
    fold: Any = fuse_linear_bn_weights
    if not isinstance(layer, nn.Linear):
        fold = partial(fuse_conv_bn_weights, transpose=isinstance(layer, _TRANSPOSED))
    made = fold(weight, bias, mean, var, norm.eps, gamma, beta)
    fused.weight, fused.bias = (nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in made)
    result: nn.Module = fused
    return result


def _choose(model: nn.Module, macs: int | None) -> torch.dtype:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    convolves = any(isinstance(m, _CONVOLUTIONS) for m in model.modules())
    gains = convolves and (macs is None or macs >= LEAST_MACS)
    return torch.bfloat16 if gains and native_bfloat16(device) else torch.float32


def _laid_out(model: nn.Module, dtype: torch.dtype, channels_last: bool) -> nn.Module:
    """In place. Batch norms keep their numbers: torch normalises bfloat16 maps with float32 statistics."""
    if dtype != torch.float32:
        for layer in model.modules():
            if not isinstance(layer, _NORMS):
                for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
                    if tensor.is_floating_point():
                        cast: Tensor = tensor.detach().to(dtype)
                        setattr(layer, name, nn.Parameter(cast, False) if isinstance(tensor, nn.Parameter) else cast)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    return model
