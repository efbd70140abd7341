"""DropConnect: connections are left out at random, where dropout leaves out units."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropConnect(nn.Linear):
    """A linear layer that drops each weight and bias with probability `p` in training: [N, in] → [N, out].

    Wan, Zeiler, Zhang, LeCun, Fergus (2013), section 2: every example of a batch has a mask of its own, which costs a
    copy of the weights for each. What stays is divided by 1 - p, so that in evaluation mode it is the plain layer, the
    mean over all masks. The paper goes further there: it draws units from the Gaussian of `moments` and averages them
    behind the nonlinearity. Raises ValueError for p outside [0, 1).
    """

    def __init__(self, in_features: int, out_features: int, p: float = 0.5, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        if not 0 <= p < 1:
            raise ValueError(f"p={p}: the share of connections that is dropped lies in [0, 1)")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not self.p:
            return F.linear(input, self.weight, self.bias)
        masks = F.dropout(torch.ones_like(self.weight).expand(len(input), -1, -1), self.p)  # [N, out, in]
        sums = torch.einsum("ni,noi,oi->no", input, masks, self.weight)
        return sums if self.bias is None else sums + F.dropout(self.bias.expand(len(input), -1), self.p)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the output over all masks, each [N, out], for inputs [N, in] (section 3)."""
        share = self.p / (1 - self.p)
        mean = F.linear(x, self.weight, self.bias)
        bias = None if self.bias is None else self.bias.square()
        return mean, share * F.linear(x.square(), self.weight.square(), bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, p={self.p}"
