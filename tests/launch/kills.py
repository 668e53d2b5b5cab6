"""Counts of the tests that kill workers and launchers, for reports/scaling/kills.csv."""

from __future__ import annotations

from pathlib import Path

from tests.noting import replace_row

FOLDER = Path(__file__).parents[2] / "reports/scaling"


def note(test: str, counts: dict[str, int]) -> None:
    """Keep the counts of a test in place of older ones; a test of few kills keeps none."""
    columns = ("workers", "worker_kills", "launcher_kills", "planned", "done", "lost", "doubled")
    row = {name: counts.get(name, 0) for name in columns}
    if row["worker_kills"] + row["launcher_kills"] >= 10:
        replace_row(FOLDER / "kills.csv", {"test": test, **row})
