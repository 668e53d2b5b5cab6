"""Entry point of `python -m benchmarks`."""

from __future__ import annotations

from benchmarks.common.signals import obeying_stops

if __name__ == "__main__":
    with obeying_stops():  # first of all: imports take seconds
        from benchmarks.cli import main

        main()
