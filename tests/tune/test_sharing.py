"""Processes that share a study and are killed at random: no trial is lost or done twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.common.errors import ConfigError
from benchmarks.training.one import Place
from benchmarks.tune import database, study
from benchmarks.tune.database import Database
from benchmarks.tune.opening import open_study
from benchmarks.tune.sharing import ERROR, journal_in_use
from benchmarks.tune.study import Plan
from tests.launch.kills import note
from tests.tune.small import BASIS, make_plan, search

WORKERS = 4
TRIALS = 60


def work(folder: Path, url: str | None) -> optuna.Study:
    return search(make_plan(trials=TRIALS), folder, url, say=lambda _line: None)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that take a moment, and processes that are soon taken for dead."""

    def score(plan: Plan, trial: optuna.Trial, place: Place) -> float:
        del place
        drawn: float = plan.space[0].draw(trial)
        time.sleep(random.Random(trial.number).uniform(0.1, 0.4))
        return drawn

    monkeypatch.setattr(study, "score", score)
    monkeypatch.setattr(study, "_LOOK", 0.05)
    monkeypatch.setattr(database, "_HEARTBEAT", 1)
    monkeypatch.setattr(database, "_GRACE", 3)


def killed_at_random(folder: Path, url: str | None, kills: int) -> optuna.Study:
    """A study by four processes, of which one is killed and replaced again and again."""
    context, rng = get_context("fork"), random.Random(kills)

    def start() -> ForkProcess:
        process = context.Process(target=work, args=(folder, url))
        process.start()
        return process

    crew, killed = [start() for _ in range(WORKERS)], 0
    try:
        for _ in range(kills):
            time.sleep(rng.uniform(0.02, 0.25))
            victim = rng.choice(crew)
            assert victim.is_alive(), "the study is done before all kills; plan more trials"
            os.kill(victim.pid or 0, signal.SIGKILL)
            victim.join()
            killed += 1
            crew[crew.index(victim)] = start()
        for process in crew:
            process.join(60)
        assert [process.exitcode for process in crew] == [0] * WORKERS
    finally:
        for process in crew:
            process.kill()
    assert killed == kills
    return work(folder, url)


def counted(study: optuna.Study, kind: str, kills: int) -> tuple[int, int, int]:
    """Finished trials, those that were lost, and those that were done twice; noted."""
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    values = {trial.params["weight"] for trial in finished}
    begun = {
        t.params["weight"]
        for t in study.trials
        if t.params and database._SURPLUS not in t.user_attrs
    }
    lost, doubled = len(begun - values), len(finished) - len(values)
    counts = {"workers": WORKERS, "worker_kills": kills, "planned": TRIALS, "done": len(finished)}
    note(f"tune, {kind}", {**counts, "lost": lost, "doubled": doubled})
    states = {trial.state for trial in study.trials}
    assert states <= {TrialState.COMPLETE, TrialState.FAIL}
    assert not any(ERROR in trial.user_attrs for trial in study.trials)
    return len(finished), lost, doubled


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.launch)])
def test_a_journal_whose_workers_are_killed(kills: int, tmp_path: Path) -> None:
    found = killed_at_random(tmp_path, None, kills)
    assert counted(found, "journal", kills) == (TRIALS, 0, 0)
    # The trials of the dead are finished by others, so that none failed.
    assert len(found.trials) == TRIALS and not journal_in_use(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of a PostgreSQL server on loopback that ends with the tests."""
    folders = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    initdb, postgres = (
        next(filter(None, (shutil.which(name, path=f and str(f)) for f in folders)), None)
        for name in ("initdb", "postgres")
    )
    if initdb is None or postgres is None:
        pytest.skip("no PostgreSQL here; `apt-get install postgresql` brings it")
    pytest.importorskip("psycopg", reason="`python -m pip install '.[postgres]'` brings it")
    # The server refuses to run as root; the folder is not below pytest's, which is root's alone.
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"user": user, "stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([initdb, "-D", data, "-U", "tuner", "-A", "trust", "-N"], check=True, **quiet)
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    running = subprocess.Popen([postgres, "-D", data, *options], stderr=subprocess.DEVNULL, **quiet)
    url = f"postgresql://tuner@127.0.0.1:{port}/postgres"
    try:
        wait_for_server(port)
        yield url
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(30)
        shutil.rmtree(folder)


def wait_for_server(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.1)
        else:
            return


@pytest.mark.launch
@pytest.mark.usefixtures("stub")
def test_a_database_whose_workers_are_killed(server: str, tmp_path: Path) -> None:
    # A process that was killed between its question for a trial and its first sign of life.
    first = open_study(BASIS, name="s", folder=Path(), url=server).study
    with pytest.warns(UserWarning, match="Heartbeat"):
        first.ask().suggest_float("weight", 0.01, 1.0, log=True)
    found = killed_at_random(tmp_path, server, 20)
    assert counted(found, "PostgreSQL", 20) == (TRIALS, 0, 0)
    again = [t for t in found.trials if "failed_trial" in t.system_attrs]
    assert 0 in {t.system_attrs["failed_trial"] for t in again}
    for trial in again:  # with the same values, unless the first one had drawn none
        drawn = found.trials[trial.system_attrs["failed_trial"]].params
        assert not drawn or trial.params in (drawn, {})


@pytest.mark.launch
def test_a_server_that_is_not_there_is_named(server: str) -> None:
    wrong = server.replace("/postgres", "/nothing")
    with pytest.raises(ConfigError, match=r"cannot be used: .*\"nothing\" does not exist"):
        Database(wrong)


def test_addresses_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="no address of a database"):
        Database("my database")
