"""A run is trained by the code that its identity names, or not at all."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from socket import gethostname

from benchmarks.common.errors import RunError
from benchmarks.plan.identity import code_digest, digest_at_start
from benchmarks.plan.resolve import Run
from methods import load_method


def refuse_other_code(run: Run, root: Path) -> None:
    """Refuse a run that this process would train with other code than it was resolved with.

    Args:
        run: to be trained.
        root: the checkout.

    Raises:
        RunError: files were changed since, or another checkout launched it.
    """
    for found in _imported(root, run.key.base):
        if found != run.code:
            raise RunError(
                f"the checkout '{root}' on {gethostname()} has other code for {run.key.method}"
                f" ({found}) than the one with which this run was planned ({run.code}): a file was"
                " changed since the command started, or another checkout launched it. Bring both to"
                " the same state, for instance with `git pull`, and give the same command again"
            )


@lru_cache(maxsize=256)
def _imported(root: Path, method: str) -> tuple[str, str]:
    """Digests of a method's code when this process began, and now that all of it is imported.

    Once in a process: what it has imported stays, whatever is done to the files afterwards.
    """
    import benchmarks.engine.trainer  # noqa: F401 - before its files are read

    load_method(method)
    return digest_at_start(root, method), code_digest(root, method)
