"""Every command obeys Ctrl-C and SIGTERM at every moment, and goes on when it is given again.

`make chaos` does it and writes reports/reliability/stops.csv; a part is in `test_chaos.py`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.common.workspace import ROOT
from tests.chaos.small import (
    CHAIN,
    DATA,
    MADE,
    METHOD,
    METHODS,
    Zygote,
    copy_root,
    digests,
    leftovers,
    said,
)
from tests.common.crew import gone, set_sigint, until
from tests.noting import FOLDER, replace_row

INT, TERM = int(signal.SIGINT), int(signal.SIGTERM)
# How a command is asked: first signal, whether Ctrl-C was ignored when it began, times.
Way = tuple[int, bool, int]
WAYS: list[Way] = list(itertools.product((INT, TERM), (False, True), (1, 2)))
SECONDS = 2.0  # in which a command must be gone on an idle machine
CASES = "reports/tiny/cases.csv"


@dataclass(frozen=True)
class Moment:
    """When a command is struck.

    Attributes:
        what: in words.
        module: whose name for the function is replaced.
        function: called at that moment.
        call: the how manieth.
    """

    what: str
    module: str
    function: str
    call: int = 1


def training() -> list[Moment]:
    """Moments of a command that trains."""
    trainer, one = "benchmarks.engine.trainer", "benchmarks.training.one"
    return [
        Moment("first task", trainer, "Trainer.__init__"),
        Moment("middle", trainer, "Trainer.step", 2),
        Moment("validation", trainer, "validation_dice"),
        Moment("save", trainer, "save_state", 2),
        Moment("last step", trainer, "Trainer._finish"),
        Moment("record", one, "_write_record"),
        Moment("last task", "benchmarks.training.many", "train_run", 3),
    ]


_CARDIAC, _PREPARE = "datasets.phantoms.cardiac", "datasets.preparing.prepare"
_EVALUATE, _PREDICT = "benchmarks.scoring.evaluate", "benchmarks.scoring.predict"
_TRAIN = (DATA, METHOD)
_PREPARING = [
    Moment("first task", _PREPARE, "_prepare_case"),
    Moment("middle", _PREPARE, "_prepare_case", 5),
    Moment("save", _PREPARE, "fill_folder"),
    Moment("record", _PREPARE, "write_json", 15),
]
_REPORTING = [
    Moment("first task", "benchmarks.report.external", "load_rows"),
    Moment("middle", "benchmarks.report.style", "save", 2),
    Moment("save", "benchmarks.report.style", "write_bytes", 3),
]
_STUDY, _TUNED = "benchmarks.tune.study", "benchmarks.tune.results"
_DIAGNOSE, _DRAWN = "benchmarks.scoring.diagnose", "benchmarks.report.diagnosis"
_COST = "benchmarks.plan.cost"
# Command, what is removed before, and moments.
Row = tuple[tuple[str, ...], str | None, list[Moment]]
TABLE: list[Row] = [
    (CHAIN[0], MADE["fetch"], [
        Moment("first task", _CARDIAC, "_write_patient"),
        Moment("middle", _CARDIAC, "save_nifti", 10),
        Moment("save", "datasets.reading.generated", "write_json"),
    ]),
    (("prepare", DATA, "--jobs", "1"), MADE["prepare"], _PREPARING),
    (("prepare", DATA, "--jobs", "2"), MADE["prepare"], [
        _PREPARING[2], Moment("middle", "benchmarks.common.console", "Board.update", 4),
    ]),
    (("split", DATA), MADE["split"], [
        Moment("first task", "benchmarks.pipeline", "make_split"),
        Moment("save", "datasets.preparing.split", "write_json"),
    ]),
    (("run", *_TRAIN, "--jobs", "1"), f"runs/tiny/{DATA}/{METHOD}", training()),
    (("run", *_TRAIN, "--jobs", "2"), f"runs/tiny/{DATA}/{METHOD}", training()),
    (("evaluate", *_TRAIN), f"data/scores/tiny/{DATA}/{METHOD}", [
        Moment("first task", _EVALUATE, "open_trained"),
        Moment("middle", _EVALUATE, "_score", 8),
        Moment("save", _EVALUATE, "write_text", 2),
    ]),
    (("report",), MADE["report"], _REPORTING),
    (CHAIN[-1], MADE["predict"], [
        Moment("first task", _PREDICT, "prepare"),
        Moment("reading", "benchmarks.common.console", "Board.update", 4),
        Moment("middle", _PREDICT, "write_mask", 5),
        Moment("save", _PREDICT, "atomic_open", 2),
    ]),
    (("diagnose", *_TRAIN), "reports/tiny/diagnosis", [
        Moment("first task", _DIAGNOSE, "open_trained"),
        Moment("middle", _DIAGNOSE, "_projected"),
        Moment("save", _DRAWN, "write_text", 2),
    ]),
    (CHAIN[-2], MADE["tune"], [
        *training()[:3],
        Moment("data", "benchmarks.tune.sandbox", "_copy_cases"),
        Moment("second trial", _STUDY, "score", 2),
        Moment("results", _TUNED, "write_text", 2),
    ]),
    (("repro",), "data/prepared data/scores runs reports/tiny", [
        _PREPARING[2], Moment("split", "benchmarks.pipeline", "split_stage"), *training()[1:4],
        Moment("evaluation", _EVALUATE, "_score", 8), _REPORTING[1],
    ]),
    (("datasets", "check", DATA, "--jobs", "1"), None, [
        Moment("first task", "datasets.preparing.checks", "inspect_volume"),
        Moment("middle", "datasets.preparing.checks", "inspect_volume", 5),
        Moment("last step", "datasets.preparing.checks", "compare_cases"),
    ]),
    (("datasets", "show", DATA, "--jobs", "1"), "reports/datasets", [
        Moment("first task", "benchmarks.report.contact", "map_cases"),
        Moment("middle", "benchmarks.report.contact", "_picture", 2),
    ]),
    (("datasets",), None, [Moment("first task", "benchmarks.cli.data", "raw_folder")]),
    (("plan",), None, [
        Moment("first task", "benchmarks.plan.estimate", "_plain_step"),
    ]),
    (("methods", "--cost"), None, [
        Moment("first task", _COST, "method_cost"), Moment("middle", _COST, "_operations", 5),
    ]),
    (("compare", CASES, *METHODS), None, [
        Moment("first task", "benchmarks.statistics.files", "read_cases"),
    ]),
    (("power", CASES), None, [Moment("first task", "benchmarks.statistics.files", "read_cases")]),
    (("statistics", "simulate", "--benchmarks", "10"), "reports/statistics", [
        Moment("first task", "benchmarks.statistics.simulate", "rates"),
        Moment("middle", "benchmarks.statistics.simulate", "judged", 3),
        Moment("save", "benchmarks.statistics.simulate", "write_text"),
    ]),
    (("doctor",), None, [Moment("first task", "benchmarks.checkup", "environment")]),
]  # fmt: skip
IMPORTS = {  # when a command struck while it imports
    "typer": ("datasets",),
    "torch": ("run", *_TRAIN),
    "numpy": ("prepare", DATA),
    "pandas": ("report",),
    "matplotlib.figure": ("report",),
    "optuna": CHAIN[-2],
    "torch.nn": ("evaluate", *_TRAIN),
    "scipy": ("compare", CASES, *METHODS),
}


def ways_of(args: tuple[str, ...], number: int) -> list[Way]:
    """All ways for `run`; else half of them, with every pair of two choices."""
    if args[0] == "run":
        return WAYS
    return [w for w in WAYS if ((w[0] == INT) + w[1] + w[2] + number) % 2]


def undo(root: Path, made: str | None) -> None:
    for folder in (made or "").split():
        shutil.rmtree(root / folder, ignore_errors=True)
    if made == MADE["tune"]:
        shutil.rmtree(root / "data/tuning")


def obeyed(root: Path, mark: Path, code: int, ended: float) -> float:
    """Seconds that a struck command took to end, as it must."""
    text = said(root)
    assert mark.is_file(), f"the moment did not come:\n{text}"
    assert code == 130, text
    assert "run" in text and "again" in text, text
    assert "Traceback" not in text and "ignored" not in text, text
    assert leftovers(root) == []
    return ended - mark.stat().st_mtime


def struck(zygote: Zygote, root: Path, args: tuple[str, ...], moment: Moment, way: Way) -> float:
    """Strike a command at a moment; returns the seconds that it then took to end."""
    number, ignored, times = way
    mark = root / "tmp.mark"
    strike = (moment.module, moment.function, moment.call, number, str(mark))
    process = zygote.start(root, args, ignored=ignored, strike=strike)
    if times == 2:
        until(lambda: mark.is_file() or gone(process), 60)
        time.sleep(0.05)
        if not gone(process):
            os.killpg(process, INT)
    code = zygote.wait(process)
    seconds = obeyed(root, mark, code, time.time())
    for file in root.glob(f"{mark.name}*"):
        file.unlink()
    return seconds


def check_moment(
    zygote: Zygote,
    finished: Path,
    root: Path,
    command: tuple[tuple[str, ...], str | None],
    moment: Moment,
    way: Way,
) -> float:
    """Strike a command at a moment; given again, it must end as without that.

    Returns:
        Seconds that the struck command took to end.
    """
    args, made = command
    copy_root(finished, root)
    undo(root, made)
    seconds = struck(zygote, root, args, moment, way)
    if made:
        zygote.call(root, args)
        places = [*MADE.values(), *made.split()]
        expected, found = digests(finished, *places), digests(root, *places)
        assert {name: found.get(name) for name in expected} == expected
        assert leftovers(root) == []
    shutil.rmtree(root)
    return seconds


def interrupted_import(root: Path, module: str, number: int, *, ignored: bool) -> float:
    """Strike a command, in a Python of its own, when the import of a module begins."""
    mark = root / "tmp.mark"
    place = os.pathsep.join([str(Path(__file__).parent / "strike"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": place, "STRIKE": f"{module},{number},{mark}"}
    inherited = signal.SIG_IGN if ignored else signal.SIG_DFL
    with (root / "said.txt").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", *IMPORTS[module]],
            cwd=root, env=env, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=set_sigint(inherited),
        )  # fmt: skip
        code = process.wait(60)
    until(lambda: gone(process.pid), 2)
    seconds = obeyed(root, mark, code, time.time())
    mark.unlink()
    return seconds


@pytest.mark.parametrize("module", ["typer", "torch"])
def test_imports_are_left_at_once(module: str, finished: Path, tmp_path: Path) -> None:
    root = copy_root(finished, tmp_path / "root")
    assert interrupted_import(root, module, INT, ignored=True) < 5 * SECONDS


@pytest.mark.chaos
@pytest.mark.parametrize("module", IMPORTS)
def test_all_imports(module: str, finished: Path, tmp_path: Path) -> None:
    root = copy_root(finished, tmp_path / "root")
    ways = list(itertools.product((INT, TERM), (False, True)))
    slowest = max(interrupted_import(root, module, n, ignored=ignored) for n, ignored in ways)
    note(f"{' '.join(IMPORTS[module][:1])} at import of {module}", len(ways), slowest)


@pytest.mark.chaos
@pytest.mark.parametrize("row", TABLE, ids=lambda row: " ".join(row[0]))
def test_the_whole_table(row: Row, zygote: Zygote, finished: Path, tmp_path: Path) -> None:
    args, made, moments = row
    name = " ".join(a for a in args if a not in {DATA, METHOD, CASES, *METHODS})
    for number, moment in enumerate(moments):
        ways = ways_of(args, number)
        slowest = max(
            check_moment(zygote, finished, tmp_path / "root", (args, made), moment, way)
            for way in ways
        )
        note(f"{name}: {moment.what}", len(ways), slowest)


def note(moment: str, times: int, slowest: float) -> None:
    """Keep a row of the table; every strike that is counted was obeyed."""
    assert slowest < SECONDS, moment
    row = {"moment": moment, "strikes": times, "obeyed": times, "slowest_s": f"{slowest:.1f}"}
    replace_row(FOLDER / "stops.csv", row)
