"""The one kind of error that is the user's to mend, and «did you mean»."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FovealError(Exception):
    """A mistake that the user can mend: what is wrong, where, and the way out.

    The command line prints it in one or two lines and exits with status 2. Any other exception is a fault of ours.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        self.what = what
        self.mend = mend
        super().__init__(f"{what}\n{mend}" if mend else what)

    def __reduce__(self) -> tuple[type[FovealError], tuple[str, str]]:
        return type(self), (self.what, self.mend)  # errors cross process borders (data workers)


def unknown(kind: str, name: str, known: Iterable[str], see: str = "") -> FovealError:
    """The error for a name that is not among `known`: the closest names, or all of them when nothing is close.

    `see` tells where long lists are to be found, and stands in their place.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return FovealError(f"unknown {kind} '{name}'", f"did you mean {' or '.join(close)}?")
    return FovealError(f"unknown {kind} '{name}'", see or (f"known: {', '.join(names)}" if names else ""))
