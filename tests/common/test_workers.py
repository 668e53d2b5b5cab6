"""Worker processes: stops, kills, orphans, and what is told of every task."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from benchmarks.common.errors import BenchError, DataError, Interrupted, RunError
from benchmarks.common.signals import catching_stops, holding_stops, stop_asked
from benchmarks.common.workers import Report, run_tasks
from datasets.base import RawCase
from datasets.preparing import at_once
from datasets.preparing.at_once import map_cases
from tests.common.crew import (
    AT_ONCE,
    FAILED,
    HELD,
    INTERRUPTED,
    Work,
    command,
    endless,
    gone,
    held,
    named,
    set_sigint,
    until,
)  # fmt: skip

ROOT = Path(__file__).parents[2]
INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
INHERITED = {"default": signal.SIG_DFL, "ignored": signal.SIG_IGN}
MODES = {"fork": ["--fork"], "spawn": []}

Group = subprocess.Popen[str]


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    assert not stop_asked()


def started(folder: Path, *options: str, inherited: str = "default") -> Group:
    """The command in a process group of its own, as under a shell with a terminal."""
    return subprocess.Popen(
        command(folder, *options), cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=set_sigint(INHERITED[inherited]),
    )  # fmt: skip


def notes(folder: Path, kind: str) -> set[int]:
    return {int(path.stem) for path in folder.glob(f"*.{kind}")}


def pid_of(folder: Path, task: int) -> int:
    """Process that does a task, once it has begun."""
    until(lambda: (folder / f"{task}.began").is_file() and (folder / f"{task}.began").read_text())
    return int((folder / f"{task}.began").read_text())


def finished(process: Group, seconds: float = 20.0) -> int:
    """Exit code; nothing may be printed and no process may be left."""
    said, _ = process.communicate(timeout=seconds)
    assert not said
    until(partial(gone, process.pid), 2)
    return process.returncode


@pytest.mark.parametrize("inherited", INHERITED)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [INT, TERM])
def test_a_signal_stops_what_runs_and_starts_nothing(
    number: int, mode: str, inherited: str, tmp_path: Path
) -> None:
    process = started(tmp_path, *MODES[mode], inherited=inherited)
    until(lambda: len(notes(tmp_path, "began")) == 2)
    os.killpg(process.pid, number)
    assert finished(process) == INTERRUPTED
    assert notes(tmp_path, "began") == notes(tmp_path, "interrupted") == {0, 1}
    assert notes(tmp_path, "taken") == {0, 1} and not notes(tmp_path, "told")


@pytest.mark.parametrize("mode", MODES)
def test_tasks_that_do_not_ask_run_to_their_end_after_a_signal(mode: str, tmp_path: Path) -> None:
    process = started(tmp_path, *MODES[mode], "--seconds", "0.4", "--deaf")
    until(lambda: len(notes(tmp_path, "began")) == 2)
    os.kill(process.pid, INT)  # the parent alone
    assert finished(process) == INTERRUPTED
    assert notes(tmp_path, "began") == notes(tmp_path, "ended") == notes(tmp_path, "told") == {0, 1}


@pytest.mark.parametrize("first", [INT, TERM])
@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_after_a_signal_kills_what_runs(first: int, mode: str, tmp_path: Path) -> None:
    process = started(tmp_path, *MODES[mode], "--deaf")
    until(lambda: len(notes(tmp_path, "began")) == 2)
    os.killpg(process.pid, first)
    time.sleep(0.2)
    assert process.poll() is None  # tasks that do not ask go on
    os.killpg(process.pid, INT)
    assert finished(process, 5) == AT_ONCE
    assert not notes(tmp_path, "ended")


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_twice_kills_what_an_early_leave_waits_for(mode: str, tmp_path: Path) -> None:
    process = started(tmp_path, *MODES[mode], "--deaf", "--leave")
    until(lambda: len(notes(tmp_path, "began")) == 2)
    os.kill(pid_of(tmp_path, 0), KILL)
    until(lambda: notes(tmp_path, "told"))
    for _ in range(2):
        time.sleep(0.2)
        assert process.poll() is None
        os.killpg(process.pid, INT)
    assert finished(process, 5) == FAILED


def test_sigterm_twice_is_no_more_than_once(tmp_path: Path) -> None:
    process = started(tmp_path, "--fork", "--seconds", "0.5", "--deaf")
    until(lambda: len(notes(tmp_path, "began")) == 2)
    os.killpg(process.pid, TERM)
    time.sleep(0.05)
    os.killpg(process.pid, TERM)
    assert finished(process) == INTERRUPTED
    assert notes(tmp_path, "ended") == {0, 1}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [KILL, TERM])
def test_a_worker_that_is_ended_costs_its_task_alone(
    number: int, mode: str, tmp_path: Path
) -> None:
    process = started(tmp_path, *MODES[mode], "--seconds", "0.1", "--long", "1")
    os.kill(pid_of(tmp_path, 1), number)
    assert finished(process) == FAILED
    assert notes(tmp_path, "ended") == {0, 2, 3, 4, 5}
    told = {task: (tmp_path / f"{task}.told").read_text() for task in range(6)}
    assert [task for task, text in told.items() if text] == [1]
    assert ("killed, most often because memory" in told[1]) == (number == KILL)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", ["busy", "idle"])
def test_workers_leave_when_the_parent_is_killed(state: str, mode: str, tmp_path: Path) -> None:
    options = ["--seconds", "30"] if state == "busy" else ["--seconds", "0.01", "--slow", "30"]
    process = started(tmp_path, *MODES[mode], *options)
    until(lambda: notes(tmp_path, "began" if state == "busy" else "told"))
    assert not gone(process.pid)
    os.kill(process.pid, KILL)
    process.wait()
    until(partial(gone, process.pid), 2)


def interrupt_at_random(folder: Path, times: int, inherited: str, seed: int = 0) -> int:
    """Interrupt the command so many times; returns how many stopped, the others were done.

    Every begun task must have gone one way, and been told if it ended.
    """
    rng, stopped = random.Random(seed), 0
    for number in range(times):
        here = folder / str(number)
        here.mkdir()
        options = ["--tasks", "30", "--seconds", "0.02", *rng.choice([*MODES.values()])]
        process = started(here, *options, inherited=inherited)
        until((here / "0.taken").is_file)
        time.sleep(rng.uniform(0, 0.3))
        for _ in range(rng.choice([1, 1, 2])):
            if process.poll() is None:
                os.killpg(process.pid, rng.choice([INT, TERM]))
            time.sleep(rng.uniform(0, 0.02))
        code = finished(process)
        assert code in {0, INTERRUPTED, AT_ONCE}, (code, number)
        stopped += code != 0
        began, ended = notes(here, "began"), notes(here, "ended")
        assert len(began - ended - notes(here, "interrupted")) <= 2  # killed
        if code != AT_ONCE:
            assert notes(here, "interrupted") == began - ended
            assert notes(here, "told") == ended
        assert code or ended == set(range(30))
    return stopped


@pytest.mark.parametrize("inherited", INHERITED)
def test_interrupted_at_random_moments(inherited: str, tmp_path: Path) -> None:
    assert interrupt_at_random(tmp_path, 15, inherited) > 5


class Odd(Exception):  # noqa: N818
    """An exception that pickle writes but cannot read."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def fail(task: str, report: Report) -> object:
    report(task, 1, 2, "half")
    errors = {"data": DataError("named"), "value": ValueError("bug"), "odd": Odd("a", "b")}
    if task in errors:
        raise errors[task]
    return (lambda: 0) if task == "function" else task


