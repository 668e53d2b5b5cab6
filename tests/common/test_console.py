"""Progress on a terminal."""

from __future__ import annotations

import re
from itertools import count

import pytest

from benchmarks.common.console import Board


def test_a_thousand_finished_runs_do_not_fill_the_screen() -> None:
    """Drawing takes time for every bar that is kept; one that still runs stays."""
    with Board(interactive=True) as board:
        board.update("running", 1, 2)
        for number in range(1000):
            board.update(f"run {number}", 2, 2)
            board.update(f"run {number}", 2, 2, "with a last note")
        assert board._bars is not None
        names = [task.description for task in board._bars.tasks]
    assert names == ["running", *(f"run {number}" for number in range(992, 1000))]


def test_what_is_said_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Paths and reasons hold brackets, and are copied from the screen."""
    text = (
        "'/home/me/[old]/main': [/opt/torch/a.cpp] enforce fail; pip install '.[ray]' " + "x" * 99
    )
    with Board(interactive=True) as board:
        board.say(text)
    assert text in capsys.readouterr().err


def test_time_left_of_a_resumed_run_counts_what_it_did_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = count(0, 10)  # seconds between two looks
    monkeypatch.setattr("benchmarks.common.console.time.monotonic", lambda: next(clock))
    with Board(interactive=False) as board:
        board.update("run", 200, 400)
        board.update("run", 300, 400)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("run: 200/400  ")  # nothing is known yet
    # 100 steps took 10 s, so the last 100 take another 10 s.
    left = re.search(r"300/400, (\d+) s left", second)
    assert left and int(left[1]) == 10
