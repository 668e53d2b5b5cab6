"""How processes, also of many machines, share the trials of a study.

Whichever way, no more trials are begun than are planned, and those of a process that is gone are
done by another one: in a journal the same trial, in a database, as Optuna does it, a new one with
the same values, while the old one counts as failed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import optuna
from optuna.storages import (
    BaseStorage,
    JournalStorage,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from benchmarks.common.lease import is_held, leased, waiting_for

JOURNAL = "journal.log"
_LEASE = ".lock"
# Attribute of a trial: what was wrong with it.
ERROR = "error"


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

    def away(self, name: str) -> str:
        """A shell command that puts a study out of the way of a new one of its name."""


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
                if found is None and begun(study) < most:
                    found = study.ask()
                    held.enter_context(leased(self._lease(found.number)))
            yield found

    def away(self, name: str) -> str:
        """See `Sharing.away`; the folder holds the one study."""
        del name
        folder = shlex.quote(str(self._folder))
        return f"mv {folder} {folder}-$(date +%s)"

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


def begun(study: optuna.Study, before: int | None = None) -> int:
    """Trials that have not failed, of those with lower numbers."""
    trials = study.get_trials(deepcopy=False)[:before]
    return sum(trial.state != TrialState.FAIL for trial in trials)
