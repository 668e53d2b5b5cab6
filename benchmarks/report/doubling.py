"""What twice as many steps still gain in all studies of training lengths, for the findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from benchmarks.common.workspace import CONVERGENCE, report_folder
from benchmarks.report.convergence import read_lengths
from benchmarks.report.facts import method_facts
from benchmarks.report.leads import PERCENT, over_labels_alone, told_lead
from benchmarks.report.tables import pipe_table, points
from benchmarks.report.told import Told
from benchmarks.statistics.convergence import LEVEL, Gain, Lead, gains


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
            _gain(gain),
            f"{gain.runs}",
            gain.outcome,
        )
        for one, gain in _all(told, root)
    ]
    header = (
        "Benchmark", "Data", "Row", "Steps", f"Gain, points [{100 * LEVEL:.0f} %]", "Runs",
        "Outcome",
    )  # fmt: skip
    note = "Dice on validation patients; the outcome is of the shorter training."
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3, 6))}\n\n{note}" if rows else ""


def lead_section(told: Iterable[Told], root: Path) -> str:
    """What rows of every study gain over labels alone at every length; "" without a study.

    Args:
        told: benchmarks with their tables.
        root: the checkout, with reports.
    """
    rows = []
    for one in told:
        for path in _tables(one, root):
            baseline, found = over_labels_alone(one.config, read_lengths(path))
            for (dataset, labels, method), own in _by_row(found):
                title = method_facts(one.config, method).title
                data = one.place(dataset, labels)
                rows.append((one.link, data, f"{title} minus {baseline}", _at(own)))
    header = ("Benchmark", "Data", "Difference", f"Points [{PERCENT}], by steps")
    note = (
        "Dice on validation patients, both rows trained as long; it describes and decides nothing."
    )
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3))}\n\n{note}" if rows else ""


def _by_row(found: Iterable[Lead]) -> Iterator[tuple[tuple[str, int, str], list[Lead]]]:
    for key, own in groupby(found, key=lambda lead: (lead.dataset, lead.labels, lead.method)):
        yield key, list(own)


def _at(own: Iterable[Lead]) -> str:
    return "; ".join(f"{lead.steps:,}: {told_lead(lead)}" for lead in own)


def study_lines(told: Iterable[Told], root: Path) -> str:
    """What the last doubling of every study says of its rows, as a list; "" without a study.

    Args:
        told: benchmarks with their tables.
        root: the checkout, with reports.
    """
    lines = []
    for one in told:
        last = {(gain.dataset, gain.method): gain for _, gain in _all([one], root)}
        for outcome in ("converged", "unconverged"):
            names = "; ".join(
                f"{_title(one, gain)} ({_gain(gain)} points from twice as many)"
                for gain in last.values()
                if gain.outcome == outcome
            )
            steps = {f"{g.steps:,}" for g in last.values() if g.outcome == outcome}
            if names:
                lengths = ", ".join(sorted(steps))
                lines.append(f"- {outcome.title()} at {lengths} steps ({one.link}): {names}.")
    return "\n".join(lines)


def _all(told: Iterable[Told], root: Path) -> Iterator[tuple[Told, Gain]]:
    for one in told:
        for path in _tables(one, root):
            for gain in gains(read_lengths(path)):
                yield one, gain


def _tables(one: Told, root: Path) -> list[Path]:
    path = report_folder(root, one.config.name) / CONVERGENCE
    return [path] if path.is_file() else []


def _gain(gain: Gain) -> str:
    return points(gain.mean, gain.low, gain.high, sign="+")


def _title(one: Told, gain: Gain) -> str:
    return method_facts(one.config, gain.method).title
