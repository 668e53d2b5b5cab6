"""What the runs of a benchmark cost: counted operations, and time, memory and energy as measured.

Operations are counted and the same everywhere. What was measured differs between machines and days,
so it is no part of the scores: `report --cost` collects it from the runs that are here into
`cost.csv`, which later reports read as it is. So the same files give the same report.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common.errors import RunError
from benchmarks.common.files import read_json, write_text
from benchmarks.common.workspace import MACHINE, RECORD, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.cost import step_cost
from benchmarks.plan.grid import RunKey, base_of
from benchmarks.plan.resolve import method_params
from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.report.load import read_columns
from benchmarks.report.tables import csv, number, pipe_table, plural
from methods import load_method

COST = "cost.csv"
_RUN = ["dataset", "method", "labels", "fold", "seed", "digest"]
_MEASURED = ["seconds", "memory_mb", "energy_j"]
_MACHINE = ["processor", "device", "threads"]
COLUMNS = [*_RUN, *_MEASURED, *_MACHINE]
_DECIMALS = 1
# Times of the runs of a row that differ by more than this tell what else the machine did.
UNEVEN = 1.5


def operations(config: BenchmarkConfig, facts: Facts, key: str) -> float:
    """Counted operations of a run relative to supervision on as many images, 3 decimals."""
    if config.grid.equal == "operations":
        return 1.0
    usual = config.train_for(facts.datasets[0].id).iterations
    longer = config.steps.get(key, usual) / usual
    return round(longer * step_operations(config, facts, key), 3)


def step_operations(config: BenchmarkConfig, facts: Facts, key: str) -> float:
    """Counted operations of a step relative to one of supervision, 3 decimals."""
    params = method_params(config, key, facts.datasets[0].ndim)
    return round(step_cost(load_method(base_of(key)), params), 3)


def write_cost(
    config: BenchmarkConfig, runs: pd.DataFrame | None, root: Path, folder: Path
) -> Path:
    """Collect what the runs of a report have cost.

    Args:
        config: the benchmark.
        runs: identity of every run; of those that are not in `runs/`, what is known is kept.
        root: the checkout.
        folder: of the report.

    Returns:
        `cost.csv`: one row for each run, with seconds of training and validation, the largest
        memory of its process (on a GPU: of the card), and joules of the card where they are known.

    Raises:
        RunError: none of the runs is here.
    """
    wanted = [] if runs is None else _rows(runs)
    found = [_measured(config.name, row, root) for row in wanted]
    if not any(found):
        raise RunError(
            f"no run of {config.name} is in '{root / 'runs' / config.name}' as it was scored, so"
            " its cost is not known here; leave out --cost, which keeps what is known"
        )
    known = {}
    with suppress(RunError):  # a damaged table is made anew
        before = read_cost(runs, folder)
        known = {} if before is None else {_cell(row): row for row in _rows(before)}
    both = [one or known.get(_cell(run)) for one, run in zip(found, wanted, strict=True)]
    rows = [row for row in both if row]
    write_text(folder / COST, csv(pd.DataFrame(rows, columns=COLUMNS), decimals=_DECIMALS))
    return folder / COST


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _cell(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _RUN)


def _measured(benchmark: str, row: dict[str, Any], root: Path) -> dict[str, Any]:
    """A row of the table; empty if exactly that run is not here."""
    numbers = (int(row[name]) for name in ("labels", "fold", "seed"))
    folder = RunKey(benchmark, row["dataset"], row["method"], *numbers).folder(root)
    try:
        machine, record = read_json(folder / MACHINE), read_json(folder / RECORD)
        about = machine["environment"]
        if record["digest"] != row["digest"]:
            return {}
        return {
            **{name: row[name] for name in _RUN},
            "seconds": machine["seconds"],
            "memory_mb": about.get("peak_device_memory_mb", about["peak_memory_mb"]),
            "energy_j": about.get("card_energy_j", np.nan),
            **{name: about[name] for name in ("processor", "device", "threads")},
        }
    except (OSError, ValueError, KeyError):
        return {}


def measured_hours(root: Path, name: str, planned: int) -> float | None:
    """Core hours that all runs of a benchmark took, by its committed report.

    Args:
        root: the checkout.
        name: of the benchmark.
        planned: its runs.

    Returns:
        None where no report has them all, or a card trained some.

    Raises:
        RunError: the report's table is damaged.
    """
    path = report_folder(root, name) / COST
    if not path.is_file():
        return None
    table = _read_table(path)
    if len(table) != planned or set(table["device"]) != {"cpu"}:
        return None
    return float((table["seconds"] * table["threads"]).sum() / 3600)


def _read_table(path: Path) -> pd.DataFrame:
    again = "make it anew with `report --cost`, or remove it"
    text = dict.fromkeys(("digest", "processor", "device"), str)
    return read_columns(path, COLUMNS, what="table of costs", again=again, dtype=text)


def read_cost(runs: pd.DataFrame | None, folder: Path) -> pd.DataFrame | None:
    """The kept `cost.csv`, of those runs that the report is made of; None if there is none.

    Raises:
        RunError: the file is damaged.
    """
    if runs is None or not (folder / COST).is_file():
        return None
    table = _read_table(folder / COST)
    own = table.merge(runs[_RUN], on=_RUN)
    return None if own.empty else own


def cost_section(
    config: BenchmarkConfig, facts: Facts, cost: pd.DataFrame | None, runs: int
) -> str:
    """Tables of every data set: what was counted, and what was measured where that is known.

    Args:
        config: of the benchmark.
        facts: its rows.
        cost: what was measured of its runs; None of none.
        runs: that the report is made of.
    """
    if cost is None:
        header = ("method", "operations of a run")
        rows = tuple((m.title, f"{operations(config, facts, m.key):.2f}") for m in _own(facts))
        note = (
            "Operations of forward and backward passes are counted, relative to supervision on as"
            " many images. Time and memory were not kept; `report --cost` collects them from runs."
        )
        return f"{pipe_table(header, rows)}\n\n{note}"
    shown = on_one_machine(cost)
    of_each = [(shown[shown["dataset"] == d.id], d.title) for d in facts.datasets]
    parts = [_table(config, facts, own, title) for own, title in of_each]
    return "\n\n".join([*parts, _words(cost, shown, runs)])


def on_one_machine(cost: pd.DataFrame) -> pd.DataFrame:
    """Runs of the machine that has most rows, then most runs: times of two do not compare."""
    parts = [part for _, part in cost.groupby(_MACHINE)]
    return max(parts, key=lambda part: (len(part[["dataset", "method"]].value_counts()), len(part)))


def _own(facts: Facts) -> list[MethodFacts]:
    return [m for m in facts.rows if not m.external]


def _table(config: BenchmarkConfig, facts: Facts, cost: pd.DataFrame, title: str) -> str:
    energy = bool(cost["energy_j"].notna().any())
    header = ["method", "operations of a run", "runs", "minutes a run", "hours", "memory, MB"]
    header += ["card, kJ a run"] if energy else []
    rows = []
    for method in _own(facts):
        own = cost[cost["method"] == method.key]
        cells = [
            method.title, f"{operations(config, facts, method.key):.2f}", str(len(own)),
            number(own["seconds"].median() / 60, decimals=2),
            number(own["seconds"].sum() / 3600, decimals=2),
            number(own["memory_mb"].max(), decimals=0),
        ]  # fmt: skip
        cells += [number(own["energy_j"].median() / 1e3)] if energy else []
        rows.append(tuple(cells))
    return f"{title}:\n\n{pipe_table(tuple(header), tuple(rows))}"


def _words(cost: pd.DataFrame, shown: pd.DataFrame, runs: int) -> str:
    """How the numbers came about."""
    others = cost.drop(index=shown.index)
    beside = f" Not shown, for times of two machines do not compare: {_machines(others)}."
    beside = "" if others.empty else beside
    if runs > len(cost):
        beside += f" Of {plural(runs - len(cost), 'further run')} no time was kept."
    uneven = unevenness(shown)
    apart = (
        f" Of one row the slowest run took {uneven:.1f} times as long as the fastest, so minutes do"
        " not compare rows, and the figure is over operations."
    )
    return (
        f"Measured: {_machines(shown)}.{beside}"
        f"{apart if uneven > UNEVEN else ''} Minutes are the median over"
        " the runs, validation"
        " included, with whatever else the machine did; memory is the largest of a worker process,"
        " which may have had runs before, or on a GPU of the run. Operations are counted, relative"
        " to supervision on as many images."
    )


def unevenness(cost: pd.DataFrame) -> float:
    """How many times as long as its fastest the slowest run of a row took, of the worst row."""
    times = cost.groupby(["dataset", "method"])["seconds"]
    return float((times.max() / times.min()).max())


def _machines(cost: pd.DataFrame) -> str:
    kinds = cost[_MACHINE].value_counts(sort=False).reset_index()
    return "; ".join(
        f"{plural(kind['count'], 'run')} on"
        f" {kind['processor'] if kind['device'] == 'cpu' else kind['device']}"
        f" ({plural(kind['threads'], 'thread')})"
        for kind in _rows(kinds)
    )
