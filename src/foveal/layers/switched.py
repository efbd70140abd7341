"""Encoder and decoder as one chain, in which poolings and unpoolings stand like brackets."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from foveal.layers.unpooling import MaxUnpool2d


class SwitchedChain(nn.Module):
    """A chain of layers whose every MaxUnpool2d undoes the last nn.MaxPool2d that is not undone: [N, C, H, W] → maps.

    Noh et al. (2015), figure 2; Badrinarayanan et al. (2017), figure 2. The layers are the children, by their names;
    only poolings and unpoolings that are children themselves are brackets.
    """

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


def vgg_encoder(in_channels: int = 3) -> OrderedDict[str, nn.Module]:
    """VGG-16's thirteen convolutions, each with batch normalisation, and its five poolings: conv1_1 … pool5."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for block, (maps, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, count + 1):
            layers[f"conv{block}_{number}"] = conv_bn_relu(channels, maps)
            channels = maps
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
