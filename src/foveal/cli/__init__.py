"""The command line: verbs only. Each reads its words, calls the Python function of the same name and prints."""

from __future__ import annotations

import io
import sys
import traceback
import warnings
from typing import Any, NoReturn, TextIO

import typer

from foveal import memory
from foveal.errors import FovealError


def main() -> None:
    """Run the command line. Exit status 2 for the user's mistake, 1 for ours, 130 after Ctrl-C; never a traceback
    unless --debug."""
    from foveal.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # into a file or a pipe Windows would write another encoding
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    memory.keep_freed()
    debug = "--debug" in sys.argv
    if not debug:
        warnings.showwarning = _Plainly()
    sys.argv = [word for word in sys.argv if word != "--debug"]  # it may stand anywhere
    try:
        sys.exit(app(prog_name="foveal", standalone_mode=False) or 0)  # the status of typer.Exit
    except FovealError as error:
        _leave(f"foveal: {error}", error, debug)
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "format_message"):
            _leave(_usage(error), error, debug)
        if debug:
            raise
        print(f"foveal: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of foveal; the same command with --debug shows where.", file=sys.stderr)
        sys.exit(1)


class _Plainly:
    """Shows a warning as one line on stderr, without the place in our code, and each text once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = str(message)
        if text not in self._said:
            self._said.add(text)
            print(f"foveal: warning: {text}", file=file or sys.stderr)


def _leave(message: object, error: BaseException, debug: bool) -> NoReturn:
    """The end of a command that was not given what it needs."""
    if debug:
        traceback.print_exception(error)
    else:
        print(message, file=sys.stderr)
    sys.exit(2)


def _usage(error: Any) -> str:
    """typer's own error in our form: an unknown verb or option, a missing argument; or a verb's help without any."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if "\n" in message:
        return str(message)
    verb = context.command_path if context else "foveal"
    return f"foveal: {message.rstrip('.')}\n`{verb} --help` shows what it takes"
