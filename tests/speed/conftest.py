"""Ratios of two timings taken in turn in one process, collected into reports/speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.common.device import environment
from benchmarks.common.files import write_json, write_text
from benchmarks.report.tables import csv

FOLDER = Path(__file__).parents[2] / "reports" / "speed"
_ROWS: list[dict[str, str | float]] = []
# A ratio may be so many times the one that is stored; both times of a ratio come from one process.
TOLERANCE = 1.6


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One core, so that other work on the machine disturbs little."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def median_ratio(
    ours: Callable[[], object], other: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Median of the rounds' ratios ours / other, and the median seconds of each."""
    pairs = []
    for warm in range(-1, rounds):
        seconds = []
        for call in (ours, other):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        if warm >= 0:
            pairs.append(seconds)
    a, b = zip(*pairs, strict=True)
    ratio = statistics.median(x / y for x, y in pairs)
    return ratio, statistics.median(a), statistics.median(b)


Compare = Callable[..., float]


@pytest.fixture
def compare(benchmark: BenchmarkFixture) -> Compare:
    """Time two functions in turn, note the ratio, and return it."""

    def run(
        name: str,
        ours: Callable[[], object],
        other: Callable[[], object],
        *,
        most: float,
        rounds: int = 15,
    ) -> float:
        ratio, own, base = median_ratio(ours, other, rounds)
        stored = _stored().get(name, ratio)
        assert ratio <= TOLERANCE * stored, (
            f"{name}: ratio {ratio:.3f}, stored {stored:.3f} in {FOLDER / 'ratios.csv'};"
            " if the loss of speed is wanted, remove its row and run again"
        )
        _ROWS.append(
            {
                "measured": name, "ratio": ratio, "target": most, "ms": 1e3 * own,
                "baseline_ms": 1e3 * base, "rounds": rounds,
            }
        )  # fmt: skip
        benchmark.extra_info["ratio"] = ratio
        benchmark.pedantic(ours, rounds=3)  # type: ignore[no-untyped-call]
        return ratio

    return run


def _stored() -> dict[str, float]:
    """Ratios of earlier runs by name."""
    known = FOLDER / "ratios.csv"
    if not known.is_file():
        return {}
    table = pd.read_csv(known)
    return dict(zip(table["measured"], table["ratio"], strict=True))


def pytest_sessionfinish() -> None:
    if not _ROWS:
        return
    table, known = pd.DataFrame(_ROWS), FOLDER / "ratios.csv"
    if known.is_file():  # a part of the timings renews its own rows
        before = pd.read_csv(known)
        table = pd.concat([before[~before["measured"].isin(table["measured"])], table])
    write_text(FOLDER / "ratios.csv", csv(table, decimals=3))
    write_json(FOLDER / "machine.json", environment("cpu"))
    print(f"\n{table.round(3).to_string(index=False)}\n{FOLDER / 'ratios.csv'}")  # noqa: T201
