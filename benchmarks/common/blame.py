"""Which line of a method's file an error comes from that nobody expected."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

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
    return f"{os.path.relpath(file, ROOT)}:{line}: {type(error).__name__}: {error}"
