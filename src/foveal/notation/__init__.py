"""The lectures' notation for chain networks, both ways: text ⇄ nn.Sequential.

    11-4Conv96 (ReLU) → Norm → 3-2MaxPool → 5-1-2Conv256 (ReLU) → … → FC4096 (Dropout, ReLU) → FC1000

| written | means |
|---|---|
| `X-YConvZ`, `X-Y-PConvZ` | convolution: window X in every dimension, stride Y, padding P (else 0), Z maps |
| `X-Y-P-DConvZ`, `…ConvZ/G` | the same with dilation D, and in G groups |
| `X-YMaxPool`, `X-Y-PAvgPool` | pooling: window X, stride Y, padding P; `(Ceil)` counts a last, partial window |
| `GlobalAvgPool` | the mean of every map |
| `FCZ` | fully connected with Z outputs; maps are flattened before it |
| `Flatten` | maps to a vector, where no FC follows |
| `Norm` | AlexNet's local response normalisation |
| `BN`, `ReLU`, `Tanh`, `Sigmoid`, `LeakyReLU 0.1`, `Dropout 0.3` | as named; slope 0.01 and rate 0.5 if not given |
| `PReLU` | ReLU whose slope below 0 is learnt, one for each map |
| `A (ReLU)`, `A (Dropout, ReLU)` | layers behind A; `(NoBias)` takes the bias from a convolution or FC |
| `[A → B]x3` | repeated |
| `→`, `->` | then |

Capitals and spaces do not matter. Printing writes one canonical form. The first size of a network comes with `input`:
(C, H, W) makes 2-D layers, (C, L) and (C, D, H, W) those of sequences and volumes. When a net branches, write Python.
"""

from foveal.notation.chain import build, parse
from foveal.notation.grammar import NotationError
from foveal.notation.printer import step_of, to_text

__all__ = ["NotationError", "build", "parse", "step_of", "to_text"]
