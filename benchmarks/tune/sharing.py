"""How processes, also of many machines, share the trials of a study.

Whichever way, no more trials are begun than are planned, and those of a process that is gone are
done by another one: in a journal the same trial, in a database, as Optuna does it, a new one with
the same values, while the old one counts as failed.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
    fail_stale_trials,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from benchmarks.common.errors import ConfigError, Interrupted
from benchmarks.common.lease import STALE_SECONDS, is_held, leased, waiting_for

JOURNAL = "journal.log"
_LEASE = ".lock"
# Seconds between signs of life of a process with a database, and after which it is taken for dead:
# later than its runs, so that whoever does its trial again can go on with them.
_HEARTBEAT = 60
_GRACE = int(STALE_SECONDS) + _HEARTBEAT
_TRIES = 5  # to open a database whose tables another process is making
# Attributes of a trial: its number, once it gave a sign of life; that it was asked for at once with
# the last one; what was wrong with it.
_BEGUN, _SURPLUS, ERROR = "begun", "surplus", "error"

_Retry = RetryHeartbeatStaleTrialCallback


class Sharing(Protocol):
    """Where a study is kept and how its trials are shared.

    Attributes:
        storage: of Optuna.
    """

    storage: BaseStorage

    def trial(self, study: optuna.Study, most: int) -> AbstractContextManager[optuna.Trial | None]:
        """A trial that is this process's while the block runs; None if others have all.

        Args:
            study: kept in `storage`.
            most: trials that are planned.
        """


def first_number(trial: optuna.Trial) -> int:
    """Number of a trial, or of the first one that it does again."""
    return _first(trial.study.get_trials(deepcopy=False)[trial.number])


def _first(trial: optuna.trial.FrozenTrial) -> int:
    with _experimental():
        again = _Retry.retried_trial_number(trial)
    return trial.number if again is None else again


def _lost(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that ended with their process and are not yet in the queue again."""
    trials = study.get_trials(deepcopy=False)
    with _experimental():
        again = {number for trial in trials for number in _Retry.retry_history(trial)}
    failed = [t for t in trials if t.state == TrialState.FAIL and t.number not in again]
    return [t for t in failed if not {_SURPLUS, ERROR} & t.user_attrs.keys()]


