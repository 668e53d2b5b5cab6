"""Ctrl-C and SIGTERM as a flag, so that a loop can save its state before it leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType


class StopFlag:
    """Context in which the first signal raises a flag; a second Ctrl-C stops at once.

    Args:
        forward: pass SIGTERM on to the child processes (a terminal sends Ctrl-C to all itself).
    """

    def __init__(self, *, forward: bool = False) -> None:
        self.raised = False
        self._forward = forward
        self._old: dict[int, object] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.raised and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.raised = True
        if self._forward and number == signal.SIGTERM:
            for child in multiprocessing.active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGTERM)
