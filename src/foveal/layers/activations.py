"""Nonlinearities that torch lacks: the threshold unit, LeCun's scaled tanh, maxout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Step(nn.Module):
    """The linear threshold unit's output: 1 where x >= 0, else 0, in x's dtype and shape.

    McCulloch and Pitts (1943). Its derivative is 0 everywhere, so nothing before it can be learnt by gradient descent.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Two signs rather than a comparison: sign(0) = 0 must fire, and autograd knows that sign has zero gradient.
        return torch.sign(torch.sign(x) + 0.5) * 0.5 + 0.5


class ScaledTanh(nn.Module):
    """A tanh(S x) with A = 1.7159 and S = 2/3, so that f(1) = 1 and f(-1) = -1; any shape.

    LeCun, Bottou, Bengio and Haffner (1998), equation 6 and appendix A: the targets ±1 then lie where the curvature is
    largest and not on the asymptotes.
    """

    amplitude = 1.7159
    slope = 2 / 3

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _ScaledTanh.apply(x, self.amplitude, self.slope)
        return y


class _ScaledTanh(torch.autograd.Function):
    """a tanh(s x), with its gradient s/a (a² - y²), in few passes over memory: LeNet-5's largest maps go through it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, amplitude: float, slope: float) -> Tensor:
        # tanh(z) = 2 sigmoid(2z) - 1. On AVX-512 CPUs torch's sigmoid is much faster than its tanh.
        y = torch.mul(x, 2 * slope).sigmoid_().sub_(0.5).mul_(2 * amplitude)
        ctx.save_for_backward(y)
        ctx.constants = (amplitude, slope)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        amplitude, slope = ctx.constants
        y = ctx.saved_tensors[0]
        steepest = y.new_full((), slope * amplitude)
        return torch.addcmul(steepest, y, y, value=-slope / amplitude).mul_(gradient), None, None


class Maxout(nn.Module):
    """The largest of `pieces` neighbouring features: [N, pieces * C, …] → [N, C, …].

    Goodfellow et al. (2013): max(w1'x, w2'x) is a linear layer of twice the width followed by this module.
    Raises RuntimeError where `pieces` does not divide the number of features.
    """

    def __init__(self, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, 1, (-1, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"
