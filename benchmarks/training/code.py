"""Whether a process trains the code that a run is recorded with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from socket import gethostname

from benchmarks.common.errors import RunError
from benchmarks.plan.identity import code_digest
from benchmarks.plan.resolve import Run
from methods import load_method


@lru_cache(maxsize=256)
def _code_here(root: Path, method: str) -> str:
    """Code digest of this checkout, once in a process: what it has imported stays."""
    load_method(method)  # before the files are read, so that a later edit is not told as trained
    return code_digest(root, method)


def refuse_other_code(run: Run, root: Path) -> None:
    """Raise a RunError if this process would train other code than the run is to be recorded with.

    A worker imports a method with its first run of it, maybe hours after the command was given.
    """
    here = _code_here(root, run.key.base)
    if here != run.code:
        raise RunError(
            f"'{root}' on {gethostname()} has other code for {run.key.method} ({here}) than this"
            f" command began with ({run.code}): a file was edited meanwhile, or another machine has"
            " another state of it. Bring all to the same state, for instance with `git pull`, and"
            " give the command again"
        )
