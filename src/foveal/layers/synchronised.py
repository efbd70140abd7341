"""Layers that act on the whole batch when it is spread over processes: N processes then train as one would.

Batch normalisation takes its statistics over all processes' images, on any device (torch's SyncBatchNorm needs CUDA).
Dropout draws the mask of the whole batch in every process, from the same seed, and uses its own rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.layers.drop_connect import DropConnect

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_UNCOORDINATED = (
    nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d, DropConnect,
)  # fmt: skip


def synchronise(model: nn.Module) -> nn.Module:
    """Give every batch normalisation and dropout of `model` its synchronised form. In place; parameters are kept.

    The process group must exist. FovealError for a layer whose random numbers would differ between processes.
    """
    for name, layer in list(model.named_modules()):
        if isinstance(layer, _UNCOORDINATED):
            raise FovealError(
                f"{name}: {type(layer).__name__} draws other random numbers in each process",
                "train in one process, or use nn.Dropout",
            )
        new: nn.Module | None = None
        if type(layer) in _NORMS and isinstance(layer, nn.modules.batchnorm._BatchNorm):
            new = SynchronisedBatchNorm(layer)
        elif type(layer) in _DROPOUTS and isinstance(layer, nn.modules.dropout._DropoutNd):
            new = SynchronisedDropout(layer)
        if new is not None:
            new.train(layer.training)
            if not name:
                return new
            model.set_submodule(name, new)
    return model


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, [N, C, …] → [N, C, …]. Keys are BatchNorm's."""

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected [N, C, …], got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, var, count = _Normalise.apply(input, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and self.running_var is not None:
            self._track(mean, var * count / (count - 1).clamp(min=1))
        result: Tensor = output
        return result

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class _Normalise(torch.autograd.Function):
    """(input, weight, bias, eps) → (output, mean [C], biased variance [C], count); two collectives, one each way."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = input.float()
        others = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        var_local, mean_local = torch.var_mean(x, dim=others, correction=0)
        mine = torch.cat([mean_local, var_local, mean_local.new_tensor([x.numel() / x.shape[1]])])
        every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(every, mine)
        table = torch.stack(every)
        channels = x.shape[1]
        means, variances, counts = table[:, :channels], table[:, channels : 2 * channels], table[:, 2 * channels :]
        count = counts.sum()
        mean = (means * counts).sum(0) / count
        var = ((variances + (means - mean) ** 2) * counts).sum(0) / count  # Chan, Golub and LeVeque 1979
        scale = (var + eps).rsqrt()
        normed = (x - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normed, scale, weight, count)
        ctx.others, ctx.shape, ctx.dtype = others, shape, input.dtype
        output = normed if weight is None else normed * weight.view(shape)
        if bias is not None:
            output = output + bias.view(shape)
        ctx.mark_non_differentiable(mean, var, count)
        return output.to(input.dtype), mean, var, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        normed, scale, weight, count = ctx.saved_tensors
        above = gradients[0].float()
        bias_gradient = above.sum(ctx.others)
        weight_gradient = (above * normed).sum(ctx.others)
        sums = torch.stack([bias_gradient, weight_gradient])
        dist.all_reduce(sums)
        means = sums / count
        centred = above - means[0].view(ctx.shape) - normed * means[1].view(ctx.shape)
        factor = scale if weight is None else scale * weight
        gradient = (centred * factor.view(ctx.shape)).to(ctx.dtype)
        return gradient, None if weight is None else weight_gradient, None if weight is None else bias_gradient, None


class SynchronisedDropout(nn.Module):
    """Dropout whose mask is the whole batch's: every process draws all of it and takes its own rows."""

    def __init__(self, layer: nn.modules.dropout._DropoutNd) -> None:
        super().__init__()
        self.layer = layer  # asked for the mask, so that it is the mask that one process would have drawn

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.layer.p:
            return input
        rank, world = dist.get_rank(), dist.get_world_size()
        layout = torch.channels_last if _is_channels_last(input) else torch.contiguous_format
        whole = torch.ones((world * len(input), *input.shape[1:]), dtype=input.dtype, device=input.device).contiguous(
            memory_format=layout
        )
        mask: Tensor = self.layer(whole)  # 0 or 1/(1-p)
        return input * mask[rank * len(input) : (rank + 1) * len(input)]


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
