"""Calls the command line without importing PyTorch anew: `python -m tests.common.forks` is forked.

The process imports what commands need of other packages, and none of this one, so that the code of
the folder in which a command is called is what runs. It reads a JSON object per line, `{"args":
[...], "cwd": DIR, "env": {...}, "out": FILE, "err": FILE}`, and answers with the exit code.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_USED = (
    "matplotlib.pyplot", "medpy.metric", "monai.inferers", "nibabel", "optuna", "pandas",
    "pydantic", "safetensors.torch", "scipy.stats", "seaborn", "segmentation_models_pytorch",
    "torch", "torch.utils.flop_counter", "typer", "yaml",
)  # fmt: skip


def call(*args: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks ARGS...` in a checkout."""
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        asked = {
            "args": args, "cwd": str(cwd), "env": {**os.environ, **env}, "out": str(out),
            "err": str(err),
        }  # fmt: skip
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(args, code, out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    """One for all calls of this process."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.common.forks"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.kill)
    return server


def main() -> None:
    for name in _USED:
        importlib.import_module(name)
    assert not any(name.split(".")[0] in {"benchmarks", "methods"} for name in sys.modules)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _command(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def _command(asked: dict[str, Any]) -> None:
    """Be a command that a shell has started; does not return."""
    code = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        sys.path[0] = asked["cwd"]
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[name]
        sys.argv = ["benchmarks", *asked["args"]]
        runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # told as Python would
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
