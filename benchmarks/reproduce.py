"""Trains one run of a committed benchmark anew and compares it with what was committed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.device import pick_device
from benchmarks.common.errors import ConfigError, RunError, nearest
from benchmarks.common.workspace import (
    CASES,
    RUNS,
    STEPS,
    TRACES,
    prepared_folder,
    report_folder,
    split_file,
)
from benchmarks.config import BenchmarkConfig
from benchmarks.pipeline import all_runs, make_ready
from benchmarks.plan.grid import cell_name
from benchmarks.plan.identity import link_code, renew_link
from benchmarks.plan.resolve import Run, settings_digest
from benchmarks.report.cost import COST
from benchmarks.report.provenance import DIGESTS
from benchmarks.report.traces import trace_of
from benchmarks.scoring.evaluate import evaluate, weights_digests
from benchmarks.statistics.pairs import method_keys
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from benchmarks.twins import CHANGE, parting

# Relative difference of the first logged loss that the order of sums may explain, whatever the run.
# Our choice: far above float32 rounding (6e-8 an operation), far below what another draw of data
# changes. Where the first logged loss is that of a later step, twins tell what rounding has grown
# to; they are changed once and not in every operation, so that a few times as much is nothing else.
ROUNDING, TIMES = 1e-3, 3
SAME, _ROUNDED = "same bits", "same within rounding"
_CELL = ["labels", "fold", "seed"]


@dataclass(frozen=True)
class Reproduced:
    """What came out.

    Attributes:
        run: name of the run, `dataset/method/cell`.
        verdict: `same bits`, `same within rounding`, or `different: ` and the reason.
        facts: what was compared, in words.
    """

    run: str
    verdict: str
    facts: tuple[str, ...]


def reproduce(config: BenchmarkConfig, place: Place, cell: str = "") -> Reproduced:
    """Train a run in a folder of its own and compare it with the committed tables.

    Neither the benchmark's runs nor its reports are touched. Data are prepared first where they are
    not.

    Args:
        config: of the benchmark.
        place: of the checkout.
        cell: `dataset/method/l<labels>-f<fold>-s<seed>`; "" takes the first run of the grid that
            was committed, if possible one from a device like this one, since random draws of CPUs
            and cards differ.

    Raises:
        ConfigError: no such run in the grid.
        RunError: nothing was committed for it, or it cannot be trained.
    """
    root, folder = place.root, report_folder(place.root, config.name)
    make_ready(config, root)
    known = _committed(folder)
    devices = _devices(folder)
    device = pick_device(place.device).type
    alike = {name for name, at in devices.items() if _kind(at) == _kind(device)}
    run = _pick(config, root, cell, known, alike)
    sandbox = _sandbox(config, run.key.dataset, root)
    inside = Place(sandbox, place.device, place.threads, place.checkpoint_seconds)
    alone = _alone(config, run)
    (run,) = runs = all_runs(alone, sandbox)
    shutil.rmtree(run.key.folder(sandbox), ignore_errors=True)  # of an earlier call
    train_runs(runs, inside, jobs=1)
    scores = evaluate(alone, run.key.dataset, run.key.method, inside)
    found = _compare(run, folder, scores, weights_digests(runs, sandbox), inside)
    was = devices.get(found.run, device)
    if found.verdict != SAME and _kind(was) != _kind(device):
        told = f"committed from {was}, here trained on {device}, which draws other random numbers"
        found = replace(found, facts=(*found.facts, told))
    return found


def _kind(device: str) -> str:
    return device if device == "cpu" else "a card"


def _devices(folder: Path) -> dict[str, str]:
    """Device of every committed run, where it is known: `cpu`, or the name of a card."""
    if not (folder / COST).is_file():
        return {}
    rows = pd.read_csv(folder / COST, dtype={"device": str})
    cells = rows[["dataset", "method", *_CELL, "device"]].itertuples(index=False)
    return {f"{data}/{method}/{cell_name(*numbers)}": at for data, method, *numbers, at in cells}


def _committed(folder: Path) -> pd.DataFrame:
    path = folder / RUNS
    if not path.is_file() or not (folder / TRACES).is_file():
        raise RunError(
            f"'{folder}' holds no {RUNS} and {TRACES} to compare with; `report` writes them from"
            " finished runs"
        )
    return pd.read_csv(path, dtype=str)


def _pick(
    config: BenchmarkConfig, root: Path, cell: str, known: pd.DataFrame, preferred: set[str]
) -> Run:
    columns = ["dataset", "method", *_CELL]
    committed = {
        f"{dataset}/{method}/{cell_name(*numbers)}"
        for dataset, method, *numbers in known[columns].itertuples(index=False)
    }
    runs = {_name(run): run for run in all_runs(config, root)}
    if not cell:
        there = [name for name in runs if name in committed]
        if not there:
            raise RunError(f"no run of the grid of '{config.name}' was committed")
        cell = next((name for name in there if name in preferred), there[0])
    if cell not in runs:
        raise ConfigError(f"--cell '{cell}' is not in the grid: {nearest(cell, list(runs))}")
    if cell not in committed:
        raise RunError(f"nothing was committed for '{cell}'")
    return runs[cell]


def _name(run: Run) -> str:
    return f"{run.key.dataset}/{run.key.method}/{run.key.cell}"


def _alone(config: BenchmarkConfig, run: Run) -> BenchmarkConfig:
    """The benchmark with this run as its grid."""
    key = run.key
    part: dict[str, Any] = {"datasets": (key.dataset,), "methods": (key.method,), "baseline": None}
    part |= {"folds": (key.fold,), "seeds": (key.seed,)}
    block = config.data[key.dataset].model_copy(update={"labels": (key.labels,), "shares": ()})
    return config.model_copy(
        update={"grid": config.grid.model_copy(update=part), "data": {key.dataset: block}}
    )


def _sandbox(config: BenchmarkConfig, dataset: str, root: Path) -> Path:
    """A folder with links to code, data and split, so that its runs are its own."""
    sandbox = root / "data" / "reproduce" / config.name
    link_code(root, sandbox)
    for place in (split_file, prepared_folder):
        path = place(root, config.name, dataset)
        renew_link(sandbox / path.relative_to(root), path.resolve())
    return sandbox


def _compare(
    run: Run, folder: Path, scores: Path, weights: dict[str, str], place: Place
) -> Reproduced:
    key, name = run.key, _name(run)
    cell = {"dataset": key.dataset, "method": key.method, "labels": key.labels}
    cell |= {"fold": key.fold, "seed": key.seed}
    was = _rows(pd.read_csv(folder / RUNS, dtype=DIGESTS), cell).iloc[0]
    trace = _rows(pd.read_csv(folder / TRACES), cell).set_index("step")["loss"]
    now = trace_of(pd.read_csv(scores / STEPS)).set_index("step")["loss"]
    dice = {"committed": _dice(folder / CASES, cell), "here": _dice(scores / CASES, cell)}
    first = int(trace.index[0])
    then, here = float(trace[first]), float(now.get(first, float("nan")))
    apart = abs(here - then) / abs(then)
    facts = [
        f"loss at step {first}: committed {then:.6g}, here {here:.6g} (relative {apart:.1e})",
        "mean Dice of the last checkpoint: "
        + ", ".join(f"{where} {100 * value.mean():.2f} %" for where, value in dice.items()),
        f"largest difference of a case and class: {_largest(dice):.6f}",
    ]
    if was.get("weights") == weights[f"{key.cell} last"]:
        return Reproduced(name, SAME, tuple(facts))
    other = []
    made = {"code": run.code, "split": run.split, "data": run.data}
    made["settings"] = settings_digest(run.train, run.params)
    for column, value in made.items():
        if str(was[column]) != value:
            other.append(column)
            facts.append(f"committed was {column} {was[column]}, here it is {value}")
    # Generated or prepared on another processor, arrays differ in rounding: their losses decide.
    alike = apart <= ROUNDING
    if not alike and set(other) <= {"data"}:
        grown = parting(run, place, first)
        facts.append(
            f"rounding: twins whose first weights differ by {CHANGE:g} of their size part by up to"
            f" {grown:.1e} at step {first}"
        )
        alike = apart <= TIMES * grown
    if alike and set(other) <= {"data"}:
        verdict = _ROUNDED
        facts.append(
            f"step {first} alone is judged: what rounding has grown to by the last step may part"
            " scores as far as another seed"
        )
    elif other:
        verdict = f"different: the run was committed with other {', '.join(other)}"
    else:
        verdict = f"different: losses part from step {first} on"
    return Reproduced(name, verdict, tuple(facts))


def _rows(frame: pd.DataFrame, cell: dict[str, object]) -> pd.DataFrame:
    for column, value in cell.items():
        frame = frame[frame[column] == value]
    return frame


def _dice(path: Path, cell: dict[str, object]) -> pd.Series[float]:
    frame = pd.read_csv(path, keep_default_na=False)
    rows = _rows(frame.assign(method=method_keys(frame)), {**cell, "checkpoint": "last"})
    return rows.set_index(["case", "class"])["dice"].astype(float)


def _largest(dice: dict[str, pd.Series[float]]) -> float:
    return float((dice["committed"] - dice["here"]).abs().max())
