"""`make gpu` on a machine that has CUDA, PyTorch and pip: fetch what else is needed, test, time.

Only the standard library and PyTorch are imported here. Packages go into `.gpu-packages`, with the
versions and digests of requirements.lock: from an index; or those that a folder holds, where the
machine itself must have the others, of whatever version.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".gpu-packages"
MINUTES = 8.0  # of a whole call at most, packages left out
# What the suite imports for training, figures and tests; the lock tells what these need.
ROOTS = (
    "einops", "h5py", "jinja2", "matplotlib", "medpy", "monai", "nibabel", "numpy", "pandas",
    "pillow", "psutil", "pydantic", "pytest", "pytest-benchmark", "pytest-xdist", "pyyaml",
    "requests", "rich", "ruamel-yaml", "ruamel-yaml-clib", "safetensors", "scikit-learn", "scipy",
    "seaborn", "typer",
)  # fmt: skip
# What is there already, and must fit the machine's CUDA.
OWN = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")


def refusal() -> str:
    """Why nothing can be done here; "" if it can."""
    try:
        import torch
    except ImportError:
        return (
            f"{sys.executable} has no PyTorch; set PYTHON to one that has, built for CUDA:"
            " nothing was run or written"
        )
    if torch.cuda.is_available():
        return ""
    return f"PyTorch {torch.__version__} sees no CUDA device here: nothing was run or written"


def needed(lock: str) -> list[str]:
    """Entries of a lock file that the roots need, those of PyTorch left out."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    names = [_package(entry) for entry in entries]
    wanted_by = {
        name: set(re.findall(r"^    # +(?:via )?([\w.-]+)$", entry, re.MULTILINE))
        for name, entry in zip(names, entries, strict=True)
    }
    found = set(ROOTS)
    while more := {n for n, by in wanted_by.items() if by & found and not OWN.fullmatch(n)} - found:
        found |= more
    return [entry for name, entry in zip(names, entries, strict=True) if name in found]


def held_by(folder: Path, entries: list[str]) -> list[str]:
    """Entries of a lock file of which a folder holds a file; the machine must have other roots.

    Raises:
        SystemExit: it has not.
    """
    there = {_name(re.split(r"-\d", file.name, maxsplit=1)[0]) for file in folder.glob("*-*")}
    own = {_name(found.metadata["Name"]) for found in distributions()}
    missing = sorted(set(ROOTS) - there - own)
    if missing:
        raise SystemExit(
            f"error: neither '{folder}' nor {sys.executable} has {', '.join(missing)}; on a"
            f" machine with an index: pip download --no-deps -d {folder} {' '.join(missing)}"
        )
    return [entry for entry in entries if _package(entry) in there]


def _package(entry: str) -> str:
    """Name of the package that an entry of a lock file is of."""
    return re.split(r"[=\[ ]", entry, maxsplit=1)[0]


def _name(text: str) -> str:
    """A package's name as lock files write it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def install(wheels: str) -> None:
    """Put the packages into their folder, unless they are there."""
    entries = needed((ROOT / "requirements.lock").read_text("utf-8"))
    if wheels:
        entries = held_by(Path(wheels), entries)
    text = "\n".join(entries) + "\n"
    listed, done = PACKAGES / "requirements.txt", PACKAGES / ".ready"
    if done.is_file() and done.read_text("utf-8") == text:
        return
    PACKAGES.mkdir(exist_ok=True)
    listed.write_text(text, "utf-8")
    # A package without a wheel is built by the setuptools that are there.
    source = ["--no-index", "--no-build-isolation", "--find-links", wheels] if wheels else []
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
            "--upgrade", "--target", str(PACKAGES), *source, "-r", str(listed),
        ],
        check=True,
    )  # fmt: skip
    done.write_text(text, "utf-8")


def main() -> int:
    """Test, then time for what is left of the minutes; the exit code of whatever failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", default="", help="folder with packages; else from an index")
    parser.add_argument("--mps", default="", help="pipe directory of a daemon of NVIDIA's MPS")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="most time")
    given = parser.parse_args()
    why = refusal()
    if why:
        sys.stderr.write(f"error: {why}\n")
        return 2
    install(given.wheels)
    started = time.monotonic()
    paths = [str(PACKAGES), os.environ.get("PYTHONPATH", "")]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    workers = max(2, min(8, (os.cpu_count() or 2) // 2))  # launches keep a core busy each
    tests = ["pytest", "tests/gpu", "-m", "gpu and not wide", "-n", str(workers), "-p",
             "no:cacheprovider"]  # fmt: skip
    try:
        ran = subprocess.run(
            [sys.executable, "-m", *tests], cwd=ROOT, env=around, timeout=60 * given.minutes
        )
        failed = ran.returncode
    except subprocess.TimeoutExpired:
        failed = 1
        sys.stderr.write(f"error: the tests took more than {given.minutes:g} minutes\n")
    left = given.minutes - (time.monotonic() - started) / 60
    timing = ["tests.gpu", "--minutes", f"{max(1.0, left - 0.5):.2f}", "--mps", given.mps]
    timed = subprocess.run([sys.executable, "-m", *timing], cwd=ROOT, env=around).returncode
    return failed or timed


if __name__ == "__main__":
    sys.exit(main())
