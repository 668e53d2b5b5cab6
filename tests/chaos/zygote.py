"""Starts commands in milliseconds, to be disturbed: `python -m tests.chaos.zygote`.

The process imports all that commands need, and forks for each. It reads a JSON object per line:
`{"args": [...], "root": DIR, "out": FILE, "ignored": BOOL, "strike": [...] or null}` is answered by
the number of the process and of its group, `{"wait": PID}` by its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.common.signals import obeying_stops
from benchmarks.common.workspace import ROOT
from tests.chaos.strike.sitecustomize import struck

# What commands import when they run.
_LAZY = (
    "benchmarks.cli", "benchmarks.engine.trainer", "benchmarks.pipeline",
    "benchmarks.plan.estimate", "benchmarks.report.contact", "benchmarks.report.diagnosis",
    "benchmarks.report.documents",
    "benchmarks.report.index", "benchmarks.report.provenance", "benchmarks.scoring.diagnose",
    "benchmarks.scoring.predict", "benchmarks.statistics.files", "benchmarks.statistics.simulate",
    "benchmarks.training.memory", "benchmarks.tune.search", "monai.inferers",
)  # fmt: skip
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    for name in _LAZY:
        importlib.import_module(name)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _ended(asked["wait"]) if "wait" in asked else _started(asked)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _started(asked: dict[str, Any]) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the command listens
    child = os.fork()
    if child:
        with suppress(PermissionError):  # the child was first
            os.setpgid(child, child)
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        _become(asked)
        code = _exit_code(importlib.import_module("benchmarks.cli").main)
    except BaseException:  # a bug of the command, told as Python would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(asked: dict[str, Any]) -> None:
    """Be like a command that a shell has started in the root."""
    root = Path(asked["root"])
    signal.signal(signal.SIGINT, signal.SIG_IGN if asked["ignored"] else signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, (path, mode) in enumerate(
        [(os.devnull, os.O_RDONLY), *[(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)] * 2]
    ):
        os.dup2(os.open(path, mode, 0o644), number)
    os.chdir(root)
    tempfile.tempdir = str(root / "tmp")
    for name, module in list(sys.modules.items()):
        if name.startswith("benchmarks.") and getattr(module, "ROOT", None) == ROOT:
            module.ROOT = root  # type: ignore[attr-defined]
    sys.argv = ["benchmarks", *asked["args"]]
    if asked["strike"]:
        module, function, *how = asked["strike"]
        struck(importlib.import_module(module), function, *how)


def _exit_code(command: Callable[[], None]) -> int:
    try:
        with obeying_stops():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


if __name__ == "__main__":
    main()