def test_errors_come_back_with_type_place_and_progress() -> None:
    told: list[tuple[object, ...]] = []
    tasks = ["fine", "data", "value", "odd", "function"]
    outcomes = run_tasks(fail, tasks, 1, report=lambda *update: told.append(update), fork=True)
    fine, data, value, odd, function = outcomes
    assert told == [(task, 1, 2, "half") for task in tasks]
    assert fine.value() == "fine" and fine.error is None
    assert type(data.error) is DataError and str(data.error) == "named"
    with pytest.raises(ValueError, match="bug") as seen:
        value.value()
    line = next(
        n for n, s in enumerate(Path(__file__).read_text().splitlines(), 1) if "raise e" in s
    )
    place, trace = seen.value.__notes__
    assert place == f"{__file__}:{line}"
    assert "Traceback" in trace and "in fail" in trace
    assert isinstance(odd.error, BenchError) and str(odd.error) == f"{place}: Odd: ab"
    assert isinstance(function.error, BenchError) and "pickle" in str(function.error)
    assert [o.task for o in (fine, data, value, odd, function)] == tasks


def leave(task: int, report: Report) -> None:
    del task, report
    os._exit(5)


def test_workers_that_end_are_replaced_and_their_exit_code_told() -> None:
    outcomes = list(run_tasks(leave, [1, 2, 3, 4], 2, fork=True))
    assert sorted(outcome.task for outcome in outcomes) == [1, 2, 3, 4]
    for outcome in outcomes:
        with pytest.raises(RunError, match="exit code 5"):
            outcome.value()


