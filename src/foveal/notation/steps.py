"""The words of the notation: one record per kind of layer, whose `str` is its canonical spelling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """`X-Y-P-DConvZ/G`: X kernel, Y stride, P padding, D dilation, Z maps, G groups."""

    kernel: int
    stride: int
    maps: int
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True

    def __str__(self) -> str:
        numbers = [self.kernel, self.stride]
        if self.padding or self.dilation != 1:
            numbers.append(self.padding)
        if self.dilation != 1:
            numbers.append(self.dilation)
        return f"{'-'.join(map(str, numbers))}Conv{self.maps}{f'/{self.groups}' if self.groups != 1 else ''}"


@dataclass(frozen=True)
class Pool:
    """`X-Y-PMaxPool`: kind Max or Avg, X kernel, Y stride, P padding."""

    kind: str
    kernel: int
    stride: int
    padding: int = 0
    ceil: bool = False

    def __str__(self) -> str:
        padding = f"-{self.padding}" if self.padding else ""
        return f"{self.kernel}-{self.stride}{padding}{self.kind}Pool"


@dataclass(frozen=True)
class FC:
    """`FCZ`: fully connected, Z outputs."""

    outputs: int
    bias: bool = True

    def __str__(self) -> str:
        return f"FC{self.outputs}"


@dataclass(frozen=True)
class Plain:
    """A layer without a window, by its word; `value` is the slope of LeakyReLU or the rate of Dropout."""

    word: str
    value: float | None = None

    def __str__(self) -> str:
        return self.word if self.value is None or self.value == DEFAULTS[self.word] else f"{self.word} {self.value!r}"


Step = Conv | Pool | FC | Plain

DEFAULTS = {"LeakyReLU": 0.01, "Dropout": 0.5}
ATTACHED = ("BN", "ReLU", "LeakyReLU", "PReLU", "Tanh", "Sigmoid", "Dropout")  # written in brackets behind Conv and FC
WORDS = (*ATTACHED, "Norm", "GlobalAvgPool", "Flatten")


def spell(steps: list[Step]) -> str:
    """The canonical text of a chain."""
    written: list[tuple[str, list[str]]] = []
    behind = False  # whether an activation may be written in the brackets of the last layer
    for step in steps:
        if isinstance(step, Plain) and step.word in ATTACHED and behind:
            written[-1][1].append(str(step))
            continue
        behind = isinstance(step, Conv | FC)
        written.append((str(step), _options(step)))
    return " → ".join(f"{name} ({', '.join(extras)})" if extras else name for name, extras in written)


def _options(step: Step) -> list[str]:
    if isinstance(step, Conv | FC) and not step.bias:
        return ["NoBias"]
    return ["Ceil"] if isinstance(step, Pool) and step.ceil else []
