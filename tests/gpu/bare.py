"""`make gpu` on a machine that has CUDA, PyTorch and pip: fetch what else is needed, test, time.

Only the standard library and PyTorch are imported here. Packages go into `.gpu-packages`, with the
versions and digests of requirements.lock, from an index or from a folder of wheels.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".gpu-packages"
MINUTES = 8.0  # of a whole call, packages left out
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
    names = [re.split(r"[=\[ ]", entry, maxsplit=1)[0] for entry in entries]
    wanted_by = {
        name: set(re.findall(r"^    # +(?:via )?([\w.-]+)$", entry, re.MULTILINE))
        for name, entry in zip(names, entries, strict=True)
    }
    found = set(ROOTS)
    while more := {n for n, by in wanted_by.items() if by & found and not OWN.fullmatch(n)} - found:
        found |= more
    return [entry for name, entry in zip(names, entries, strict=True) if name in found]


def install(wheels: str) -> None:
    """Put the packages into their folder, unless they are there."""
    text = "\n".join(needed((ROOT / "requirements.lock").read_text("utf-8"))) + "\n"
    listed, done = PACKAGES / "requirements.txt", PACKAGES / ".ready"
    if done.is_file() and done.read_text("utf-8") == text:
        return
    PACKAGES.mkdir(exist_ok=True)
    listed.write_text(text, "utf-8")
    source = ["--no-index", "--find-links", wheels] if wheels else []
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
            "--upgrade", "--target", str(PACKAGES), *source, "-r", str(listed),
        ],
        check=True,
    )  # fmt: skip
    done.write_text(text, "utf-8")


def main(wheels: str) -> int:
    """Test, then time for what is left of the minutes; the exit code of whatever failed."""
    why = refusal()
    if why:
        sys.stderr.write(f"error: {why}\n")
        return 2
    install(wheels)
    started = time.monotonic()
    paths = [str(PACKAGES), os.environ.get("PYTHONPATH", "")]
    around = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    tests = ["pytest", "tests/gpu", "-m", "gpu and not wide", "-n", "4", "-p", "no:cacheprovider"]
    failed = subprocess.run([sys.executable, "-m", *tests], cwd=ROOT, env=around).returncode
    left = MINUTES - (time.monotonic() - started) / 60
    timing = ["tests.gpu", "--minutes", f"{max(1.0, left - 0.5):.2f}"]
    timed = subprocess.run([sys.executable, "-m", *timing], cwd=ROOT, env=around).returncode
    return failed or timed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
