"""A benchmark of seconds, and commands on it that are disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common.workspace import MACHINE, ROOT
from benchmarks.plan.identity import link_code
from tests.common.crew import gone, until

SEEDS = (0, 1, 2)  # more runs than jobs
METHODS = ("supervised", "mean_teacher")
PARAMS: dict[str, Any] = {
    "name": "tiny",
    "grid": {
        "datasets": ["phantom_acdc"], "methods": list(METHODS), "baseline": "supervised",
        "seeds": list(SEEDS),
    },
    "data": {
        "phantom_acdc": {
            "labels": [2],
            "fetch": {"patients": 7, "matrix": 32},
            "prepare": {"size": [32, 32]},
            "split": {"scheme": "seeded", "val": 2, "test": 2},
        }
    },
    "train": {
        "iterations": 6, "labeled_batch": 2, "unlabeled_batch": 2, "validations": 2,
        "network": {"kind": "unet", "channels": [4, 4, 8, 8]},
    },
    "methods": {name: {} for name in METHODS},
    "runtime": {"jobs": 2, "checkpoint_seconds": 0},
}  # fmt: skip
DATA, METHOD = "phantom_acdc", "mean_teacher"
# What a command makes, in the order of the flow; the last two are made beside it.
MADE = {
    "fetch": "data/raw",
    "prepare": "data/prepared",
    "split": "datasets/splits",
    "run": "runs",
    "evaluate": "data/scores",
    "report": "reports/tiny",
    "tune": "reports/tuning",
    "predict": "masks",
}
CHAIN: tuple[tuple[str, ...], ...] = (
    ("fetch", DATA),
    ("prepare", DATA),
    ("split", DATA),
    *(("run", DATA, method) for method in METHODS),
    *(("evaluate", DATA, method) for method in METHODS),
    ("report",),
    ("tune", DATA, METHOD, "--labels", "2", "--trials", "2", "--iterations", "3", "--jobs", "2"),
    ("predict", DATA, METHOD, "--raw", f"data/raw/{DATA}", "--out", "masks"),
)


def make_root(root: Path) -> Path:
    """A checkout as far as commands look at it: links to the code, and parameters."""
    (root / "tmp").mkdir(parents=True)
    link_code(ROOT, root)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return root


def copy_root(source: Path, target: Path) -> Path:
    """A copy in which unchanged files are shared: nothing finished is ever changed in place."""
    shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    return target


def digests(root: Path, *folders: str) -> dict[str, str]:
    """SHA-256 of every file under some folders, but for times and machines."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        # Of raw files, their places and times on this machine are noted beside the prepared data.
        if path.is_file() and path.name != MACHINE and not path.name.endswith(".raw.json")
    }


def leftovers(root: Path) -> list[str]:
    """What a stopped command must not leave: files that are half written, and folders of no use.

    What is inside of an unfinished run is removed when the run goes on.
    """
    return [
        str(path.relative_to(root))
        for pattern in ("**/.*.tmp", "**/*.filling", "**/*.damaged", "tmp/*")
        for path in root.glob(pattern)
        if path.parent.suffix != ".partial"
    ]


@dataclass
class Zygote:
    """Starts commands; see `tests.chaos.zygote`."""

    process: subprocess.Popen[str] = field(init=False)

    def __enter__(self) -> Zygote:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._line(120) == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _line(self, seconds: float) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if not ready:
            raise TimeoutError(f"no answer in {seconds} s")
        return self.process.stdout.readline().rstrip("\n")

    def _ask(self, request: dict[str, Any], seconds: float) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self._line(seconds))

    def start(
        self,
        root: Path,
        args: tuple[str, ...],
        *,
        ignored: bool = False,
        strike: tuple[object, ...] | None = None,
    ) -> int:
        """Start a command; returns its process, which leads a group of its own."""
        (root / "said.txt").unlink(missing_ok=True)
        request = {
            "args": args, "root": str(root), "out": str(root / "said.txt"),
            "ignored": ignored, "strike": strike,
        }  # fmt: skip
        return self._ask(request, 60)

    def answer(self) -> int:
        """What was not waited for long enough."""
        return int(self._line(60))

    def wait(self, process: int, seconds: float = 60) -> int:
        """Exit code of a command that has ended; no process of its group may be left."""
        code = self._ask({"wait": process}, seconds)
        until(lambda: gone(process), 10)
        return code

    def call(self, root: Path, args: tuple[str, ...]) -> None:
        """Do a command, which must succeed."""
        code = self.wait(self.start(root, args))
        assert code == 0, (args, said(root))


def said(root: Path) -> str:
    """What the last command wrote."""
    return (root / "said.txt").read_text()
