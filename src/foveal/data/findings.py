"""What the doctor says: one record for each thing that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its `kind` (a fixed word), severity, what, where, and what to do about it."""

    kind: str
    severity: Severity
    what: str
    places: tuple[str, ...]
    mend: str
