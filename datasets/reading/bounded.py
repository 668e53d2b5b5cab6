"""An end for what a user's input may make last for ages."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from benchmarks.common.errors import ConfigError


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """End a block that takes too long; outside the main thread it is not watched.

    Only Python code and functions that look for signals, as `re` does, can be ended.

    Args:
        seconds: that it may take.
        what: it does, for the message.

    Raises:
        ConfigError: it took longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise ConfigError(
            f"{what} takes longer than {seconds:g} s; write it simpler, without a repeated group"
            " inside a repeated group"
        )

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
