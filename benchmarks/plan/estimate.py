"""How many runs a benchmark has, and about how long they take on one core of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from benchmarks.common.errors import ConfigError
from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig
from benchmarks.engine.nets import Builder
from benchmarks.plan.cost import step_cost
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import dimension, method_params, train_config
from datasets import load_dataset
from methods import load_method
from methods.blocks.losses import supervised_loss

_STEPS = 2  # that are timed after a first one
_TIMED = {2: 4, 3: 1}  # images of a timed step; more take proportionally longer


@dataclass(frozen=True)
class Estimate:
    """Size of one method on one data set.

    Attributes:
        dataset: id.
        method: key in the grid.
        runs: trained models.
        steps: iterations of each.
        hours: of one core for all runs, without validation and data loading: the time of a step of
            plain supervision on noise of the real size, times the method's counted operations.
    """

    dataset: str
    method: str
    runs: int
    steps: int
    hours: float


def estimate(
    config: BenchmarkConfig, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Estimate]:
    """Runs, steps and core hours of every cell of the grid.

    Args:
        config: of the benchmark; nothing needs to be prepared.
        progress: called with the finished and all cells.

    Raises:
        ConfigError: a data set's images have no fixed size, or wrong parameters.
    """
    cells, found = len(config.grid.datasets) * len(config.grid.methods), []
    for dataset in config.grid.datasets:
        ndim, seconds = dimension(config, dataset), _plain_step(config, dataset)
        for method in config.grid.methods:
            kind, train = load_method(base_of(method)), train_config(config, dataset, method)
            counts = 1 if kind.all_labels else len(config.data[dataset].labels)
            runs = counts * len(config.grid.pairs)
            cost = step_cost(kind, method_params(config, method, ndim))
            hours = runs * train.iterations * seconds * cost / 3600
            found.append(Estimate(dataset, method, runs, train.iterations, hours))
            progress(len(found), cells)
    return found


def _plain_step(config: BenchmarkConfig, dataset: str) -> float:
    """Seconds of a supervised step on as many images as a step has, on one thread."""
    train = config.train_for(dataset)
    adapter = load_dataset(dataset)
    params = check(adapter.Params, config.data[dataset].prepare, where=f"data.{dataset}.prepare")
    info = adapter.info(params)
    size = train.patch or getattr(params, "size", None)
    if size is None:
        raise ConfigError(f"images of {dataset} have no fixed size: set data.{dataset}.train.patch")
    net = Builder(
        train.network,
        ndim=info.ndim,
        in_channels=len(info.channels),
        classes=len(info.classes),
        seed=0,
    )()
    images = train.labeled_batch + train.unlabeled_batch
    timed = min(images, _TIMED[info.ndim])
    image = torch.randn(timed, len(info.channels), *size)
    label = torch.zeros(len(image), *size, dtype=torch.int64)
    threads, spent = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(1 + _STEPS):
            started = time.perf_counter()
            supervised_loss(net(image), label).backward()  # type: ignore[no-untyped-call]
            spent.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(spent[1:]) * images / timed


def presets_table(rows: Sequence[tuple[str, BenchmarkConfig, Sequence[Estimate]]]) -> str:
    """Presets as a Markdown table.

    Args:
        rows: path of the parameter file, its benchmark and the benchmark's estimates.
    """
    lines = [
        "| preset | question | data | methods | runs | core hours |",
        "|---|---|---|---:|---:|---:|",
    ]
    for path, config, found in rows:
        hours = sum(e.hours for e in found)
        cells = (
            f"[`{config.name}`]({path})",
            config.question,
            ", ".join(config.grid.datasets),
            len(config.grid.methods),
            sum(e.runs for e in found),
            f"{hours:.1f}" if hours < 10 else f"{hours:,.0f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
