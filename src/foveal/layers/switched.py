"""Encoder and decoder as one chain, in which poolings and unpoolings stand like brackets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn

from foveal.layers.unpooling import MaxUnpool2d


class SwitchedChain(nn.Module):
    """A chain of layers whose every MaxUnpool2d undoes the last nn.MaxPool2d that is not undone: [N, C, H, W] → maps.

    Noh et al. (2015), figure 2; Badrinarayanan et al. (2017), figure 2. The layers are the children, by their names;
    only poolings and unpoolings that are children themselves are brackets. `classifier_name` is the network of
    torchvision's that the encoder was, `vgg_encoder`: its weights load in part.
    """

    classifier_name = "vgg16_bn"

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        x, pooled = images, []
        for layer in self.children():
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
            x = layer(x, pooled.pop()) if isinstance(layer, MaxUnpool2d) else layer(x)
        return x

    def names_elsewhere(self) -> Iterator[tuple[str, dict[str, str]]]:
        """torchvision's names of VGG-16's convolutions and batch norms → the names here. Its chain counts convolutions,
        norms, ReLUs and poolings."""
        names: dict[str, str] = {}
        number = 0
        for path, layer in self.named_children():
            unit = isinstance(layer, nn.Sequential)
            for place, part in enumerate(("conv", "bn") if unit else (), start=number):
                leaves = layer.get_submodule(part).state_dict()
                names |= {f"features.{place}.{leaf}": f"{path}.{part}.{leaf}" for leaf in leaves}
            number += 3 if unit else 1
            if path == "pool5":
                break
        yield "torchvision's VGG names", names


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int = 3, *, transposed: bool = False, padding: int | None = None
) -> nn.Sequential:
    """A convolution of stride 1, batch normalisation, ReLU, called conv (or deconv), bn, relu.

    `padding` None keeps the maps' size. The convolution has a bias, as in the Caffe networks of those years.
    """
    pad = kernel // 2 if padding is None else padding
    kind, name = (nn.ConvTranspose2d, "deconv") if transposed else (nn.Conv2d, "conv")
    layers: OrderedDict[str, nn.Module] = OrderedDict({name: kind(in_channels, out_channels, kernel, padding=pad)})
    layers["bn"] = nn.BatchNorm2d(out_channels)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def vgg_encoder(in_channels: int = 3, width: int = 64) -> OrderedDict[str, nn.Module]:
    """VGG-16's thirteen convolutions, each with batch normalisation, and its five poolings: conv1_1 … pool5; `width`
    maps in the first block, VGG's 64, and up to eight times as many."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for block, (factor, count) in enumerate(((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)), start=1):
        for number in range(1, count + 1):
            layers[f"conv{block}_{number}"] = conv_bn_relu(channels, factor * width)
            channels = factor * width
        layers[f"pool{block}"] = nn.MaxPool2d(2, 2)
    return layers


def initialise_he(model: nn.Module) -> None:
    """He et al. (2015), equation 10: weights N(0, 2 / fan-in) of convolutions and transposed ones, biases 0.

    The fan-in of a transposed convolution is the number of products in one of its outputs: k² maps in / stride².
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.ConvTranspose2d):
            products = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            nn.init.normal_(layer.weight, std=(2 * layer.stride[0] * layer.stride[1] / products) ** 0.5)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
