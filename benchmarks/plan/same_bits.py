"""Code that trains the same bits as older code, so that runs of both are one.

A change of the engine gives every run another identity, also one that touches no weight, such as of
what is written beside them. `make samebits BEFORE=COMMIT` trains all settings of all presets in
miniature with both, and lists here the methods whose weights came out equal bit by bit.
"""

from __future__ import annotations

import csv
from pathlib import Path

TABLE = Path("benchmarks/plan/same_bits.csv")


def same_bits(root: Path) -> dict[tuple[str, str], str]:
    """What counts as the digest of a method's code.

    Args:
        root: the checkout.

    Returns:
        By method and the digest that its code has, that of the older code; code that is not listed
        counts as itself.
    """
    path = root / TABLE
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as stream:
        return {(row["method"], row["code"]): row["same_as"] for row in csv.DictReader(stream)}