def test_whoever_leaves_early_stops_the_workers_and_takes_no_task_ahead(tmp_path: Path) -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    with closing(run_tasks(Work(tmp_path, 0.05), tasks(), 2, fork=True)) as outcomes:
        next(outcomes)
    pids = {int(path.read_text()) for path in tmp_path.glob("*.began")}
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert multiprocessing.active_children() == []  # the second may not have begun a task
    assert len(taken) <= 4
    assert notes(tmp_path, "began") <= notes(tmp_path, "ended") | notes(tmp_path, "interrupted")


def test_forked_workers_start_in_milliseconds() -> None:
    list(run_tasks(fail, ["fine"], 1, fork=True))
    started_at = time.monotonic()
    for _ in range(5):
        assert [o.task for o in run_tasks(fail, ["fine", "too"], 2, fork=True)]
    assert (time.monotonic() - started_at) / 5 < 0.3


def test_a_stop_is_not_lost_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (INT, TERM)]
    with pytest.raises(Interrupted), catching_stops():
        with catching_stops():
            os.kill(os.getpid(), INT)
            assert stop_asked()
        assert stop_asked()
    assert [signal.getsignal(number) for number in (INT, TERM)] == before


def cases(*numbers: int) -> list[RawCase]:
    return [RawCase(str(n), "patient", (), None) for n in numbers]


LOST = """
import os, signal, sys, time
from benchmarks.common.signals import obeying_stops

class Odd:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

with obeying_stops():
    odd = Odd()
    del odd  # Python can only report what a finaliser raises
    for _ in range(1000):
        time.sleep(0.005)
    print("not reached")
"""


def test_a_signal_that_strikes_in_a_finaliser_is_not_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130 and not done.stdout
    assert done.stderr.startswith("stopped;") and len(done.stderr.splitlines()) == 1


WRAPPED = """
import os, signal, sys
from benchmarks.common.signals import obeying_stops

with obeying_stops():
    try:
        if sys.argv[1:]:
            os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
    raise ValueError("of a library in C, which wrapped the interrupt")
"""


def test_a_signal_that_a_library_wraps_is_obeyed() -> None:
    run = [sys.executable, "-c", WRAPPED]
    done, failed = (
        subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False)
        for args in ([*run, "strike"], run)
    )
    assert done.returncode == 130
    assert done.stderr.startswith("stopped;") and len(done.stderr.splitlines()) == 1
    assert failed.returncode == 1 and "ValueError" in failed.stderr


def test_a_second_ctrl_c_waits_for_what_is_held() -> None:
    ended = []
    with pytest.raises(KeyboardInterrupt), catching_stops():
        with holding_stops():
            for _ in range(2):
                os.kill(os.getpid(), INT)
            ended.append("write")
        ended.append("not reached")
    assert ended == ["write"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_cases_come_in_order_and_with_the_error_of_the_first(jobs: int) -> None:
    assert list(map_cases(named, cases(0, 3, 1, 4, 2), jobs)) == ["0", "3", "1", "4", "2"]
    taken: list[str] = []

    def counted() -> Iterator[RawCase]:
        for case in cases(1, 5, 6, *[0] * 40):  # slow ones, should a worker begin late
            taken.append(case.case)
            yield case

    mapped = map_cases(named, counted(), jobs)
    assert next(mapped) == "1"
    with pytest.raises(DataError, match="case 5"):
        next(mapped)
    assert len(taken) < 30


def test_a_killed_worker_of_cases_is_an_error() -> None:
    with pytest.raises(RunError, match="killed"):
        list(map_cases(named, cases(1, 9, 2), 2))


def test_cases_stop_within_one() -> None:
    taken: list[str] = []

    def counted() -> Iterator[RawCase]:
        for case in cases(7, *[HELD] * 29):
            taken.append(case.case)
            yield case

    mapped = map_cases(held, counted(), 2)
    assert next(mapped) == "7"
    os.kill(os.getpid(), INT)
    before = len(taken)
    with pytest.raises(Interrupted, match="run the same command again"):
        list(mapped)
    assert len(taken) <= before + 1 < 30


def test_a_case_that_does_not_end_soon_after_a_stop_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(at_once, "_GRACE", 0.2)
    mapped = map_cases(endless, cases(7, HELD, HELD), 2)
    assert next(mapped) == "7"
    os.kill(os.getpid(), INT)
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        list(mapped)
    assert time.monotonic() - begun < 5
