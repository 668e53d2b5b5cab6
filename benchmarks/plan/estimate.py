"""How many runs a benchmark has, and about how long they take on one core of this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.config import BenchmarkConfig, TrainConfig
from benchmarks.engine.job import check_size
from benchmarks.engine.nets import Builder, stride
from benchmarks.plan.cost import step_cost
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import Run, dimension, method_params, prepare_params, train_config
from datasets import load_dataset
from datasets.base import DatasetInfo
from datasets.preparing.divide import OWN
from methods import load_method
from methods.base import Method
from methods.blocks.losses import supervised_loss
from methods.networks import SegNet

# Voxels, at most, of the two steps that are timed, and how often. A step's time has a part that
# does not grow with voxels (weights of deep layers, calls), so that a small step alone, multiplied
# by voxels, told more than twice the time of BraTS at 96 x 96 x 96.
_TIMED = ((2**16, 3), (2**20, 1))


@dataclass(frozen=True)
class Estimate:
    """Size of one method on one data set.

    Attributes:
        dataset: id.
        method: key in the grid.
        runs: trained models.
        steps: iterations of each.
        hours: of one core for all runs, without validation and data loading: the time of a step of
            plain supervision on noise, times the method's counted operations.
        disk_gb: of the weights of all runs.
    """

    dataset: str
    method: str
    runs: int
    steps: int
    hours: float
    disk_gb: float


def estimate(
    config: BenchmarkConfig, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Estimate]:
    """Runs, steps and core hours of every cell of the grid.

    Args:
        config: of the benchmark; nothing needs to be prepared.
        progress: called with the finished and all cells.

    Raises:
        ConfigError: a data set's images have no fixed size or one that the network cannot halve, an
            unknown way to split it, or wrong parameters.
    """
    cells, found = len(config.grid.datasets) * len(config.grid.methods), []
    for dataset in config.grid.datasets:
        _refuse_unfit(config, dataset)
        ndim, seconds = dimension(config, dataset), _plain_step(config, dataset)
        for method in config.grid.methods:
            kind, train = load_method(base_of(method)), train_config(config, dataset, method)
            runs = _runs(config, dataset, method)
            cost = step_cost(kind, method_params(config, method, ndim))
            hours = runs * train.iterations * seconds * cost / 3600
            disk = runs * _weights(config, dataset, method) / 1e9
            found.append(Estimate(dataset, method, runs, train.iterations, hours, disk))
            progress(len(found), cells)
    return found


def _refuse_unfit(config: BenchmarkConfig, dataset: str) -> None:
    """Refuse a size or a split that would be refused when the data are there."""
    block = config.data[dataset]
    check_size(image_size(config, dataset), config.train_for(dataset).network, dataset)
    known = [*OWN, *load_dataset(dataset).public_splits()]
    if block.split.scheme not in known:
        hint = nearest(block.split.scheme, known)
        raise ConfigError(f"data.{dataset}.split.scheme is '{block.split.scheme}': {hint}")


def _runs(config: BenchmarkConfig, dataset: str, method: str) -> int:
    """Runs of a cell; of labelled shares it may not be known yet whether two are one count."""
    block = config.data[dataset]
    counts = len(block.labels) + sum(share.patients is None for share in block.shares)
    return (1 if load_method(base_of(method)).all_labels else counts) * len(config.grid.pairs)


def run_cost(config: BenchmarkConfig, dataset: str, method: str) -> float:
    """Cost of a run of a cell in relation to other cells, without timing: equal on all machines.

    Images times voxels times the taps of a kernel that is 3 wide, times the method's counted
    operations; networks are taken as equal.

    Raises:
        ConfigError: as `estimate`.
    """
    train, ndim = train_config(config, dataset, method), dimension(config, dataset)
    images = train.labeled_batch + train.unlabeled_batch
    voxels: float = images * math.prod(image_size(config, dataset)) * 3**ndim
    kind = load_method(base_of(method))
    return train.iterations * voxels * step_cost(kind, method_params(config, method, ndim))


def grid_cost(config: BenchmarkConfig) -> float:
    """Cost of all runs of a benchmark in relation to other benchmarks; see `run_cost`.

    Raises:
        ConfigError: as `estimate`.
    """
    cells = [(d, m) for d in config.grid.datasets for m in config.grid.methods]
    return sum(_runs(config, *cell) * run_cost(config, *cell) for cell in cells)


def by_cost(config: BenchmarkConfig, runs: Sequence[Run]) -> list[Run]:
    """The longest runs first, by counted operations, in the same order on every machine.

    Those of data sets whose images have no fixed size come before all others.
    """
    cells = {(run.key.dataset, run.key.method) for run in runs}
    cost = dict.fromkeys(sorted(cells), math.inf)
    for cell in cost:
        with suppress(ConfigError):
            cost[cell] = run_cost(config, *cell)
    return sorted(runs, key=lambda r: (-cost[r.key.dataset, r.key.method], r.key.title))


def network_info(config: BenchmarkConfig, dataset: str) -> DatasetInfo:
    """Dimension, channels and classes of a data set as this benchmark prepares it."""
    return load_dataset(dataset).info(prepare_params(config, dataset))


def image_size(config: BenchmarkConfig, dataset: str) -> tuple[int, ...]:
    """Voxels of a training image along every axis.

    Raises:
        ConfigError: images have no fixed size.
    """
    params = prepare_params(config, dataset)
    size: Any = config.train_for(dataset).patch or getattr(params, "size", None)
    if size is None:
        raise ConfigError(f"images of {dataset} have no fixed size: set data.{dataset}.train.patch")
    return tuple(size)


def _builder(train: TrainConfig, info: DatasetInfo) -> Builder:
    return Builder(
        train.network,
        ndim=info.ndim,
        in_channels=len(info.channels),
        classes=len(info.classes),
        seed=0,
    )


def untrained(config: BenchmarkConfig, dataset: str, method: str) -> Method[Any]:
    """A method with networks of the size that its runs have."""
    info = network_info(config, dataset)
    kind, params = load_method(base_of(method)), method_params(config, method, info.ndim)
    builder = _builder(train_config(config, dataset, method), info)
    return kind(builder, params, classes=len(info.classes), ndim=info.ndim)


def _weights(config: BenchmarkConfig, dataset: str, method: str) -> int:
    """Bytes that a finished run keeps: the last and the best checkpoint."""
    state = untrained(config, dataset, method).state_dict().values()
    return 2 * sum(int(t.numel()) * int(t.element_size()) for t in state)


def _timed(size: tuple[int, ...], images: int, multiple: int, most: int) -> tuple[int, ...]:
    """Images and size of a step that is timed: fewer images, then halves, until it is small."""
    count = min(images, max(1, most // math.prod(size)))
    while math.prod(size) > most:
        halves = (max(2, math.ceil(s / 2 / multiple)) * multiple for s in size)
        smaller = tuple(min(s, half) for s, half in zip(size, halves, strict=True))
        if smaller == size:
            break
        size = smaller
    return count, *size


def _plain_step(config: BenchmarkConfig, dataset: str) -> float:
    """Seconds of a supervised step on as many images as a step has, on one thread.

    The time of two smaller steps, continued as a straight line over their voxels, and at most in
    proportion to the larger; a step that is small itself is timed.
    """
    train, whole = config.train_for(dataset), image_size(config, dataset)
    info, multiple = network_info(config, dataset), stride(train.network)
    images = train.labeled_batch + train.unlabeled_batch
    net = _builder(train, info)()
    shapes = {_timed(whole, images, multiple, most): count for most, count in reversed(_TIMED)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:  # the smaller first, which warms up
        spent = {
            math.prod(shape): _seconds(net, shape, info, count)
            for shape, count in sorted(shapes.items(), key=lambda item: math.prod(item[0]))
        }
    finally:
        torch.set_num_threads(threads)
    few, many = min(spent), max(spent)
    slope = spent[many] / many
    if few < many:
        slope = min(slope, max(0.0, spent[many] - spent[few]) / (many - few))
    return spent[many] + slope * (images * math.prod(whole) - many)


def _seconds(net: SegNet, shape: tuple[int, ...], info: DatasetInfo, count: int) -> float:
    """Processor seconds of the fastest of some steps: other programs do not lengthen them."""
    image = torch.randn(shape[0], len(info.channels), *shape[1:])
    label = torch.randint(len(info.classes), shape)
    spent = []
    for _ in range(count):
        started = time.process_time()
        supervised_loss(net(image), label).backward()  # type: ignore[no-untyped-call]
        spent.append(time.process_time() - started)
    return min(spent)


def presets_table(
    rows: Sequence[tuple[str, BenchmarkConfig, Sequence[Estimate]]], measured: Mapping[str, float]
) -> str:
    """Presets as a Markdown table.

    Args:
        rows: path of the parameter file, its benchmark and the benchmark's estimates.
        measured: core hours that all runs of a benchmark took, by its name; they stand in place of
            the estimate.
    """
    lines = [
        "| preset | question | data | methods | runs | core hours |",
        "|---|---|---|---:|---:|---:|",
    ]
    for path, config, found in rows:
        hours = measured.get(config.name, sum(e.hours for e in found))
        size = f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else "< 0.1"
        cells = (
            f"[`{config.name}`]({path})",
            config.question,
            ", ".join(config.data[d].title or d for d in config.grid.datasets),
            len(config.grid.methods),
            sum(e.runs for e in found),
            f"{size} (measured)" if config.name in measured else size,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
