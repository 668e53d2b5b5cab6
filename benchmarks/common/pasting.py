"""Parts of the commands that messages name, written so that a shell reads them back."""

from __future__ import annotations

import shlex
from pathlib import Path


def params_options(params: Path, sweep: str | None = None) -> str:
    """Options that name a parameter file.

    Args:
        params: the file, or the name of a preset.
        sweep: of the file; "" and None are none.
    """
    words = ["--params", str(params), *(["--sweep", sweep] if sweep else [])]
    return shlex.join(words)
