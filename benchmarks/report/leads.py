"""What rows gain over labels alone at every length of training, in studies of convergence."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import method_facts
from benchmarks.report.tables import pipe_table, points
from benchmarks.statistics.convergence import Lead, leads
from benchmarks.statistics.inference import ALPHA

PERCENT = f"{100 * (1 - ALPHA):.0f} %"


def over_labels_alone(config: BenchmarkConfig, lengths: pd.DataFrame) -> tuple[str, list[Lead]]:
    """Differences to the first row that trains on labels alone, and its title.

    Args:
        config: the study, or the benchmark it belongs to.
        lengths: one row per run, as `convergence.csv` has them.

    Returns:
        Of all rows with as many labels, at every length; none where no row is on labels alone.
    """
    rows = (method_facts(config, key) for key in dict.fromkeys(lengths["method"]))
    first = next((row for row in rows if row.labels_alone), None)
    return ("", []) if first is None else (first.title, leads(lengths, first.key))


def lead_table(config: BenchmarkConfig, lengths: pd.DataFrame, steps: Sequence[int]) -> list[str]:
    """The differences of one data set and labelled count as Markdown: table and note; may be empty.

    Args:
        config: the study.
        lengths: its runs of that cell.
        steps: the lengths, a column each.
    """
    baseline, found = over_labels_alone(config, lengths)
    told = {(lead.method, lead.steps): told_lead(lead) for lead in found}
    rows = tuple(
        (method_facts(config, key).title, *(told.get((key, n), "") for n in steps))
        for key in dict.fromkeys(lead.method for lead in found)
    )
    if not rows:
        return []
    header = (f"Minus {baseline}, points [{PERCENT}]", *(f"{n:,} steps" for n in steps))
    note = (
        "Validation Dice minus that of a training of the same length on labels alone, to see at"
        " every length what a row gains. It describes and decides nothing."
    )
    return [pipe_table(header, rows, words=(0,)), note]


def told_lead(lead: Lead) -> str:
    """Points with their interval."""
    return points(lead.mean, lead.low, lead.high, sign="+")
