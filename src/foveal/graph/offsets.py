"""OverFeat's offset pooling: the last pooling from each place within its stride, so that no position is passed over.

P. Sermanet et al., «OverFeat», ICLR 2014, section 3.3 and figure 3.
"""

from __future__ import annotations

import math

from torch import nn

from foveal.errors import FovealError
from foveal.graph.dilate import dilate
from foveal.graph.receptive_field import fields
from foveal.graph.shapes import shapes
from foveal.graph.windows import Size, window


def pooled_at_offsets(model: nn.Module, input: Size) -> nn.Module:
    """A convolutional network (see `convolutionalize`) whose map lies as many times closer as its last stride was.

    The paper pools at each offset, runs the classifier on each result and interleaves the scores. The same numbers, in
    the same places, come of a pooling of stride 1 and a classifier with holes (`dilate`), which computes what the
    offsets share but once. The last layer with a stride is a pooling in OverFeat and all networks before ResNet.

    Raises FovealError for a network without strides, and as `dilate`.
    """
    layers = shapes(model, input)
    found = fields(layers, input)
    strides = [
        seen.stride
        for layer in layers
        if layer.module is not None
        and (seen := window(layer.module, layer.inputs[0][1:], path=layer.path)) is not None
        and math.prod(seen.stride) > 1
        and not seen.transposed
    ]
    if not strides:
        raise FovealError("the network has no pooling and no stride, so there are no offsets", "use protocol dense")
    total = found[layers[-1].path].stride
    last = strides[-1] if len(strides[-1]) == len(total) else strides[-1] * len(total)
    return dilate(model, tuple(int(whole) // part for whole, part in zip(total, last, strict=True)))
