"""Passes over any network: what it looks at and costs, and the same network at every position of an image.

Each function has its name's module; code of this package imports from there.
"""

from foveal.graph.convolutionalize import convolutionalize as convolutionalize
from foveal.graph.count import count as count
from foveal.graph.dilate import dilate as dilate
from foveal.graph.receptive_field import receptive_field as receptive_field
from foveal.graph.shapes import shapes as shapes
from foveal.graph.slide import slide as slide
from foveal.graph.trace import trace as trace
