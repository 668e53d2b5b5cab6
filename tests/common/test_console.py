"""Progress on a terminal."""

from __future__ import annotations

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
