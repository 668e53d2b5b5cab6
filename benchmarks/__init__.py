"""EGCL-Bench: fair comparison of semi-supervised medical image segmentation.

Run from the checkout as `python -m benchmarks`. The packages have generic names, so importing this
one checks that its neighbours are really the ones of this checkout.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

# Read when torch is loaded. Threads that wait for each other by spinning take the cores that the
# others need: on a busy machine two threads were three times as slow as two that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def _guard() -> None:
    """Stop if another installed package shadows `methods` or `datasets`.

    Raises:
        ImportError: names the intruder and the remedy.
    """
    root = Path(__file__).resolve().parents[1]
    for name in ("methods", "datasets"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin != root / name / "__init__.py":
            raise ImportError(
                f"package '{name}' resolves to {origin}, not to {root / name}; start from the"
                f" checkout (cd {root}) with `python -m benchmarks` and no intruder on PYTHONPATH"
            )


_guard()
