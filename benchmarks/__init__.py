"""EGCL-Bench: fair comparison of semi-supervised medical image segmentation.

Run from the checkout as `python -m benchmarks`. The packages have generic names, so importing this
one checks that its neighbours are really the ones of this checkout.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


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
