"""What a user sees of an injected fault, kept for reports/reliability by `make faults`."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "reports/reliability"
_TEMPORARY = re.compile(r"/tmp/pytest-of-[^/]+/pytest-\d+/[^/]+")


def replace_row(table: Path, row: dict[str, object], *, keys: int = 1) -> None:
    """Put a row into a CSV file in place of that with the same first values, `keys` of them."""
    replace_rows(table, [row], keys=keys)


def replace_rows(table: Path, new: Sequence[Mapping[str, object]], *, keys: int = 1) -> None:
    """Put rows with the same first values into a CSV file in place of all that have them."""
    columns = list(new[0])

    def key(row: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in columns[:keys])

    rows = list[Mapping[str, object]]()
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            rows = [dict(r) for r in csv.DictReader(stream) if key(r) != key(new[0])]
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, *new], key=key))


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
