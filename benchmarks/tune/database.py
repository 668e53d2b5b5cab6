"""Studies in a database: Optuna's heartbeats say which process lives."""

from __future__ import annotations

import shlex
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
    fail_stale_trials,
)
from optuna.trial import TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from benchmarks.common.errors import ConfigError, Interrupted
from benchmarks.common.lease import STALE_SECONDS
from benchmarks.tune.sharing import ERROR, begun

# Seconds between signs of life of a process, and after which it is taken for dead: later than its
# runs, so that whoever does its trial again can go on with them.
_HEARTBEAT = 60
_GRACE = int(STALE_SECONDS) + _HEARTBEAT
_TRIES = 5  # to open a database whose tables another process is making
# Attributes of a trial: its number, once it gave a sign of life; that it was asked for at once with
# the last one.
_BEGUN, _SURPLUS = "begun", "surplus"

_Retry = RetryHeartbeatStaleTrialCallback


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


class Database:
    """A database that processes of many machines share.

    Attributes:
        storage: of Optuna.

    Raises:
        ConfigError: it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._storage = _opened(url)
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

    def away(self, name: str) -> str:
        """See `Sharing.away`; its trials are lost, and a password is left out."""
        url = self._storage.engine.url.render_as_string(hide_password=True)
        return f"optuna delete-study --study-name {shlex.quote(name)} --storage {shlex.quote(url)}"

    def _ask(self, study: optuna.Study, most: int) -> optuna.Trial | None:
        """A trial to be done again, or a new one.

        Of two processes that ask at once for the last one, or put one into the queue again at
        once, the second has to leave it.
        """
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not waiting and begun(study) >= most:
            return None
        with warnings.catch_warnings():  # which reminds of heartbeats; they are given
            warnings.simplefilter("ignore", UserWarning)
            trial = study.ask()
        if begun(study, before=trial.number) < most and not _done_by_another(trial):
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


def _opened(url: str) -> RDBStorage:
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
