"""Folders that look like a checkout, as far as the code of stages and runs is looked at."""

from __future__ import annotations

from pathlib import Path

from benchmarks.common.workspace import ROOT


def link_code(root: Path) -> None:
    """Link the packages into a folder, which keeps splits of its own."""
    (root / "datasets").mkdir(parents=True, exist_ok=True)
    for name in ("benchmarks", "methods"):
        (root / name).symlink_to(ROOT / name)
    for path in {*(ROOT / "datasets").iterdir()} - {ROOT / "datasets" / "splits"}:
        (root / "datasets" / path.name).symlink_to(path)
