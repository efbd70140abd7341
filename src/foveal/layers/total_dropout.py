"""Dropout of whole branches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TotalDropout(nn.Module):
    """In training, zeros for all of an image's maps with probability p: [N, …] → [N, …]; nothing else is changed.

    Fourure et al. (2017), section 3.3: a residual block whose branch is dropped is its shortcut. What is kept is
    divided by 1 - p, so that nothing is to be scaled in use. Raises ValueError unless 0 ≤ p < 1.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"TotalDropout({p}): a probability in [0, 1)")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(len(x), *(1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"
