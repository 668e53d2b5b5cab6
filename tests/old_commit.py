"""Old commits: that before the audit, with which speed and mechanisms are compared, and others."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMIT = "6aa8532"


def check_out(target: Path, commit: str = COMMIT) -> Path:
    """Unpack the files of a commit into a folder; needs the history of the repository."""
    text = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=BytesIO(text.stdout)) as archive:
        archive.extractall(target, filter="data")
    return target