class Journal:
    """A file that processes share which see one disk; every trial is held by a lease.

    Attributes:
        storage: of Optuna.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        file = folder / JOURNAL
        self.storage: BaseStorage = JournalStorage(JournalFileBackend(str(file), _Writing(file)))

    @contextmanager
    def trial(self, study: optuna.Study, most: int) -> Iterator[optuna.Trial | None]:
        """See `Sharing.trial`; what a dead process left comes first."""
        with ExitStack() as held:
            with waiting_for(self._folder / f"next{_LEASE}"):
                found = self._left(study, held)
                if found is None and _open(study) < most:
                    found = study.ask()
                    held.enter_context(leased(self._lease(found.number)))
            yield found

    def _left(self, study: optuna.Study, held: ExitStack) -> optuna.Trial | None:
        """The first running trial that nobody holds."""
        number = self.storage.get_study_id_from_name(study.study_name)
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            try:
                held.enter_context(leased(self._lease(left.number)))
            except BlockingIOError:
                continue
            trial = self.storage.get_trial_id_from_study_id_trial_number(number, left.number)
            if self.storage.get_trial(trial).state == TrialState.RUNNING:
                return optuna.Trial(study, trial)
        return None

    def _lease(self, number: int) -> Path:
        return self._folder / f"trial-{number:04d}{_LEASE}"


def journal_in_use(folder: Path) -> bool:
    """Whether a process does a trial of the study in a folder, or writes its journal."""
    return any(is_held(lease) for lease in folder.glob(f"*{_LEASE}"))


def alone_with_journal(folder: Path) -> AbstractContextManager[object]:
    """Keep others from writing a journal while the block runs.

    Raises:
        BlockingIOError: one is writing.
    """
    return leased(folder / f"{JOURNAL}{_LEASE}")


class _Writing(JournalFileOpenLock):
    """One writer at a time; what a killed one left of its last line is cut off."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file = file
        self._held = ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(waiting_for(self._file.with_name(f"{JOURNAL}{_LEASE}")))
        with self._file.open("rb+") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            if size and stream.read(1) != b"\n":
                stream.truncate(self._file.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._held.close()


class Database:
    """A database that processes of many machines share; Optuna's heartbeats say who lives.

    Attributes:
        storage: of Optuna.

    Raises:
        ConfigError: it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._storage = _open_database(url)
        self.storage: BaseStorage = self._storage
        self._silent: dict[int, float] = {}  # trials without a sign of life; when seen first

    @contextmanager
    def trial(self, study: optuna.Study, most: int) -> Iterator[optuna.Trial | None]:
        """See `Sharing.trial`."""
        self._give_signs(study)
        with _experimental():
            fail_stale_trials(study)
            for lost in _lost(study):
                _Retry()(study, lost)
        found = self._ask(study, most)
        if found is None:
            yield None
            return
        number = self._storage.get_trial_id_from_study_id_trial_number(
            self._storage.get_study_id_from_name(study.study_name), found.number
        )
        try:
            with _beating(self._storage, number, found.number):
                yield found
        except (Interrupted, KeyboardInterrupt):  # others need not wait until it is stale
            study.tell(found, state=TrialState.FAIL, skip_if_finished=True)
            raise

    def _ask(self, study: optuna.Study, most: int) -> optuna.Trial | None:
        """A trial to be done again, or a new one.

        Of two processes that ask at once for the last one, or put one into the queue again at
        once, the second has to leave it.
        """
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not waiting and _open(study) >= most:
            return None
        with warnings.catch_warnings():  # which reminds of heartbeats; they are given
            warnings.simplefilter("ignore", UserWarning)
            trial = study.ask()
        if _open(study, before=trial.number) < most and not _done_by_another(trial):
            return trial
        trial.set_user_attr(_SURPLUS, value=True)
        study.tell(trial, state=TrialState.FAIL)
        return None

    def _give_signs(self, study: optuna.Study) -> None:
        """Let trials become stale whose process was killed before its first sign of life.

        Optuna knows none of those, and would leave them open for ever.
        """
        number = self._storage.get_study_id_from_name(study.study_name)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            seen = self._silent.setdefault(trial.number, time.monotonic())
            silent = trial.user_attrs.get(_BEGUN) != trial.number  # one done again has the first's
            if silent and time.monotonic() - seen > _GRACE:
                self._silent[trial.number] = float("inf")  # once
                self._storage.record_heartbeat(
                    self._storage.get_trial_id_from_study_id_trial_number(number, trial.number)
                )


def _open_database(url: str) -> RDBStorage:
    # The maintained driver, where SQLAlchemy would take its predecessor.
    url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    for left in reversed(range(_TRIES)):
        try:
            with _experimental():
                return RDBStorage(
                    url,
                    heartbeat_interval=_HEARTBEAT,
                    grace_period=_GRACE,
                )
        except (ArgumentError, NoSuchModuleError):
            raise ConfigError(
                "--storage: no address of a database; give one such as postgresql://user@host/name"
            ) from None
        except ImportError as error:
            raise ConfigError(
                f"--storage: {error}; `python -m pip install '.[postgres]'` in the checkout"
                " installs what PostgreSQL needs"
            ) from None
        except (SQLAlchemyError, StorageInternalError) as error:
            if not left:
                cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
                raise ConfigError(
                    f"--storage: the database cannot be used: {cause}; see whether it runs and its"
                    " address is right"
                ) from None
            time.sleep(0.2)
    raise AssertionError


def _open(study: optuna.Study, before: int | None = None) -> int:
    """Trials that have not failed, of those with lower numbers."""
    trials = study.get_trials(deepcopy=False)[:before]
    return sum(trial.state != TrialState.FAIL for trial in trials)


def _done_by_another(trial: optuna.Trial) -> bool:
    """Whether an earlier trial, that has not failed, does the same lost one again."""
    *earlier, own = trial.study.get_trials(deepcopy=False)[: trial.number + 1]
    return any(t.state != TrialState.FAIL and _first(t) == _first(own) for t in earlier)


@contextmanager
def _beating(storage: RDBStorage, trial: int, number: int) -> Iterator[None]:
    """Give signs of life while the block runs."""
    end = threading.Event()

    def beat() -> None:
        while not end.wait(_HEARTBEAT):
            with suppress(SQLAlchemyError, StorageInternalError):  # the next one may come through
                storage.record_heartbeat(trial)

    storage.record_heartbeat(trial)
    storage.set_trial_user_attr(trial, _BEGUN, number)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


@contextmanager
def _experimental() -> Iterator[None]:
    """What Optuna calls experimental has been there since 2.9 of 2021."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
