"""Text → steps. Total: every text gives steps or a NotationError with a caret under the place."""

from __future__ import annotations

import dataclasses
import difflib
import re
from dataclasses import dataclass
from typing import NoReturn

from foveal.errors import FovealError
from foveal.notation.steps import DEFAULTS, FC, WORDS, Conv, Plain, Pool, Step

_DELIMITER = re.compile(r"→|->|[()\[\],]")
_NUMBER = r"([0-9]+)"
_CONV = re.compile(rf"{_NUMBER}-{_NUMBER}(?:-{_NUMBER})?(?:-{_NUMBER})?conv{_NUMBER}(?:/{_NUMBER})?")
_POOL = re.compile(rf"{_NUMBER}-{_NUMBER}(?:-{_NUMBER})?(max|avg)pool")
_FC = re.compile(rf"fc{_NUMBER}")
_PLAIN = re.compile(r"([a-z]+)([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)?")
_TIMES = re.compile(r"\s*[xX×*]\s*([0-9]+)")
_SPELLINGS = {word.lower(): word for word in WORDS} | {"batchnorm": "BN", "lrn": "Norm"}
_DASHES = str.maketrans("‐‑‒–−", "-----")
_MAX_LAYERS = 10_000
_MAX_DEPTH = 20
_SHOWN = 90

_ARROWS = "write → or -> between two steps"
_FORMS = {
    "conv": "a convolution is X-YConvZ or X-Y-PConvZ (window, stride, padding, maps), as in 3-1-1Conv64",
    "pool": "a pooling is X-YMaxPool or X-YAvgPool (window, stride), as in 3-2MaxPool, or GlobalAvgPool",
    "fc": "a fully connected layer is FCZ (outputs), as in FC1000",
}


class NotationError(FovealError):
    """A text that is no network: what is wrong, the text with a caret under the place, and the way out."""


@dataclass(frozen=True)
class Placed:
    """A step and where it stands in the text."""

    step: Step
    start: int
    end: int


