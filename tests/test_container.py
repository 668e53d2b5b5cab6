"""The container files name what is there, and install the lock; no image is built."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "benchmarks/container/Dockerfile").read_text()
APPTAINER = (ROOT / "benchmarks/container/egcl-bench.def").read_text()
SCRIPT = "benchmarks/container/install.sh"
# Stands for Python: notes how it is called, and makes an environment with itself inside.
PYTHON = """#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; else echo "$@" >>calls; fi
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the images are built of, without what the `make` that runs the tests was given."""
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "VENV", "PYTHON"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(PYTHON)
    (tmp_path / "bin/python3").chmod(0o755)
    for name in ("requirements.lock", SCRIPT, "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def install(context: Path, device: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "install.sh", "venv", device], cwd=context, capture_output=True, text=True,
        check=False, env={"PATH": f"{context / 'bin'}:/usr/bin:/bin"},
    )  # fmt: skip


def test_both_images_are_made_of_files_that_are_here() -> None:
    copied = re.findall(r"^COPY (.+) \./$", DOCKERFILE, re.M)[0].split()
    placed = re.findall(r"^    (\S+) /opt/egcl-bench/\S+$", APPTAINER, re.M)
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert copied == placed == let_through == ["requirements.lock", SCRIPT]
    assert all((ROOT / name).is_file() for name in copied)
    bases = re.findall(r"^(?:FROM|From:) (.+)$", DOCKERFILE + APPTAINER, re.M)
    assert len(bases) == 2 and len(set(bases)) == 1
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=" + re.findall(r"python:(\d+\.\d+)-", bases[0])[0]
    for command in ("make repro", "sh install.sh /opt/venv", "git make"):
        assert command in DOCKERFILE and command in APPTAINER
    assert "\nrepro: setup" in (ROOT / "Makefile").read_text()


def test_the_whole_lock_is_installed_by_its_hashes_and_make_finds_it(context: Path) -> None:
    assert install(context, "cuda").returncode == 0
    calls = (context / "calls").read_text()
    assert calls == "-m pip install --no-cache-dir --quiet --require-hashes -r requirements.lock\n"
    make = ["make", "-n", "setup", "VENV=venv", "PYTHON=false"]
    done = subprocess.run(make, cwd=context, capture_output=True, text=True, check=True)
    assert "pip" not in done.stdout


@pytest.mark.parametrize(("folder", "given"), [("my bench", []), (".", ["VENV=my cache/venv"])])
def test_an_environment_whose_path_has_a_space_is_refused_with_one_that_works(
    context: Path, folder: str, given: list[str]
) -> None:
    """In the checkout's path or its own; its commands would be cut at the space."""
    place = context / folder
    place.mkdir(exist_ok=True)
    for name in ("requirements.lock", "Makefile"):
        (place / name).write_bytes((ROOT / name).read_bytes())
    make = ["make", "-n", "repro"]
    done = subprocess.run([*make, *given], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no path with a space" in done.stderr and not done.stdout
    (remedy,) = re.findall("`make repro (VENV=.+)`", done.stderr)
    done = subprocess.run([*make, remedy], cwd=place, capture_output=True, text=True, check=True)
    assert f"{remedy.removeprefix('VENV=')}/bin/dvc repro" in done.stdout


def test_without_cuda_all_but_torch_is_installed_by_hashes(context: Path) -> None:
    assert install(context, "cpu").returncode == 0
    first, second = (context / "calls").read_text().splitlines()
    assert "--require-hashes --no-deps -r venv/rest.lock" in first
    lock, rest = (
        (context / "requirements.lock").read_text(),
        (context / "venv/rest.lock").read_text(),
    )
    names = {text: re.findall(r"^([\w.-]+)==", text, re.M) for text in (lock, rest)}
    gone = set(names[lock]) - set(names[rest])
    assert {"torch", "torchvision"} < gone
    assert all(n in {"torch", "torchvision", "triton"} or n.startswith("nvidia-") for n in gone)
    entries = re.split(r"^(?=[\w.-]+==)", rest, flags=re.M)[1:]
    assert len(entries) == len(names[rest]) > 100 and all("--hash=sha256:" in e for e in entries)
    for name in ("torch", "torchvision"):
        version = re.findall(rf"^{name}==(\S+)", lock, re.M)[0]
        assert f" {name}=={version}" in second


def test_another_device_is_refused(context: Path) -> None:
    done = install(context, "rocm")
    assert done.returncode == 2 and "allowed: cuda, cpu" in done.stderr
