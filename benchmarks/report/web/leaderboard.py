"""The page `reports/index.html`: rows of all benchmarks in one table, with tracks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.files import write_text
from benchmarks.common.workspace import report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import MethodFacts, collect_facts
from benchmarks.report.style import method_looks
from benchmarks.report.tables import NONE, number, points
from benchmarks.report.web.charts import charts
from benchmarks.report.web.looks import dark_shade, symbol
from benchmarks.report.web.page import PAGE, render, scripts
from benchmarks.report.web.parts import OUTCOMES
from benchmarks.scoring.cases import EXTERNAL

Json = dict[str, Any]
HEADER = (
    "Dice, % [95 %]", "Difference, points [95 %]", "Outcome", "NSD, %", "HD95", "Failures", "Runs",
    "Patients",
)  # fmt: skip


def write_leaderboard(
    root: Path, configs: Mapping[str, BenchmarkConfig], told: Sequence[tuple[str, ...]]
) -> Path:
    """Write the leaderboard from the finished reports.

    A track is a data set with a labelled count and what all methods got the same of, steps or
    operations. Rows of different benchmarks inside a track were trained for different lengths, so
    the page compares inside a benchmark and says so.

    Args:
        root: the checkout, with reports.
        configs: benchmarks by name, in order; those without a report are left out.
        told: of every benchmark: name, page, question, data, runs and what came out.

    Returns:
        The page.
    """
    folder = report_folder(root, "")
    rows: list[Json] = []
    for name, config in configs.items():
        if (folder / name / "table.csv").is_file():
            rows += _rows(config, folder / name)
    made = {
        "name": "leaderboard",
        "rows": rows,
        "charts": {"means": charts()["means"]},
        "outcomes": OUTCOMES,
        "tracks": _tracks(rows),
    }
    text = render(
        "leaderboard.html.j2", made, header=HEADER, told=told, scripts=scripts("leaderboard.js")
    )
    write_text(folder / PAGE, text)
    return folder / PAGE


def _tracks(rows: Sequence[Json]) -> list[str]:
    """Those of patients first, then those with the most rows."""
    phantoms = {row["track"]: row["phantom"] for row in rows}
    counts = Counter(row["track"] for row in rows)
    return sorted(phantoms, key=lambda track: (phantoms[track], -counts[track], track))


def _rows(config: BenchmarkConfig, folder: Path) -> list[Json]:
    """The rows of a benchmark, last checkpoint."""
    table = pd.read_csv(folder / "table.csv", keep_default_na=False, na_values=[""])
    last = table[table["checkpoint"] == "last"]
    facts = collect_facts(config)
    methods = {(m.id, m.variant): m for m in facts.methods}
    datasets = {d.id: d for d in facts.datasets}
    looks = method_looks(facts)
    page = page_of(folder)
    found = []
    for row in last.to_dict("records"):
        variant = "" if pd.isna(row["variant"]) else str(row["variant"])
        method = methods.get((row["method"], variant)) or _outside(str(row["method"]), variant)
        dataset = datasets.get(row["dataset"])
        if method is None or dataset is None:
            continue  # a row that the benchmark no longer has
        look = looks.get(method.key)
        counts = [n for n in config.data[dataset.id].labels if not method.all_labels]
        words = f"{row['labels']} labelled" if counts else "all labelled"
        words += ", true labels of the others" if method.oracle else ""
        found.append(
            {
                "benchmark": config.name, "page": page, "method": method.title, "key": method.key,
                "dataset": dataset.title, "labels": int(row["labels"]),
                "track": f"{dataset.title}, {words}, equal {config.grid.equal}",
                "phantom": dataset.synthetic, "external": method.external,
                "steps": config.steps.get(method.key, config.train_for(dataset.id).iterations),
                "color": look.color if look else "#7A7A7A",
                "dark": dark_shade(look.color) if look else "#9AA0A8",
                "symbol": symbol(look.marker) if look else "circle",
                "baseline": method.baseline,
                "cells": _cells(row, dataset.unit),
                **{end: _percent(row[end]) for end in ("dice", "dice_low", "dice_high")},
            }
        )  # fmt: skip
    return found


def page_of(folder: Path) -> str:
    """The page of a benchmark from the folder of all: the one to explore, if it was made."""
    return f"{folder.name}/{PAGE if (folder / PAGE).is_file() else 'README.md'}"


def _outside(name: str, variant: str) -> MethodFacts | None:
    """An external row."""
    if variant != EXTERNAL:
        return None
    return MethodFacts(f"{name}-{variant}", name, variant, f"{name} (external)", external=True)


def _cells(row: Mapping[Any, Any], unit: str) -> list[tuple[str, float | str]]:
    """Text and sorting value of every column of `HEADER`."""
    dice, gain = (
        points(*(row[f"{name}{end}"] for end in ("", "_low", "_high")), sign=sign)
        for name, sign in (("dice", ""), ("difference", "+"))
    )
    outcome = "" if pd.isna(row["outcome"]) else str(row["outcome"])
    distance = number(row["hd95_mm"])
    return [
        (dice, _order(row["dice"])),
        ("" if gain == NONE else gain, _order(row["difference"])),
        (outcome, outcome),
        (number(100 * row["nsd"]), _order(row["nsd"])),
        (distance if distance == NONE else f"{distance} {unit}", _order(row["hd95_mm"])),
        *((str(int(row[name])), int(row[name])) for name in ("failed", "runs", "patients")),
    ]


def _order(value: float) -> float | str:
    return "" if math.isnan(value) else value


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * value, 4)
