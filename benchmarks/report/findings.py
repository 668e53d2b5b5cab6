"""One page of what the benchmarks on patients say together, `reports/FINDINGS.md`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common.workspace import report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.estimate import grid_cost
from benchmarks.plan.sweeps import sweep_name
from benchmarks.report.doubling import lead_section, study_lines, study_section
from benchmarks.report.leaks import leak_section
from benchmarks.report.page import ADDED
from benchmarks.report.paper.literature import read_published
from benchmarks.report.short import short_lines
from benchmarks.report.tables import pipe_table, plural
from benchmarks.report.told import Told, read_told
from benchmarks.report.variants import variant_section
from benchmarks.statistics.difference import EXPLORATORY
from benchmarks.statistics.verdict import NO_VERDICT

FINDINGS = "FINDINGS.md"
_NO_FILE = "No benchmark on patients answers this yet."
# Published rows that train on labels alone, against which the others' gains are taken.
_ALONE = ("U-Net supervised", "V-Net supervised", "Supervised (SupBaseline)")
# Of which cost is told in multiples, and from which on two CPU cores would take weeks.
_UNIT, _GPU = "acdc_cpu", 50


def findings_page(root: Path, known: Mapping[str, BenchmarkConfig]) -> str:
    """The page as Markdown; every number on it is read from a report's tables.

    Args:
        root: the checkout, with reports.
        known: configuration of every benchmark, by name.
    """
    told = list(read_told(root, known))
    halved = [one for one in told if one.config.amp]
    usual = [one for one in told if not one.config.amp]
    pages = {
        "In short": "\n".join(filter(None, [short_lines(told), study_lines(told, root)])),
        "What do high-entropy features contribute?": _contrasts(usual),
        "What do other groups and splits of the contrast do?": variant_section(usual),
        "Which methods gain over labels alone?": _gains(told),
        "What do the controls give that no method is credited for?": _controls(told),
        "Which methods gain over the controls?": _over_controls(usual),
        "Does training in bf16 lose Dice?": _contrasts(halved, losses=True),
        "Is training converged?": study_section(told, root),
        "What do rows gain over labels alone at every length of training?": lead_section(
            told, root
        ),
        "How stable are the ranks?": _ranks(usual),
        "What does a partition add that tests patients of training?": leak_section(told, root),
        "Where does this differ from the literature?": _literature(told, root),
        "What is not measured, and what of it needs a GPU": _missing(root, known),
    }
    head = (
        "# Findings\n\nMade by `python -m benchmarks index` from the tables of benchmarks on"
        " patients; no figure is typed by hand. Differences are in Dice points of the last"
        " checkpoint on test patients with 95 % intervals, where nothing else is said; outcomes are"
        " by the one rule of"
        " [`statistics`](../benchmarks/statistics). A pilot has fewer than five runs, or too few"
        " patients, and is no verdict. Rows of two benchmarks with equal settings are the same."
        " What the rule takes for granted, such as folds that are independent though they share"
        " training patients, and what that may cost is [simulated](statistics/README.md)."
    )
    parts = [f"## {title}\n\n{text or _NO_FILE}" for title, text in pages.items()]
    return "\n\n".join([head, *parts]) + "\n"


def _points(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _contrasts(told: list[Told], *, losses: bool = False) -> str:
    """Declared contrasts, and which size of a gain, or of a loss, each excludes."""
    rows = []
    for one in told:
        declared = one.differences[one.differences["family"] == "declared"]
        for d in declared.to_dict("records"):
            pair = f"{one.title(d['better'])} minus {one.title(d['than'])}"
            place = one.link, one.place(d["dataset"], d["labels"]), d["name"], pair
            numbers = _contrast(d, losses=losses)
            rows.append((*place, *numbers, f"{d['outcome']}, {plural(d['runs'], 'run')}"))
    header = (
        "Benchmark", "Data", "Contrast", "Rows", "Points [95 %]", "p (Holm)", "Detectable, points",
        f"Excluded {'loss' if losses else 'gain'}, points", "Outcome",
    )  # fmt: skip
    if not rows:
        return _NO_FILE
    note = (
        "Detectable: with 80 % power, corrected as p and outcome are. Excluded: by the interval of"
        " a contrast alone."
    )
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3, 8))}\n\n{note}"


def _contrast(d: Mapping[Hashable, Any], *, losses: bool) -> tuple[str, str, str, str]:
    """Difference, corrected p, and what could be found and is excluded; empty without runs."""
    if d["outcome"] == "not tested":
        return "", "", "", ""
    silent = d["outcome"] in NO_VERDICT
    limit = -100 * d["low"] if losses else 100 * d["high"]
    excluded = f"none, {d['outcome']}" if silent else f"above {limit:.1f}" if limit > 0 else "any"
    difference = _points(d["mean"], d["low"], d["high"])
    return difference, f"{d['p_holm']:.3f}", f"{100 * d['detectable']:.1f}", excluded


def _outcomes(
    one: Told, outcomes: pd.Series[str], keys: pd.Series[str], than: str
) -> tuple[str, str, str]:
    """How many rows have which outcome, and the names of the better and of the worse ones."""
    words = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.value_counts().items())
    better, worse = (
        one.verdicts(keys[outcomes == word], than) or "none" for word in ("better", "worse")
    )
    return words, better, worse


def _gains(told: list[Told]) -> str:
    """How many methods got which outcome, at equal steps and at equal operations."""
    rows = []
    for one in told:
        baseline = one.facts.baseline
        if not one.alone or baseline is None:
            continue
        methods = one.table[one.table["key"].isin(one.methods)].dropna(subset="difference")
        for (dataset, labels), cell in methods.groupby(["dataset", "labels"]):
            at = one.link, one.place(dataset, labels), f"equal {one.config.grid.equal}"
            rows.append((*at, *_outcomes(one, cell["outcome"], cell["key"], baseline.key)))
    header = (
        "Benchmark", "Data", "At", "Outcomes of the methods", "Better than the baseline", "Worse",
    )  # fmt: skip
    return pipe_table(header, tuple(rows), words=(0, 1, 2, 3, 4, 5)) if rows else _NO_FILE


def _controls(told: list[Told]) -> str:
    rows: list[tuple[str, ...]] = []
    for one in told:
        if not one.alone:
            continue
        own = one.table[one.table["key"].isin(one.controls)].dropna(subset="difference")
        rows += [
            (
                *(one.link, one.place(r["dataset"], r["labels"]), one.title(r["key"])),
                _points(r["difference"], r["difference_low"], r["difference_high"]),
                str(r["outcome"]),
            )
            for r in own.to_dict("records")
        ]
    header = ("Benchmark", "Data", "Control", "Points [95 %]", "Outcome")
    return pipe_table(header, tuple(rows), words=(0, 1, 2, 4)) if rows else _NO_FILE


def _over_controls(told: list[Told]) -> str:
    """Outcomes of the methods against every row that learns from labels alone in a way of its own.

    Variants of one method are not counted as methods.
    """
    rows: list[tuple[str, ...]] = []
    for one in told:
        family = one.differences[one.differences["family"] == "controls"]
        for (dataset, labels, control), cell in family.groupby(
            ["dataset", "labels", "than"], sort=False
        ):
            if not one.alone or (cell["design"] == "none").all():
                continue
            added = f" ({EXPLORATORY})" * (one.config.grid.controls == EXPLORATORY)
            at = one.link, one.place(dataset, labels), f"{one.title(str(control))}{added}"
            rows.append((*at, *_outcomes(one, cell["outcome"], cell["better"], str(control))))
    header = (
        "Benchmark", "Data", "Control", "Outcomes of the methods", "Better than it", "Worse",
    )  # fmt: skip
    if not rows:
        return _NO_FILE
    note = (
        "A control below labels alone is easily beaten: loss terms are credited with a gain that"
        " the method has over labels alone and over every control."
    )
    if any(one.config.grid.controls == EXPLORATORY for one in told):
        note = f"{note} {ADDED}"
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 3, 4, 5))}\n\n{note}"


def _ranks(told: list[Told]) -> str:
    """Width of the rank intervals, and how many rows are separable from the best."""
    rows: list[tuple[str, ...]] = []
    for one in told:
        if not one.alone:  # variants of one row
            continue
        for (dataset, labels), cell in one.ranks.groupby(["dataset", "labels"]):
            width = float(np.median(cell["high"] - cell["low"] + 1))
            words = f"{width:.0f} of {len(cell)}", f"{int(cell['separable'].sum())}"
            own = one.table[(one.table["dataset"] == dataset) & (one.table["labels"] == labels)]
            if set(own["outcome"].dropna()) == {"pilot"}:  # whatever the scores
                words = "pilot", ""
            rows.append((one.link, one.place(dataset, labels), str(len(cell)), *words))
    header = (
        "Benchmark",
        "Data",
        "Ranked rows",
        "Median width of a rank interval",
        "Separable from the best",
    )
    return pipe_table(header, tuple(rows), words=(0, 1)) if rows else _NO_FILE


def _literature(told: list[Told], root: Path) -> str:
    """Gains over labels alone, published and here, where both name the method."""
    published = _published(root)
    rows: list[tuple[str, ...]] = []
    for one in told:
        own = one.table.dropna(subset="difference") if one.alone else one.table.head(0)
        for r in own.to_dict("records"):
            dataset = one.facts.titles[r["dataset"]].replace(" ", "")
            there = published.get((dataset, str(r["labels"]), one.title(r["key"])))
            if there is None:
                continue
            low, high = 100 * r["difference_low"], 100 * r["difference_high"]
            inside = sum(low <= gain <= high for gain in there)
            place = "inside" if inside == len(there) else "partly inside" if inside else "outside"
            rows.append(
                (
                    *(one.link, one.place(r["dataset"], r["labels"]), one.title(r["key"])),
                    ", ".join(f"{gain:+.1f}" for gain in there),
                    _points(r["difference"], r["difference_low"], r["difference_high"]),
                    f"{place} our interval{', a pilot' * (r['outcome'] == 'pilot')}",
                )
            )
    if not rows:
        return _NO_FILE
    header = (
        "Benchmark", "Data", "Method", "Published gains", "Gain here [95 %]", "Published is",
    )  # fmt: skip
    note = (
        "Published gains are over the supervised row of the same source, one figure for each source"
        " ([figures and sources](published_results.csv), where copied tables say so)."
        " They come from larger images and networks, other splits, one test set and mostly one run;"
        " on which patients each chose its checkpoint is in the [audit](../methods/README.md). A"
        " difference has these reasons too."
    )
    return f"{note}\n\n{pipe_table(header, tuple(rows), words=(0, 1, 2, 5))}"


def _published(root: Path) -> dict[tuple[str, str, str], list[float]]:
    """Published gains by data set, labelled count and method, one for each source."""
    given = read_published(root)
    alone = {
        (r["dataset"], r["labelled"], r["source"]): float(r["dice"])
        for r in given
        if r["method"] in _ALONE
    }
    gains: dict[tuple[str, str, str], list[float]] = {}
    for r in given:
        base = alone.get((r["dataset"], r["labelled"], r["source"]))
        if base is not None and r["method"] not in _ALONE:
            cell = (r["dataset"], r["labelled"], r["method"])
            gains.setdefault(cell, []).append(float(r["dice"]) - base)
    return gains


def _missing(root: Path, known: Mapping[str, BenchmarkConfig]) -> str:
    """Benchmarks and sweeps without a report, each with its question and cost."""
    there = {name for name in known if (report_folder(root, name) / "table.csv").is_file()}
    sweeps = {sweep_name(config, sweep) for config in known.values() for sweep in config.sweeps}
    # Of a benchmark without a report its sweeps are no news.
    news = {sweep_name(known[name], sweep) for name in there for sweep in known[name].sweeps}
    left = {n: c for n, c in known.items() if n not in there and n not in sweeps - news}
    if not left:
        return "Every benchmark and every sweep of this checkout has a report."
    rows = [(f"`{name}`", config.question, *_cost(config, known)) for name, config in left.items()]
    note = (
        f"Cost: counted operations in multiples of all runs of `{_UNIT}`, with networks taken as"
        f" equal; above {_GPU} times it needs a GPU. `python -m benchmarks plan --params NAME`"
        " times it in core hours."
    )
    header = ("Benchmark", "Question", "Cost", "Needs")
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 3))}\n\n{note}"


def _cost(config: BenchmarkConfig, known: Mapping[str, BenchmarkConfig]) -> tuple[str, str]:
    """What a benchmark costs, and whether CPU cores are enough; unknown without the unit."""
    if _UNIT not in known:
        return "", ""
    cost = grid_cost(config) / grid_cost(known[_UNIT])
    return f"{cost:,.0f}" if cost >= 1 else f"{cost:.2f}", "a GPU" if cost > _GPU else "CPU cores"
