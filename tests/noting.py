"""What a user sees of an injected fault, kept for reports/reliability by `make faults`."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "reports/reliability"
_TEMPORARY = re.compile(r"/tmp/pytest-of-[^/]+/pytest-\d+/[^/]+")


def replace_row(table: Path, row: dict[str, object]) -> None:
    """Put a row into a CSV file in place of that with the same first value."""
    key, rows = next(iter(row)), []
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            rows = [dict(r) for r in csv.DictReader(stream) if r[key] != row[key]]
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, row], key=lambda r: str(r[key])))


def noted(fault: str, said: object) -> str:
    """Keep the message of a fault if `NOTE_FAULTS` is set; returns it in any case.

    Args:
        fault: what was done, in words.
        said: an exception, or what a command wrote to its error stream.
    """
    text = str(said)
    message = text.partition("error: ")[2] or text
    if os.environ.get("NOTE_FAULTS"):
        line = " ".join(_TEMPORARY.sub("DIR", message).split())
        replace_row(FOLDER / "faults.csv", {"fault": fault, "what the user sees": line})
    return text
