"""For the findings, what studies of training lengths tell: gains of doublings and of methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmarks.common.workspace import CONVERGENCE, report_folder
from benchmarks.report.convergence import RUNS_NEEDED, read_lengths, told_runs_needed
from benchmarks.report.facts import method_facts
from benchmarks.report.leads import PERCENT, over_labels_alone, told_lead
from benchmarks.report.tables import pipe_table
from benchmarks.report.told import Told
from benchmarks.statistics.convergence import LEVEL, Gain, Lead, gains
from benchmarks.statistics.inference import MARGIN

# How the outcomes of a row are told in a sentence.
_SHOWN = {"converged": "Shown to be converged", "unconverged": "Not shown to be converged"}


def study_section(told: Iterable[Told], root: Path) -> str:
    """Every doubling of every study as a table; "" without a study.

    Args:
        told: benchmarks with their tables.
        root: the checkout, with reports.
    """
    rows = [
        (
            one.link,
            one.place(gain.dataset, gain.labels),
            _title(one, gain),
            f"{gain.steps:,} to {2 * gain.steps:,}",
            told_lead(gain),
            f"{gain.runs}",
            told_runs_needed(gain),
            gain.outcome,
        )
        for one, gain in _all(told, root)
    ]
    header = (
        "Benchmark", "Data", "Row", "Steps", f"Gain, points [{100 * LEVEL:.0f} %]", "Runs",
        "Runs needed", "Outcome",
    )  # fmt: skip
    note = (
        "Dice on validation patients; the outcome is of the shorter training. A row is shown to be"
        f" converged if the interval of its gain lies below {100 * MARGIN:g} point; one that is not"
        f" still gains, where the interval lies above 0, or has too few runs to tell. {RUNS_NEEDED}"
    )
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3, 7))}\n\n{note}" if rows else ""


def lead_section(told: Iterable[Told], root: Path) -> str:
    """What rows of every study gain over labels alone at every length; "" without a study.

    Args:
        told: benchmarks with their tables.
        root: the checkout, with reports.
    """
    rows = []
    for one, lengths in _studies(told, root):
        baseline, found = over_labels_alone(one.config, lengths)
        for _, own in groupby(found, key=lambda lead: (lead.dataset, lead.labels, lead.method)):
            row = list(own)
            data = one.place(row[0].dataset, row[0].labels)
            difference = f"{_title(one, row[0])} minus {baseline}"
            at = "; ".join(f"{lead.steps:,}: {told_lead(lead)}" for lead in row)
            rows.append((one.link, data, difference, at))
    header = ("Benchmark", "Data", "Difference", f"Points [{PERCENT}], by steps")
    note = (
        "Dice on validation patients, both rows trained as long; it describes and decides nothing."
    )
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3))}\n\n{note}" if rows else ""


def study_lines(benchmarks: Iterable[Told], root: Path) -> str:
    """What the last doubling of every study says of its rows, as a list; "" without a study.

    Args:
        benchmarks: with their tables.
        root: the checkout, with reports.
    """
    lines = []
    for one in benchmarks:
        last = {(gain.dataset, gain.labels, gain.method): gain for _, gain in _all([one], root)}
        for outcome, told in _SHOWN.items():
            own = [gain for gain in last.values() if gain.outcome == outcome]
            names = "; ".join(
                f"{_title(one, gain)} ({told_lead(gain)} points from twice as many"
                f"{_more_runs(gain)})"
                for gain in own
            )
            if own:
                lengths = ", ".join(sorted({f"{gain.steps:,}" for gain in own}))
                lines.append(
                    f"- {told} at {lengths} steps ({one.link}), by validation Dice with"
                    f" {100 * LEVEL:.0f} % intervals: {names}."
                )
    return "\n".join(lines)


def _more_runs(gain: Gain) -> str:
    """What shows a row converged if it is, in place of longer training."""
    runs = told_runs_needed(gain)
    return f"; were there no gain, {runs} runs would show it" if runs else ""


def _all(told: Iterable[Told], root: Path) -> Iterator[tuple[Told, Gain]]:
    for one, lengths in _studies(told, root):
        for gain in gains(lengths):
            yield one, gain


def _studies(told: Iterable[Told], root: Path) -> Iterator[tuple[Told, pd.DataFrame]]:
    """Benchmarks that are studies of training lengths, with their kept tables."""
    for one in told:
        path = report_folder(root, one.config.name) / CONVERGENCE
        if path.is_file():
            yield one, read_lengths(path)


def _title(one: Told, row: Lead) -> str:
    return method_facts(one.config, row.method).title
