"""The pipeline's stages as functions, shared by the single commands and by whole benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.config import BenchmarkConfig, check
from benchmarks.console import Board
from benchmarks.errors import Interrupted
from benchmarks.evaluate import evaluate
from benchmarks.files import read_json
from benchmarks.grid import prepared_folder, split_file
from benchmarks.report import build_report
from benchmarks.resolve import resolve
from benchmarks.run import Place, run_cells
from datasets import load_dataset
from datasets.checks import refuse_leaks
from datasets.fetching.sources import make_available
from datasets.prepare import prepare
from datasets.split import make_split, patients_of, save_split
from datasets.store import FINGERPRINT, FORMAT, Prepared, open_prepared


def raw_folder(root: Path, dataset: str) -> Path:
    """Where raw data are looked for: a folder or a link."""
    return root / "data" / "raw" / dataset


def fetch_dataset(
    config: BenchmarkConfig,
    dataset: str,
    root: Path,
    *,
    raw: Path | None = None,
    mirror: str | None = None,
) -> Path:
    """Download open data or generate a phantom; what is already there is kept.

    Args:
        config: of the benchmark.
        dataset: id.
        root: the checkout.
        raw: target; None takes data/raw/<dataset>.
        mirror: address of a copy of the files.

    Returns:
        The folder with the raw data.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: the data stand behind a login; says how to obtain them.
    """
    adapter, block = load_dataset(dataset), config.data.get(dataset)
    given = block.fetch if block else {}
    options = check(adapter.FetchParams, given, where=f"data.{dataset}.fetch")
    target = raw or raw_folder(root, dataset)
    with _stoppable("the bytes that have come"):
        make_available(adapter, target, options, mirror=mirror)
    return target


@contextmanager
def _stoppable(kept: str) -> Iterator[None]:
    """Say after Ctrl-C what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {kept} stay, run the same command again to go on") from None


def prepare_dataset(
    config: BenchmarkConfig, dataset: str, root: Path, *, raw: Path | None = None, jobs: int = 2
) -> Prepared:
    """Read raw data, check every case and write memory-mapped arrays.

    Args:
        config: of the benchmark.
        dataset: id.
        root: the checkout.
        raw: raw data; None takes data/raw/<dataset>.
        jobs: cases at once.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: raw data missing or not usable.
    """
    adapter = load_dataset(dataset)
    where = f"data.{dataset}.prepare"
    options = check(adapter.Params, config.data[dataset].prepare, where=where)
    target = prepared_folder(root, config, dataset)
    with Board() as board, _stoppable("the cases that are done"):
        return prepare(
            adapter,
            raw or raw_folder(root, dataset),
            target,
            options,
            jobs=jobs,
            progress=partial(board.update, f"prepare {dataset}"),
        )


def _prepared(config: BenchmarkConfig, dataset: str, root: Path) -> bool:
    """Whether the data set was prepared with the present parameters."""
    options = check(load_dataset(dataset).Params, config.data[dataset].prepare)
    try:
        record = read_json(prepared_folder(root, config, dataset) / FINGERPRINT)
    except (OSError, ValueError):
        return False
    return bool(record["format"] == FORMAT and record["params"] == options.model_dump(mode="json"))


def split_dataset(config: BenchmarkConfig, dataset: str, root: Path) -> Path:
    """Divide the patients of prepared data and write the split file.

    Raises:
        ConfigError: a split that the data set does not have.
        DataError: data not prepared, or too few patients.
    """
    data = open_prepared(prepared_folder(root, config, dataset))
    public = load_dataset(dataset).public_splits()
    made = make_split(patients_of(data), dataset, config.data[dataset].split, public)
    refuse_leaks(data, made)
    target = split_file(root, config, dataset)
    save_split(made, target)
    return target


def whole_benchmark(
    config: BenchmarkConfig, place: Place, *, jobs: int | None = None
) -> list[Path]:
    """Prepare, split, train, evaluate and report a benchmark in one process.

    Phantoms that are missing are generated first. All runs of the grid share one pool; finished
    runs are kept, an interrupted call goes on where it stopped.

    Args:
        config: of the benchmark.
        place: where, and on which device.
        jobs: runs at once; None takes `runtime.jobs`.

    Returns:
        The files of the report.

    Raises:
        BenchError: raw data missing, wrong parameters, or runs that failed.
    """
    for dataset in config.grid.datasets:
        if load_dataset(dataset).synthetic and not raw_folder(place.root, dataset).exists():
            fetch_dataset(config, dataset, place.root)
        if not _prepared(config, dataset, place.root):
            prepare_dataset(config, dataset, place.root)
        split_dataset(config, dataset, place.root)
    cells = [(d, m) for d in config.grid.datasets for m in config.grid.methods]
    runs = [r for dataset, method in cells for r in resolve(config, dataset, method, place.root)]
    run_cells(config, runs, place, jobs=jobs)
    for dataset, method in cells:
        evaluate(config, dataset, method, place)
    return build_report(config, root=place.root)
