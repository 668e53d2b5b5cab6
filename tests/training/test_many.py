"""Two processes that train the runs of one benchmark."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.common.errors import RunError
from benchmarks.common.files import read_json, write_json
from benchmarks.common.lease import leased
from benchmarks.common.workspace import RECORD
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import resolve
from benchmarks.training.many import train_with_others
from benchmarks.training.one import Place, lease_file
from tests.engine.small import build, make_config


def test_two_processes_of_other_parameters_do_not_train_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this one had finished, another one trained anew while it waited for the rest."""
    config = make_config(seeds=(0, 1), iterations=2)
    build(tmp_path, config)
    held, free = resolve(config, "phantom_acdc", "supervised", tmp_path)
    record = free.key.folder(tmp_path) / RECORD

    def slept(_seconds: float) -> None:
        write_json(record, {**read_json(record), "digest": "of other parameters"})

    monkeypatch.setattr("benchmarks.training.many.time.sleep", slept)
    with leased(lease_file(held, tmp_path)):
        words = f"'{record.parent}' with other parameters since; stop one of the two"
        with pytest.raises(RunError, match=re.escape(words)):
            train_with_others([held, free], Place(tmp_path, "cpu"), jobs=1)


def test_runs_of_others_are_waited_for_and_done_if_they_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other process stops without a result while this one waits."""
    config = make_config(seeds=(0, 1), iterations=2)
    build(tmp_path, config)
    held, free = resolve(config, "phantom_acdc", "supervised", tmp_path)
    with ExitStack() as other:
        other.enter_context(leased(lease_file(held, tmp_path)))

        def slept(seconds: float) -> None:
            assert seconds > 0 and finished(free, tmp_path) and not finished(held, tmp_path)
            other.close()

        monkeypatch.setattr("benchmarks.training.many.time.sleep", slept)
        train_with_others([held, free], Place(tmp_path, "cpu"), jobs=1)
    assert finished(held, tmp_path)
    told = capsys.readouterr().err
    assert "waiting for what others train; Ctrl-C ends it" in told
    assert "runs, with those of other processes: 1/2" in told
