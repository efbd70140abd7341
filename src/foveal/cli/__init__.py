"""The command line: verbs only. Each reads its words, calls the Python function of the same name and prints."""

from __future__ import annotations

import sys

from foveal.errors import FovealError


def main() -> None:
    """Run the command line. Exit status 2 for the user's mistake, 1 for ours, 130 after Ctrl-C; never a traceback
    unless --debug."""
    from foveal.cli.app import app

    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]  # it may stand anywhere
    try:
        app()
    except FovealError as error:
        if debug:
            raise
        print(f"foveal: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)  # the reader of a pipe has left, as `foveal models | head` does
    except Exception as error:
        if debug:
            raise
        print(f"foveal: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of foveal; the same command with --debug shows where.", file=sys.stderr)
        sys.exit(1)
