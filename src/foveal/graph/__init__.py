"""Passes over any network: what it looks at and costs, and the same network at every position of an image.

Each function has its name's module (replace_head and remove_head: heads); code of this package imports from there.
"""

from foveal.graph.arithmetic import arithmetic as arithmetic
from foveal.graph.convolutionalize import convolutionalize as convolutionalize
from foveal.graph.count import count as count
from foveal.graph.cut import cut as cut
from foveal.graph.dilate import dilate as dilate
from foveal.graph.effective_field import effective_field as effective_field
from foveal.graph.heads import remove_head as remove_head
from foveal.graph.heads import replace_head as replace_head
from foveal.graph.matrix import matrix as matrix
from foveal.graph.receptive_field import receptive_field as receptive_field
from foveal.graph.shapes import shapes as shapes
from foveal.graph.slide import slide as slide
from foveal.graph.taps import taps as taps
from foveal.graph.trace import trace as trace
