"""Exit codes: 0 fine; 1 findings; 2 usage or unreadable input; 3 a bug in stowplan; 130 interrupted."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import typer

FINE, FINDINGS, USAGE, BUG, INTERRUPTED = 0, 1, 2, 3, 130


def guarded(run: Callable[..., Any]) -> int:
    """Run a command and turn how it ended into an exit code; a traceback is a bug report, never an answer."""
    if sys.stdout is None:
        sys.stderr.write("stowplan: standard output is closed\n")
        return USAGE
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        ended = run(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):
            return _silenced(FINE)
        return _flushed(done.code if isinstance(done.code, int) else FINE)
    except Exception as error:  # noqa: BLE001 - whatever else arrives here is a bug, and is reported as one
        return _answer(error)
    return _flushed(ended if isinstance(ended, int) else FINE)


def _answer(error: Exception) -> int:
    from stowplan.diagnostics import Refused

    if isinstance(error, Refused):
        from stowplan.cli.reports.text import write_text

        write_text(error.report, sys.stderr)
        return USAGE if error.unreadable else FINDINGS
    if isinstance(error, OSError):
        return _unwritable(error)
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        error.show()  # the parser's own words for wrong usage
        return USAGE
    return _bug(error)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unwritable(error, code)
    return code


def _unwritable(error: OSError, code: int = FINE) -> int:
    """Standard output takes nothing more: its reader has gone, which is no error, or its disk is full."""
    if isinstance(error, BrokenPipeError):
        return _silenced(code)
    sys.stderr.write(f"stowplan: {error.filename or 'standard output'}: {error.strerror or error}\n")
    return _silenced(USAGE)


def _silenced(code: int) -> int:
    """Nothing more can be said on standard output, the interpreter's own flush included."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _bug(error: Exception) -> int:
    import platform
    import traceback

    from stowplan import __version__

    sys.stderr.write(
        "stowplan has a bug; please report it with all that follows.\n\n"
        f"stowplan {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}\n"
        f"command: {' '.join(sys.argv[1:])}\n\n"
    )
    traceback.print_exception(error)
    return BUG
