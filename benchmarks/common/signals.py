"""Ctrl-C and SIGTERM as a request of the whole process, which loops ask for between two steps.

The first signal asks for a stop; a Ctrl-C after it raises KeyboardInterrupt. In a worker process
(`benchmarks.common.workers`) the request comes from the parent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from benchmarks.common.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = "stopped; what is finished is kept, run the same command again to continue"


class _State:
    """What this process knows about stops.

    Attributes:
        asked: a signal came.
        at_once: Ctrl-C came after it.
        depth: contexts that catch signals; a worker catches them for good.
        held: contexts in which a second Ctrl-C only sets `at_once`.
        parent: in a worker, whether the parent asks for a stop or is gone.
        handlers: to be restored.
    """

    def __init__(self) -> None:
        self.asked = self.at_once = False
        self.depth = self.held = 0
        self.parent: Callable[[], bool] | None = None
        self.handlers: dict[int, Any] = {}


_state = _State()


def stop_asked() -> bool:
    """Whether a signal, or the parent of this worker process, asks for a stop."""
    if not _state.asked and _state.parent is not None:
        _state.asked = _state.parent()
    return _state.asked


def refuse_stopped() -> None:
    """Raise Interrupted if a stop was asked for."""
    if stop_asked():
        raise Interrupted(_STOPPED)


def stop_at_once() -> bool:
    """Whether Ctrl-C came again after a stop was asked for."""
    return _state.at_once


@contextmanager
def catching_stops() -> Iterator[None]:
    """Signals ask for a stop while the block runs; also where Ctrl-C was ignored before.

    Background jobs of non-interactive shells inherit an ignored Ctrl-C. Only the outermost block
    changes and restores handlers and forgets the request at its end; only the main thread may
    set handlers, so that elsewhere and in worker processes the block changes nothing.

    Raises:
        Interrupted: at the end of the outermost block, if a signal came that nothing answered.
        KeyboardInterrupt: Ctrl-C came after a signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _state.depth == 0:
        _state.handlers = {n: signal.signal(n, _handle) for n in _SIGNALS}
    _state.depth += 1
    try:
        yield
    except BaseException:
        _leave()
        raise
    if _leave():
        raise Interrupted(_STOPPED)


def _leave() -> bool:
    """End a block; returns whether it was the outermost and a stop was asked for."""
    with holding_stops():
        _state.depth -= 1
        if _state.depth:
            return False
        for number, handler in _state.handlers.items():
            if handler is not None:  # None: not installed by Python, so out of its reach
                signal.signal(number, handler)
        asked = _state.asked
        _state.asked = _state.at_once = False
        return asked


def _handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if not _state.asked:
        _state.asked = True
    elif number == signal.SIGINT:
        _state.at_once = True
        if not _state.held:
            raise KeyboardInterrupt


@contextmanager
def holding_stops() -> Iterator[None]:
    """A second Ctrl-C raises nothing while the block runs, but sets `stop_at_once`."""
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1


@contextmanager
def blocking_stops() -> Iterator[None]:
    """Signals wait while the block runs; child processes it starts begin with them blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def become_worker(parent_asks: Callable[[], bool]) -> None:
    """Ignore Ctrl-C, which a terminal sends the parent too; SIGTERM stops this process alone.

    Args:
        parent_asks: whether the parent asks for a stop or is gone.
    """
    _state.depth += 1
    _state.parent = parent_asks
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def default_sigint() -> None:
    """Let Ctrl-C raise KeyboardInterrupt where a shell had this process ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
