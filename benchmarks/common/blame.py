"""Errors in words, and which line of a method led to one that nobody expected."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from benchmarks.common.errors import BenchError
from benchmarks.common.workspace import ROOT

_METHODS = ROOT / "methods"
_SHARED = {"__init__", "base", "networks"}  # files in it that are no method


def blamed(error: BaseException) -> str:
    """An error in words, with the line of a method's file that led to it.

    Args:
        error: as it was caught.

    Returns:
        "methods/x.py:34: KeyError: 'a'"; "" if no file of `methods/` took part.
    """
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))  # of a file that was never run
    own = [frame for frame in frames if Path(frame[0]).is_relative_to(_METHODS)]
    # The line of a method says more than that of a block which it called.
    files = [f for f in own if Path(f[0]).parent == _METHODS and Path(f[0]).stem not in _SHARED]
    if not own:
        return ""
    file, line = (files or own)[-1]
    return _named(f"{os.path.relpath(file, ROOT)}:{line}", error)


def in_words(error: BaseException) -> str:
    """What to print of an error: its text, and of one that nobody expected its place and type.

    Args:
        error: as it was caught, or as a worker process answered with it.

    Returns:
        "/path/x.py:34: KeyError: 'a'", or as `blamed` says; the text alone of a `BenchError`.
    """
    if isinstance(error, BenchError):
        return str(error)
    return blamed(error) or _named(raised_at(error), error)


def raised_at(error: BaseException) -> str:
    """Where an error was raised, "/path/x.py:34"; "" if that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        return f"{frames[-1].filename}:{frames[-1].lineno}"
    # An error of a worker process comes without its frames, and with two notes: see `Outcome`.
    notes: list[str] = getattr(error, "__notes__", [])
    return notes[-2] if len(notes) > 1 else ""


def _named(place: str, error: BaseException) -> str:
    """Place, type and text, those of them that there are."""
    return ": ".join(filter(None, (place, type(error).__name__, str(error))))
