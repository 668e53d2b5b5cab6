"""Ctrl-C and SIGTERM: the command ends at once, or where work can be saved, at the next step.

`obeying_stops` around a whole command makes both signals raise KeyboardInterrupt. Inside
`catching_stops` the first one is a request that loops ask for between two steps, and a Ctrl-C after
it raises. In a worker process (`benchmarks.common.workers`) the request comes from the parent.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from benchmarks.common.errors import Interrupted

STOPPED = "stopped; what is finished is kept, run the same command again to continue"

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds after a signal in which another one does not disturb a command that is leaving.
_LEAVING = 1.0
# Seconds after which KeyboardInterrupt is raised again where Python could only report it.
_AGAIN = 0.05


class _State:
    """What this process knows about stops.

    Attributes:
        asked: a signal came that is to be answered at the next step.
        at_once: Ctrl-C came after it.
        came: a signal came, in whatever context.
        due: KeyboardInterrupt is to be raised when nothing holds it any more.
        last: time of the last signal.
        depth: contexts that catch signals; a worker catches them for good.
        held: contexts in which nothing is raised.
        parent: in a worker, whether the parent asks for a stop or is gone.
        handlers: to be restored.
    """

    def __init__(self) -> None:
        self.asked = self.at_once = self.due = self.came = False
        self.last = -_LEAVING
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
        raise Interrupted(STOPPED)


def stop_at_once() -> bool:
    """Whether Ctrl-C came again after a stop was asked for; whoever asks answers it."""
    _state.due = False
    return _state.at_once


@contextmanager
def obeying_stops() -> Iterator[None]:
    """Signals end the block, a whole command, with one sentence and exit code 130.

    Ctrl-C does so too where it was ignored before: background jobs of non-interactive shells
    inherit that. After the block, while Python ends, signals are ignored.

    Raises:
        SystemExit: a signal came.
    """
    try:
        for number in _SIGNALS:
            signal.signal(number, _handle)
        signal.signal(signal.SIGALRM, _raise_again)
        sys.unraisablehook = _not_lost
        yield
    except (KeyboardInterrupt, Exception) as error:
        # Libraries in C turn KeyboardInterrupt into errors of their own.
        if not (isinstance(error, KeyboardInterrupt) or _state.came):
            raise
        sys.stderr.write(f"{STOPPED}\n")
        raise SystemExit(Interrupted.exit_code) from None
    finally:
        for number in (*_SIGNALS, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)


def _not_lost(report: sys.UnraisableHookArgs) -> None:
    """Raise KeyboardInterrupt again that struck where Python cannot raise, as in a finaliser."""
    if issubclass(report.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        sys.__unraisablehook__(report)


def _raise_again(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _raise()


def _raise() -> None:
    """End the command now, or when nothing holds it any more."""
    _state.due = bool(_state.held)
    if not _state.due:
        raise KeyboardInterrupt


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
        raise Interrupted(STOPPED)


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
    _state.came = True
    now = time.monotonic()
    leaving = now - _state.last < _LEAVING
    if not leaving:
        _state.last = now
    if not _state.depth:
        if not leaving:
            _raise()
    elif not _state.asked:
        _state.asked = True
    elif number == signal.SIGINT:
        _state.at_once = True
        _raise()


@contextmanager
def holding_stops() -> Iterator[None]:
    """Nothing is raised while the block runs, but at its end, unless `stop_at_once` was asked.

    Raises:
        KeyboardInterrupt: at the end of the outermost block.
    """
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if _state.due and not _state.held:
            _raise()


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
