"""What a contract finds: a list of named checks, each with its verdict, the finding, the reason and the mend."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, TypeVar

from foveal.errors import FovealError

S = TypeVar("S")
_MARK = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


class Violation(Exception):  # noqa: N818 (a verdict, not an error)
    """Raised by a rule that does not hold; the text says what was found, and where."""


class Skip(Exception):  # noqa: N818 (a verdict, not an error)
    """Raised by a rule that cannot be decided; the text says why."""


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One rule: its name, why it matters, what to do if it fails, and the function that returns what it found."""

    name: str
    why: str
    mend: str
    check: Callable[[S], str]


@dataclass(frozen=True)
class Check:
    """The verdict on one rule."""

    name: str
    verdict: Literal["passed", "failed", "skipped"]
    found: str
    why: str
    mend: str


@dataclass(frozen=True)
class Report:
    """The verdicts of one contract on one subject."""

    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no rule failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The rules that failed."""
        return tuple(check for check in self.checks if check.verdict == "failed")

    def verdict(self, name: str) -> Check:
        """The verdict on the rule called `name`; KeyError if there is none."""
        return {check.name: check for check in self.checks}[name]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"subject": self.subject, "passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def text(self) -> str:
        """One line a rule; under those that failed, why the rule exists and how to mend it."""
        width = max(len(check.name) for check in self.checks)
        lines = [self.subject]
        for check in self.checks:
            head = f"  {_MARK[check.verdict]:7}  {check.name:<{width}}  "
            lines += textwrap.wrap(check.found, 120, initial_indent=head, subsequent_indent=" " * len(head)) or [head]
            if check.verdict == "failed":
                for label, words in (("why", check.why), ("mend", check.mend)):
                    lines += textwrap.wrap(
                        f"{label}: {words}", 110, initial_indent=" " * 11, subsequent_indent=" " * 17
                    )
        counts = [f"{n} {word}" for word in _MARK if (n := sum(check.verdict == word for check in self.checks))]
        return "\n".join([*lines, ", ".join(counts)])

    __str__ = text


def examine(subject: S, name: str, rules: Sequence[Rule[S]]) -> Report:
    """Apply the rules in turn. An exception of the subject's own code is a failure that names it, never ours."""
    checks = []
    for rule in rules:
        verdict: Literal["passed", "failed", "skipped"] = "passed"
        try:
            found = rule.check(subject)
        except Skip as skip:
            verdict, found = "skipped", str(skip)
        except Violation as violation:
            verdict, found = "failed", str(violation)
        except FovealError as error:
            verdict, found = "failed", error.what
        except Exception as error:  # foreign code may raise anything; which exception is the finding
            verdict, found = "failed", f"raised {described(error)}"
        checks.append(Check(rule.name, verdict, found, rule.why, rule.mend))
    return Report(name, tuple(checks))


def described(error: BaseException) -> str:
    """An exception in one line: its type, its first line, and the place in the code that is not torch's."""
    first = (str(error).strip().splitlines() or [""])[0][:160]
    place, step = "", error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if "/torch/" not in file.replace("\\", "/") and "foveal/contracts" not in file.replace("\\", "/"):
            place = f" ({file}:{step.tb_lineno})"
        step = step.tb_next
    return f"{type(error).__name__}: {first}{place}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in one line, the count of the rest behind."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