def fail(text: str, start: int, end: int, what: str, mend: str = "") -> NoReturn:
    """Raise the NotationError for text[start:end]; a long text is cut around the place."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    left = max(0, min(start - 30, len(flat) - _SHOWN))
    right = left + _SHOWN
    head, tail = "…" if left else "", "…" if right < len(flat) else ""
    carets = "^" * max(1, min(end, right) - start)
    place = f"  {head}{flat[left:right]}{tail}\n  {' ' * (len(head) + start - left)}{carets}"
    raise NotationError(f"{what}\n{place}", mend)


def read(text: str) -> list[Placed]:
    """The steps of a network, repeats written out."""
    if not text.strip():
        raise NotationError("the notation is empty", "write a network, such as 5-1Conv6 (ReLU) → 2-2MaxPool → FC10")
    reader = _Reader(text)
    steps = reader.chain(0)
    if reader.at < len(text):
        fail(text, reader.at, reader.at + 1, "nothing is open that this could close", "take it away")
    return steps


class _Reader:
    """Recursive descent; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.plain = text.translate(_DASHES)

    at = 0

    def chain(self, depth: int) -> list[Placed]:
        """A → B → C, up to the end of the text or a closing bracket."""
        steps: list[Placed] = []
        while True:
            self._space()
            steps += self._repeat(depth) if self._take("[") else self._layer()
            if len(steps) > _MAX_LAYERS:
                fail(self.text, self.at - 1, self.at, f"more than {_MAX_LAYERS} layers", "is a number mistyped?")
            self._space()
            if not (self._take("→") or self._take("->")):
                break
        if self.at < len(self.text) and self.text[self.at] not in ")]":
            fail(self.text, self.at, self.at + 1, "the next step must follow an arrow", _ARROWS)
        return steps

    def _repeat(self, depth: int) -> list[Placed]:
        opened = self.at - 1
        if depth == _MAX_DEPTH:
            fail(self.text, opened, opened + 1, f"more than {_MAX_DEPTH} brackets in each other", "write it out")
        steps = self.chain(depth + 1)
        if not self._take("]"):
            fail(self.text, opened, opened + 1, "this bracket is never closed", "write [A → B]x3")
        times = _TIMES.match(self.text, self.at)
        if times is None:
            fail(self.text, self.at - 1, self.at, "how often is this repeated?", "write [A → B]x3")
        start, self.at = self.at, times.end()
        count = self._integer(times[1], start, self.at)
        if count < 1 or count * len(steps) > _MAX_LAYERS:
            fail(self.text, start, self.at, f"a repeat is 1 or more times, and {_MAX_LAYERS} layers in all at most")
        return steps * count

    def _layer(self) -> list[Placed]:
        start, word, end = self._word()
        step = self._step(word, start, end)
        steps = [Placed(step, start, end)]
        self._space()
        if self._take("("):
            opened = self.at - 1
            while True:
                steps[0] = self._extra(steps)
                if not self._take(","):
                    break
            if not self._take(")"):
                fail(
                    self.text, opened, opened + 1, "this bracket is never closed", "write as in FC4096 (Dropout, ReLU)"
                )
        return steps

    def _extra(self, steps: list[Placed]) -> Placed:
        """Read one word in brackets: add it to `steps`, or return the layer changed by it."""
        start, word, end = self._word()
        layer = steps[0]
        option = word.lower()
        if option == "nobias" and isinstance(layer.step, Conv | FC):
            return dataclasses.replace(layer, step=dataclasses.replace(layer.step, bias=False))
        if option == "ceil" and isinstance(layer.step, Pool):
            return dataclasses.replace(layer, step=dataclasses.replace(layer.step, ceil=True))
        if option in ("nobias", "ceil"):
            owners = "a convolution or FC" if option == "nobias" else "a pooling"
            fail(self.text, start, end, f"{word} belongs to {owners}", "take it away")
        step = self._step(word, start, end)
        if not isinstance(step, Plain):
            fail(self.text, start, end, f"{step} cannot stand in brackets", "write → before it")
        steps.append(Placed(step, start, end))
        return layer

    def _word(self) -> tuple[int, str, int]:
        """Everything up to the next delimiter, without spaces."""
        self._space()
        delimiter = _DELIMITER.search(self.plain, self.at)
        stop = delimiter.start() if delimiter else len(self.text)
        start, raw = self.at, self.plain[self.at : stop].rstrip()
        self.at = stop
        if not raw:
            fail(self.text, start, start + 1, "a layer is missing here", "steps are 3-1-1Conv64, 3-2MaxPool, FC10 …")
        return start, "".join(raw.split()), start + len(raw)

    def _step(self, word: str, start: int, end: int) -> Step:
        """The layer of one word."""
        low = word.lower()
        if (match := _CONV.fullmatch(low)) is not None:
            x, y, p, d, z, g = (self._integer(n, start, end) if n else None for n in match.groups())
            self._positive(start, end, window=x, stride=y, maps=z, dilation=d, groups=g)
            return Conv(x or 1, y or 1, z or 1, p or 0, d or 1, g or 1)
        if (match := _POOL.fullmatch(low)) is not None:
            x, y, p = (self._integer(n, start, end) if n else None for n in match.groups()[:3])
            self._positive(start, end, window=x, stride=y)
            return Pool(match[4].capitalize(), x or 1, y or 1, p or 0)
        if (match := _FC.fullmatch(low)) is not None:
            outputs = self._integer(match[1], start, end)
            self._positive(start, end, outputs=outputs)
            return FC(outputs)
        if (match := _PLAIN.fullmatch(low)) is not None and match[1] in _SPELLINGS:
            return self._plain(_SPELLINGS[match[1]], match[2], start, end)
        return self._unknown(low, start, end)

    def _plain(self, word: str, number: str | None, start: int, end: int) -> Plain:
        if word not in DEFAULTS:
            if number is not None:
                fail(self.text, start, end, f"{word} takes no number", f"write {word}")
            return Plain(word)
        value = DEFAULTS[word] if number is None else float(number)
        if not 0 <= value <= 1:
            fail(self.text, start, end, f"the number of {word} is between 0 and 1", f"write {word} {DEFAULTS[word]}")
        return Plain(word, value)

    def _unknown(self, low: str, start: int, end: int) -> NoReturn:
        shown = self.text[start:end] if end - start <= 40 else f"{self.text[start : start + 39]}…"
        known = f"known: X-YConvZ, X-YMaxPool, X-YAvgPool, FCZ, {', '.join(WORDS)}"
        fail(self.text, start, end, f"'{shown}' is not a layer", self._mend(low, self.plain[start:end]) or known)

    def _mend(self, low: str, raw: str) -> str:
        pieces = raw.split()
        if len(pieces) > 1 and all(re.search("[a-zA-Z]", piece) for piece in pieces):
            return _ARROWS
        name = re.sub("[0-9./-]", "", low)
        if name in _SPELLINGS:
            return f"write {_SPELLINGS[name]}"
        form = next((form for part, form in _FORMS.items() if part in low), "")
        close = difflib.get_close_matches(name, [*_SPELLINGS, "conv", "maxpool", "avgpool"], n=1)
        if close and not form:
            return f"did you mean {_SPELLINGS[close[0]]}?" if close[0] in _SPELLINGS else _FORMS[close[0][-4:]]
        return form

    def _integer(self, digits: str, start: int, end: int) -> int:
        if len(digits) > 9:
            fail(self.text, start, end, "a number with more than nine digits", "is it mistyped?")
        return int(digits)

    def _positive(self, start: int, end: int, **numbers: int | None) -> None:
        for name, number in numbers.items():
            if number == 0:
                fail(self.text, start, end, f"the {name} must be 1 or more")

    def _space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _take(self, token: str) -> bool:
        found = self.plain.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found
