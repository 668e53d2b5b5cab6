"""Progress of many runs: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Plain lines appear when this share of a task has passed since the last one.
_LINE_SHARE = 0.25
# Finished bars that stay in sight.
_KEPT = 8


@dataclass
class _Line:
    """A task that plain lines tell of.

    Attributes:
        started: when it was first heard of.
        first: share that was done then; a task that is resumed begins far above 0.
        shown: share at its last line.
    """

    started: float
    first: float
    shown: float = 0.0

    def left(self, share: float) -> str:
        """Time left, or "" while there is nothing to estimate it from."""
        if share <= self.first:
            return "" if share < 1 else ", 0 s left"
        pace = (time.monotonic() - self.started) / (share - self.first)
        return f", {pace * (1 - share):.0f} s left"


class Board:
    """Shows tasks that advance in any order.

    Args:
        interactive: True for bars; None asks whether the error stream is a terminal.
    """

    def __init__(self, *, interactive: bool | None = None) -> None:
        console = Console(stderr=True)
        self._bars: Progress | None = None
        if console.is_terminal if interactive is None else interactive:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
                auto_refresh=False,  # no thread of its own, so that workers can be forked
            )
        self._ids: dict[str, TaskID] = {}
        self._done: list[str] = []
        self._lines: dict[str, _Line] = {}

    def __enter__(self) -> Board:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()

    def update(self, name: str, done: int, total: int, note: str = "") -> None:
        """Move a task.

        Args:
            name: of the task; shown.
            done: finished units.
            total: all units.
            note: short text behind the bar.
        """
        if self._bars:
            if name not in self._ids:
                self._ids[name] = self._bars.add_task(name, total=total, completed=done, note="")
            self._bars.update(self._ids[name], completed=done, note=note, refresh=True)
            if done == total:
                self._forget(name)
            return
        share = done / total
        if name not in self._lines:
            self._lines[name] = _Line(time.monotonic(), share)
        line = self._lines[name]
        if share - line.shown >= _LINE_SHARE or (done == total and line.shown < 1):
            line.shown = share
            sys.stderr.write(f"{name}: {done}/{total}{line.left(share)}  {note}\n")
            sys.stderr.flush()

    def _forget(self, name: str) -> None:
        """Take away the oldest finished bar where there are many: drawing all costs time."""
        if self._bars and name not in self._done:
            self._done.append(name)
            if len(self._done) > _KEPT:
                self._bars.remove_task(self._ids.pop(self._done.pop(0)))

    def say(self, text: str) -> None:
        """Show a line of text."""
        if self._bars:
            self._bars.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
