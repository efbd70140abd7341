"""What `foveal show` draws of a network: receptive fields and the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.cli.networks import is_run, opened
from foveal.cli.tables import table
from foveal.errors import FovealError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

_UNITS = 8  # channels whose gradients on a picture are averaged


@dataclass(frozen=True)
class Network:
    """The network that a command names, with its options and weights."""

    name: str
    options: Mapping[str, Any]
    weights: str | None
    partial: bool
    input: tuple[int, ...] | None

    def light(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The network without weights where it is no run, and its input."""
        import torch

        from foveal import catalog

        if is_run(self.name) or self.weights or self.partial:
            return self.whole()
        facts = catalog.facts(self.name)
        catalog.check_options(catalog.get("model", self.name), self.options)
        with torch.device("meta"):
            model = catalog.made(self.name, catalog.get("model", self.name), **self.options)
        return model, self._shape(facts.input if facts else None)

    def whole(self) -> tuple[nn.Module, tuple[int, ...]]:
        """The network with its weights, and its input."""
        model, usual = opened(self.name, self.options, self.weights, self.partial)
        return model, self._shape(usual)

    @property
    def trained(self) -> bool:
        """Whether its weights are not those of the initialisation."""
        return bool(self.weights) or is_run(self.name)

    def prepared(self, file: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """A picture as the network sees it: uint8 [C, H, W], and normalised [1, C, H, W]."""
        from foveal.data.image import load_image
        from foveal.data.pipeline import normalise
        from foveal.recipes.house import house
        from foveal.training.inputs import view
        from foveal.training.run import Run

        channels, height, width = _image_shape(shape)
        loaded = load_image(file, mode=None)
        if is_run(self.name):
            recogniser = Run(self.name).predictor(device="cpu")
            pixels = recogniser.pipeline.centre(recogniser.prepare(loaded)[None])
            return pixels[0], recogniser.placement.images(pixels, recogniser.recipe)
        recipe = house(self.name, input=(channels, height, width))
        pipeline = view(recipe)
        pixels = pipeline.centre(pipeline.prepare(loaded)[None])
        return pixels[0], normalise(pixels, recipe.mean, recipe.std)

    def _shape(self, usual: tuple[int, ...] | None) -> tuple[int, ...]:
        shape = self.input or usual
        if not shape:
            raise FovealError(f"no paper says the input of '{self.name}'", "give it: --input 3x224x224")
        return shape


def show_graph(network: Network, file: Path) -> str:
    """Draw the graph; what to print."""
    from foveal.report.network_graph import network_graph

    model, shape = network.light()
    return f"graph: {network_graph(model, shape, title=Path(network.name).name).save(file)}"


def show_fields(network: Network, layers: Sequence[str], image: str | None, out: Path | None, json_: bool) -> str:
    """The table of the fields, and with `out` their drawing and the effective field; what to print."""
    from foveal.graph.shapes import shapes
    from foveal.report.receptive_fields import draw_fields, effective_words, field_rows, fields_text

    model, shape = network.whole() if out else network.light()
    found = shapes(model, shape)
    rows = field_rows(found, shape)
    wanted = [row for row in rows if not layers or row["name"] in layers]
    names = [row["name"] for row in rows]
    for name in layers:
        if name not in names:
            raise unknown("layer", name, names)
    extra: dict[str, Any] = {}
    lines = []
    if out:
        from foveal.graph.effective_field import effective_field

        pixels, images = network.prepared(image, shape) if image else (None, None)
        if images is not None:
            images = images.expand(_UNITS, -1, -1, -1)  # each asks another channel
        measured = effective_field(model, shape, layers[-1] if layers else None, images=images)
        title = f"{Path(network.name).name}{'' if network.trained else ', untrained'}"
        sketch = draw_fields(found, shape, image=pixels, chosen=layers, effective=measured, title=title)
        side, start = measured.square()
        extra = {"effective": {"layer": measured.layer, "position": list(measured.position), "share": 0.95}}
        extra["effective"] |= {"side": side, "start": list(start)}
        extra["file"] = str(sketch.save(out))
        lines = ["", *effective_words(measured), f"drawing: {out}"]
    if json_:
        return json.dumps({"input": list(shape), "layers": wanted, **extra}, indent=2)
    header = ("layer", "output", "field", "stride", "first", "centre")
    return "\n".join([table(header, fields_text(wanted)), *lines])


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise FovealError(f"an input of {'x'.join(map(str, shape))} is no picture", "leave --image away")
    return shape[0], shape[1], shape[2]
