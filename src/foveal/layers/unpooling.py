"""Unpooling with switches: values go back to the places that a max pooling took them from.

M. Zeiler, R. Fergus, «Visualizing and understanding convolutional networks», ECCV 2014, section 2.1 (projections);
H. Noh, S. Hong, B. Han, «Learning deconvolution network for semantic segmentation», ICCV 2015, section 3.2.1, and
V. Badrinarayanan, A. Kendall, R. Cipolla, «SegNet», PAMI 2017, section 3 (decoders).

The switches are no state that a pooling keeps: they are found again from the map that was pooled. So a network of any
size and shape can be traced, run twice or in several threads, and its pooling stays an ordinary nn.MaxPool2d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Overlap = Literal["sum", "last"]


def find_switches(  # noqa: PLR0917 - the order of torch's poolings
    x: Tensor,
    kernel: int | Sequence[int],
    stride: int | Sequence[int],
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Where the largest value of each window stands: x [N, C, *grid] → int64 [N, C, *grid'].

    A switch is the place's number in its map, row by row from 0, as torch counts (return_indices). One to three
    dimensions; numbers as in nn.MaxPool2d.
    """
    pool: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.dim() - 3]
    with torch.no_grad():
        switches: Tensor = pool(x, kernel, stride, padding, dilation, ceil_mode, return_indices=True)[1]
    return switches


def unpool(values: Tensor, switches: Tensor, size: Sequence[int], overlap: Overlap = "sum") -> Tensor:
    """values [N, C, *grid'] at their switches in maps of `size` = grid, zeros elsewhere: → [N, C, *grid].

    Where windows overlap several values can have one place: they are summed («sum»: the transpose of the pooling, what
    its gradient does), or that of the last window stands («last»: what writing them one after the other does, and
    torch's max_unpool leaves to chance). Without overlaps both are the same. Differentiable with respect to the values.
    Raises ValueError unless there are as many values as switches.
    """
    if values.shape != switches.shape:  # torch's scatter would leave out what is too much
        raise ValueError(f"values of shape {list(values.shape)} for switches of {list(switches.shape)}")
    flat, places = values.flatten(2), switches.flatten(2)
    empty = flat.new_zeros(*flat.shape[:2], torch.Size(size).numel())
    if overlap == "last":
        number = torch.arange(flat.shape[2], device=flat.device).expand_as(places)
        last = torch.zeros_like(empty, dtype=torch.long).scatter_reduce(2, places, number, "amax")
        flat = torch.where(last.gather(2, places) == number, flat, 0)
    return empty.scatter_add(2, places, flat).view(*values.shape[:2], *size)


class _Unpool(nn.Module):
    """Numbers of the pooling's window, one per dimension."""

    dims: int

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        *,
        ceil_mode: bool = False,
        overlap: Overlap = "sum",
    ) -> None:
        super().__init__()
        if overlap not in get_args(Overlap):
            raise ValueError(f"overlap={overlap!r}: sum or last")
        self.kernel_size, self.stride = self._each(kernel_size), self._each(kernel_size if stride is None else stride)
        self.padding, self.dilation = self._each(padding), self._each(dilation)
        self.ceil_mode, self.overlap = ceil_mode, overlap

    def _each(self, numbers: int | Sequence[int]) -> tuple[int, ...]:
        return (numbers,) * self.dims if isinstance(numbers, int) else tuple(numbers)

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        numbers = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return unpool(x, find_switches(below, *numbers), below.shape[2:], self.overlap)

    def extra_repr(self) -> str:
        numbers = f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return numbers + (f", overlap={self.overlap}" if self.overlap != "sum" else "")


class MaxUnpool1d(_Unpool):
    """Unpooling of sequences, x [N, C, L'], below [N, C, L] → [N, C, L]; as MaxUnpool2d."""

    dims = 1


class MaxUnpool2d(_Unpool):
    """Undoes nn.MaxPool2d of the same numbers, given the map below it: [N, C, h, w], [N, C, H, W] → [N, C, H, W].

        a = self.relu1(self.conv1(images))
        x = self.pool1(a)                       # nn.MaxPool2d(2)
        …
        x = self.unpool1(x, a)                  # MaxUnpool2d(2): every value where the maximum of its window stood

    `stride` None is `kernel_size`; `overlap` as in `unpool`. The maps' sizes need not be multiples of the stride. No
    gradient flows into `below`: where the largest value stands has no slope. Raises ValueError for another overlap
    and where x has not the size of the pooled `below`.
    """

    dims = 2


class MaxUnpool3d(_Unpool):
    """Unpooling of volumes, x [N, C, d, h, w], below [N, C, D, H, W] → [N, C, D, H, W]; as MaxUnpool2d."""

    dims = 3
